"""Self-paced loss correction against its formula, and its warm-up."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import losses

# Keras 3 on NumPy 2, where TensorFlow's variables are read.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)


def focal_positive(logits: np.ndarray, gamma: float) -> np.ndarray:
    return losses.sigmoid(-logits) ** gamma * losses.softplus(-logits)


def splc(threshold: float, margin: float, gamma: float) -> losses.Reference:
    def reference(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        positive = focal_positive(logits - margin, gamma)
        is_missing = losses.sigmoid(logits) > threshold
        corrected = focal_positive(logits, gamma)
        negative = np.where(is_missing, corrected, focal_positive(-logits, gamma))
        return labels * positive + (1 - labels) * negative

    return reference


@pytest.mark.parametrize("threshold", [0.3, 0.6])
@pytest.mark.parametrize("margin", [0.0, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_splc_is_the_formula(threshold: float, margin: float, gamma: float) -> None:
    from pipeline.model.losses import splc as module

    numbers = (threshold, margin, gamma)
    losses.assert_sound(module.loss(*numbers), splc(*numbers))


def test_defaults_are_those_of_the_paper() -> None:
    from pipeline.model.losses import splc as module

    losses.assert_values(module.loss(), splc(0.6, 1.0, 2.0))


def test_a_confident_negative_is_pulled_up() -> None:
    from pipeline.model.losses import splc as module

    logits = np.array([[0.3, 0.5]])  # probabilities 0.57 and 0.62
    pushes = losses.gradients(module.loss(), np.zeros_like(logits), logits)
    assert pushes[0, 0] > 0 > pushes[0, 1]


def network_with_counter(warmup_steps: int) -> Any:
    """One weight that starts at 2: a probability of 0.88 for an image of ones."""
    import keras

    from pipeline.model.losses import splc as module

    counter = module.StepCounter()
    images = keras.Input((1,))
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    network = keras.Model(images, counter(dense(images)))
    loss = module.loss(counter=counter, warmup_steps=warmup_steps)
    network.compile(keras.optimizers.SGD(0.5), loss)
    return network


def weights_while_training(network: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        network.train_on_batch(np.full((1, 1), 2.0), np.zeros((1, 1)))
        found.append(float(np.asarray(network.trainable_variables[0])[0, 0]))
    return found


def test_labels_are_corrected_after_the_warm_up_only() -> None:
    network = network_with_counter(warmup_steps=1)
    # A negative pushes the probability of 0.88 down, to 0.56, which is no longer
    # confident.
    first, second = weights_while_training(network, 2)
    assert second < first < 1
    network = network_with_counter(warmup_steps=0)
    assert weights_while_training(network, 1)[0] > 1


def test_warm_up_goes_on_where_saved_weights_left_it(tmp_path: Path) -> None:
    network = network_with_counter(warmup_steps=2)
    network.evaluate(np.ones((4, 1)), np.zeros((4, 1)), verbose=0)
    weights_while_training(network, 2)
    network.save_weights(tmp_path / "network.weights.h5")
    resumed = network_with_counter(warmup_steps=2)
    resumed.optimizer.build(resumed.trainable_variables)
    resumed.load_weights(tmp_path / "network.weights.h5")
    assert int(resumed.get_layer("step_counter").current()) == 2
    assert weights_while_training(resumed, 2) == weights_while_training(network, 2)
