"""The general robust loss: its formula, its density, and that it is trained."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import integrate

from tests.builders import losses

# Keras 3 on NumPy 2, where TensorFlow's variables are read.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

SPECIAL = {
    2.0: lambda z: z / 2,
    1.0: lambda z: np.sqrt(z + 1) - 1,
    0.0: lambda z: np.log(z / 2 + 1),
    -2.0: lambda z: 2 * z / (z + 4),
    -math.inf: lambda z: 1 - np.exp(-z / 2),
}
"""The paper's table of special cases, of z = (x / scale)^2."""


def rho(z: np.ndarray, alpha: float) -> np.ndarray:
    if alpha in SPECIAL:
        return SPECIAL[alpha](z)
    width = abs(alpha - 2)
    return width / alpha * ((z / width + 1) ** (alpha / 2) - 1)


def robust(alpha: float, scale: float) -> losses.Reference:
    def reference(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        values = losses.cross_entropy(labels, logits)
        return rho((values / scale) ** 2, alpha)

    return reference


def log_partition(alpha: float) -> float:
    """By adaptive quadrature of the density's definition, in x = exp(t) - exp(-t)."""

    def density(t: float) -> float:
        x = 2 * math.sinh(t)
        return float(np.exp(-rho(np.float64(x * x), alpha))) * 2 * math.cosh(t)

    half, _ = integrate.quad(density, 0, 40, epsabs=1e-12, epsrel=1e-12, limit=500)
    return math.log(2 * half)


def cross_entropy() -> Any:
    from pipeline.model.losses import summed_binary_cross_entropy

    return summed_binary_cross_entropy.loss()


@pytest.mark.parametrize("alpha", [*SPECIAL, 1.5, 0.5, -0.5, -10.0])
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_robust_loss_is_the_formula(alpha: float, scale: float) -> None:
    from pipeline.model.losses import robust as module

    loss = module.loss(cross_entropy(), alpha, scale)
    losses.assert_values(loss, robust(alpha, scale))
    losses.assert_gradients(loss, robust(alpha, scale))
    losses.assert_survives_saving(loss)


@pytest.mark.parametrize("alpha", [2.0, 0.0])
def test_special_cases_are_where_their_neighbours_lead(alpha: float) -> None:
    from pipeline.model.losses import robust as module

    labels, logits = losses.grid()
    exact = losses.values(module.loss(cross_entropy(), alpha), labels, logits)
    near = losses.values(module.loss(cross_entropy(), alpha - 1e-6), labels, logits)
    np.testing.assert_allclose(near, exact, rtol=1e-4, atol=1e-30)


@pytest.mark.parametrize(
    ("alpha", "scale"),
    [(2.1, 1.0), (math.nan, 1.0), (1.0, 0.0), (1.0, -1.0), (1.0, math.nan)],
)
def test_parameters_without_a_loss_are_refused(alpha: float, scale: float) -> None:
    from pipeline.model.losses import robust as module

    with pytest.raises(ValueError, match="robust loss is"):
        module.loss(cross_entropy(), alpha, scale)


@pytest.mark.parametrize(
    ("alpha", "scale"), [(2.0, 1.0), (0.0, 1.0), (-1.0, 1.0), (1.0, 0.01)]
)
def test_starts_outside_of_the_trained_range_are_refused(
    alpha: float, scale: float
) -> None:
    from pipeline.model.losses import robust as module

    with pytest.raises(ValueError, match="trained robust loss starts at"):
        module.RobustParameters(alpha, scale)


@pytest.mark.parametrize("alpha", [0.001, 0.01, 0.1, 0.5, 1.0, 1.5, 1.9, 1.99, 1.999])
def test_partition_function_is_the_integral_of_the_density(alpha: float) -> None:
    from pipeline.model.losses import robust as module

    found = float(module.log_partition(np.float32(alpha)))
    assert found == pytest.approx(log_partition(alpha), abs=2e-6)


def test_ends_of_the_density_are_cauchy_and_normal() -> None:
    from pipeline.model.losses import robust as module

    cauchy = float(module.log_partition(np.float32(module.MIN_ALPHA)))
    normal = float(module.log_partition(np.float32(module.MAX_ALPHA)))
    assert cauchy == pytest.approx(math.log(math.pi * math.sqrt(2)), abs=2e-3)
    assert normal == pytest.approx(math.log(math.sqrt(2 * math.pi)), abs=2e-3)


@pytest.mark.parametrize("alpha", [0.05, 1.0, 1.95])
@pytest.mark.parametrize("scale", [0.05, 1.0, 3.0])
def test_trained_loss_is_the_negative_log_likelihood(
    alpha: float, scale: float
) -> None:
    from pipeline.model.losses import robust as module

    constant = math.log(scale) + log_partition(alpha)

    def reference(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return robust(alpha, scale)(labels, logits) + constant

    parameters = module.RobustParameters(alpha, scale)
    loss = module.trained_loss(cross_entropy(), parameters)
    labels, logits = losses.grid()
    found = losses.values(loss, labels, logits)
    expected = reference(labels, logits)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    losses.assert_gradients(loss, reference)
    losses.assert_survives_saving(loss)


def test_parameters_stay_in_their_range() -> None:
    from pipeline.model.losses import robust as module

    parameters = module.RobustParameters(1.0, 1.0, min_scale=0.1)
    loss = module.trained_loss(cross_entropy(), parameters)
    labels, logits = losses.grid()
    for offset in (-200.0, 200.0):
        parameters.alpha_offset.assign(offset)
        parameters.scale_offset.assign(offset)
        alpha = float(parameters.alpha())
        assert module.MIN_ALPHA * 0.999 <= alpha <= module.MAX_ALPHA * 1.001
        assert float(parameters.scale()) >= 0.1
        assert np.isfinite(losses.values(loss, labels, logits)).all()
        assert np.isfinite(losses.gradients(loss, labels, logits)).all()


def trainable_network() -> Any:
    """A network that cannot learn its labels, and whose loss is trained."""
    import keras

    from pipeline.model.losses import robust as module

    parameters = module.RobustParameters()
    images = keras.Input((2,))
    logits = keras.layers.Dense(3, name="tags")(images)
    network = keras.Model(images, parameters(logits))
    loss = module.trained_loss(cross_entropy(), parameters)
    network.compile(keras.optimizers.Adam(0.02), loss)
    return network


def batch() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    images = random.standard_normal((64, 2)).astype(np.float32)
    labels = random.integers(0, 2, (64, 3)).astype(np.float32)
    return images, labels


def test_alpha_and_scale_are_trained_by_the_optimizer() -> None:
    network = trainable_network()
    images, labels = batch()
    network.fit(images, labels, epochs=20, batch_size=32, verbose=0)
    parameters = network.get_layer("robust_parameters")
    trained = {variable.path for variable in network.optimizer._trainable_variables}
    assert {
        "robust_parameters/alpha_offset",
        "robust_parameters/scale_offset",
    } <= trained
    assert abs(float(parameters.alpha()) - 1) > 0.01
    assert abs(float(parameters.scale()) - 1) > 0.01


def test_the_best_scale_is_that_of_the_values() -> None:
    # Where alpha is all but 2 the density is normal, and the likelihood largest at the
    # root of the mean square.
    from pipeline.model.losses import robust as module

    _, labels = batch()
    random = np.random.default_rng(1)
    logits = random.standard_normal(labels.shape).astype(np.float32) * 3
    best = np.sqrt(np.mean(losses.cross_entropy(labels, logits) ** 2))
    found = []
    for scale in (0.9 * best, best, 1.1 * best):
        parameters = module.RobustParameters(alpha=1.9989, scale=scale)
        loss = module.trained_loss(cross_entropy(), parameters)
        found.append(float(loss(labels, logits)))
    assert found[1] < min(found[0], found[2])


def test_a_loaded_network_goes_on_with_its_own_layer(tmp_path: Path) -> None:
    import keras

    from pipeline.model.losses import robust as module

    network = trainable_network()
    images, labels = batch()
    network.fit(images, labels, epochs=2, verbose=0)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", compile=False)
    parameters = loaded.get_layer("robust_parameters")
    expected = network.get_layer("robust_parameters")
    assert float(parameters.alpha()) == float(expected.alpha())
    assert float(parameters.scale()) == float(expected.scale())
    loaded.compile("sgd", module.trained_loss(cross_entropy(), parameters))
    assert loaded.evaluate(images, labels, verbose=0) == pytest.approx(
        network.evaluate(images, labels, verbose=0), rel=1e-6
    )


def test_weights_of_a_compiled_network_hold_the_parameters(tmp_path: Path) -> None:
    network = trainable_network()
    images, labels = batch()
    network.fit(images, labels, epochs=2, verbose=0)
    network.save_weights(tmp_path / "network.weights.h5")
    fresh = trainable_network()
    fresh.optimizer.build(fresh.trainable_variables)
    fresh.load_weights(tmp_path / "network.weights.h5")
    for old, new in zip(network.weights, fresh.weights, strict=True):
        np.testing.assert_array_equal(old.numpy(), new.numpy())
