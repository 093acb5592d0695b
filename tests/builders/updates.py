"""Small networks under the optimizer of some parameters, and what updates do to them.

Import only after `backend.start`.
"""

from typing import Any

import keras
import numpy as np
from keras import layers

from pipeline.model.losses.robust import RobustParameters
from pipeline.model.noise import LabelNoise
from pipeline.train import optimizers
from pipeline.train_params import Train
from tests.builders import networks

UPDATES = 100
WARMUP = 0.2
RATE = 0.5
DECAY = 0.25


def params(optimizer: dict[str, Any], **changes: Any) -> Train:
    """Parameters with an optimizer, on a one-cycle schedule."""
    momentum = changes.pop("momentum", None)
    schedule = {
        "name": "one_cycle",
        "learning_rate": RATE,
        "warmup": WARMUP,
        "momentum": momentum,
    }
    return Train(**{"optimizer": optimizer, "schedule": schedule} | changes)


def compiled(
    network: keras.Model, chosen: Train, loss: Any, updates: int = UPDATES
) -> keras.Model:
    """Returns the network, to be trained with these parameters."""
    optimizer = optimizers.optimizer(chosen, updates)
    # Compiled by XLA, TensorFlow would take seconds before the first step.
    jit = "auto" if keras.backend.backend() == "jax" else False
    network.compile(optimizer, loss, jit_compile=jit)
    return network


def inner(network: keras.Model) -> keras.optimizers.Optimizer:
    """Returns the optimizer without its loss scaling."""
    return getattr(network.optimizer, "inner_optimizer", network.optimizer)


def without_gradient(network: keras.Model) -> Any:
    """Returns a loss that every weight of a `small` network has a zero gradient of."""
    held = network.get_layer("robust_parameters")

    def loss(labels: Any, logits: Any) -> Any:
        offsets = held.alpha_offset + held.scale_offset
        return 0.0 * (labels + logits + offsets)

    return loss


def small(policy: str) -> keras.Model:
    """A network with every kind of weight, each at 1."""
    keras.config.set_dtype_policy(policy)
    features = keras.Input((3,))
    x = layers.BatchNormalization(name="batch_norm")(features)
    x = layers.LayerNormalization(name="layer_norm")(x)
    means = layers.Dense(2, dtype="float32", name="tags")(x)
    means = RobustParameters()(means)
    means, scales, factors = LabelNoise(1, "learned")([features, means])
    parts = [means, scales, layers.Flatten(dtype="float32")(factors)]
    outputs = layers.Concatenate(dtype="float32")(parts)
    keras.config.set_dtype_policy("float32")
    network = keras.Model(features, outputs)
    for weight in network.trainable_weights:
        weight.assign(np.ones(weight.shape))
    return network


def update(network: keras.Model) -> None:
    """Makes one update of a `small` network."""
    outputs = network.output_shape[-1]
    network.train_on_batch(np.ones((4, 3), np.float32), np.ones((4, outputs)))


def momenta(optimizer: dict[str, Any], policy: str = "float32") -> list[float]:
    """Returns the momentum at the start, at the peak of the rate and at the end.

    By its effect: the share of the optimizer's memory that an update without gradient
    keeps, of a cycle from 0.95 to 0.85.
    """
    chosen = params(optimizer, momentum=[0.95, 0.85])
    network = small(policy)
    compiled(network, chosen, without_gradient(network))
    update(network)
    memory = (getattr(inner(network), "momentums", None) or inner(network)._momentums)[
        0
    ]
    found = []
    for number in (0, round(WARMUP * UPDATES), UPDATES):
        inner(network)._iterations.assign(number)
        memory.assign(np.ones(memory.shape))
        update(network)
        found.append(float(np.asarray(memory)[0]))
    return found


def decayed(optimizer: dict[str, Any], policy: str = "float32") -> dict[str, float]:
    """Returns the weights by their paths after a first update without gradient.

    Only decay can change them, from 1.
    """
    chosen = params(optimizer | {"weight_decay": DECAY})
    network = small(policy)
    compiled(network, chosen, without_gradient(network))
    update(network)
    weights = network.trainable_weights
    return {weight.path: float(np.asarray(weight).min()) for weight in weights}


def trained(optimizer: dict[str, Any], batch: int, **changes: Any) -> keras.Model:
    """Returns a network after a pass over 64 images in batches of this size."""
    images, labels = networks.toy_images(64)
    network = networks.network(networks.two_convolutions, networks.average)
    chosen = params(optimizer, **changes)
    updates = len(images) // batch // chosen.accumulation
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    compiled(network, chosen, loss, updates)
    for start in range(0, len(images), batch):
        end = start + batch
        network.train_on_batch(images[start:end], labels[start:end])
    return network


def differences(optimizer: dict[str, Any]) -> dict[str, float]:
    """Returns how far 2 batches of 8 are from 1 of 16: weights, averages and rate."""
    changes = {"ema": 0.5, "clip_norm": 0.1, "momentum": None}
    whole = trained(optimizer, 16, **changes)
    halves = trained(optimizer, 8, accumulation=2, **changes)
    pairs = {
        "weights": (whole.trainable_weights, halves.trainable_weights),
        "averages": (averages(whole), averages(halves)),
        "rates": (
            [whole.optimizer.learning_rate],
            [halves.optimizer.learning_rate],
        ),
    }
    found = {}
    for name, (ones, others) in pairs.items():
        found[name] = 0.0
        for one, other in zip(ones, others, strict=True):
            difference = np.abs(np.asarray(one) - np.asarray(other)).max()
            found[name] = max(found[name], float(difference))
    return found


def averages(network: keras.Model) -> list[np.ndarray]:
    """Returns the averaged weights that the optimizer holds."""
    held = inner(network)._model_variables_moving_average
    return [np.array(average) for average in held]
