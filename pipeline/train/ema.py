"""The averaged weights of train.ema, lent to the network.

Import only after `backend.start`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import keras


def averages(network: keras.Model) -> bool:
    """Returns whether the optimizer averages the weights."""
    optimizer = network.optimizer
    # Loss scaling wraps the optimizer that does.
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return bool(inner.use_ema)


@contextmanager
def averaged(network: keras.Model) -> Iterator[None]:
    """Gives the network its averaged weights for the block, where it has them.

    What is not trained, such as the statistics of batch norm, stays that of training.
    Not Keras's SwapEMAWeights: that swaps by addition, and training would go on from
    weights that are not those of the checkpoint in their last digits.
    """
    if not averages(network):
        yield
        return
    weights = network.trainable_variables
    trained = [keras.ops.convert_to_numpy(weight) for weight in weights]
    network.optimizer.finalize_variable_values(weights)
    try:
        yield
    finally:
        for weight, value in zip(weights, trained, strict=True):
            weight.assign(value)
