"""The averaged weights of train.ema, lent to the network.

Import only after `backend.start`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np
from keras import layers

from pipeline.train import devices

STATISTICS_BATCHES = 16
"""Batches that the statistics of batch norm are taken from, for averaged weights."""

STATISTICS_BATCH_SIZE = 64

Inputs = Callable[[], Iterator[np.ndarray]]
"""Starts to give batches of what the network takes: images or features."""


class AveragedWeights:
    """Lends a network its averaged weights, with the statistics that belong to them.

    Those that batch norm kept while training are of the last few trained weights, and
    averaged ones need others (Izmailov et al. 2018, arXiv:1803.05407, 3.2): the means
    over the first training images, as they are. They are computed once an epoch.
    """

    def __init__(self, inputs: Inputs) -> None:
        """Takes what the statistics are of. inputs: from the training images."""
        self._inputs = inputs
        self._updates = -1
        self._statistics: list[np.ndarray] = []

    @contextmanager
    def lent(self, network: keras.Model) -> Iterator[None]:
        """Gives the network its averaged weights for the block.

        Not Keras's SwapEMAWeights: that swaps by addition, and training would go on
        from weights that are not those of the checkpoint in their last digits.
        """
        weights = network.trainable_variables
        others = network.non_trainable_variables
        trained = _values(weights)
        kept = _values(others)
        network.optimizer.finalize_variable_values(weights)
        # Copies: on JAX they are the optimizer's own arrays, which predicting gives up.
        assign(weights, _values(weights))
        assign(others, self._statistics_of(network))
        try:
            yield
        finally:
            assign(weights, trained)
            assign(others, kept)

    def _statistics_of(self, network: keras.Model) -> list[np.ndarray]:
        """Returns the values of what is not trained, for the weights that it has."""
        updates = int(keras.ops.convert_to_numpy(network.optimizer.iterations))
        if updates != self._updates:
            self._statistics = self._measured(network)
            self._updates = updates
        return self._statistics

    def _measured(self, network: keras.Model) -> list[np.ndarray]:
        if not devices.is_distributed_on_jax():
            _measure(network, self._inputs())
            return _values(network.non_trainable_variables)
        # Without the optimizer, which cannot be copied.
        plain = keras.Model(network.inputs, network.outputs)
        weights = plain.get_weights()
        with devices.undistributed():
            copied = keras.models.clone_model(plain)
            copied.set_weights(weights)
            _measure(copied, self._inputs())
            return _values(copied.non_trainable_variables)


def _measure(network: keras.Model, inputs: Iterator[np.ndarray]) -> None:
    """Makes the statistics of batch norm the mean of those of each batch."""
    norms = _trained_norms(network)
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for number, batch in enumerate(inputs):
        for norm in norms:
            norm.momentum = number / (number + 1)
        network(batch, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _trained_norms(network: keras.Model) -> list[layers.BatchNormalization]:
    """Returns the norms, also of networks within, whose statistics change."""
    found = []
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            found += _trained_norms(layer)
        elif isinstance(layer, layers.BatchNormalization) and layer.trainable:
            found.append(layer)
    return found


def _values(variables: list[keras.Variable]) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign(variables: Sequence[keras.Variable], values: Sequence[np.ndarray]) -> None:
    """Gives each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
