"""The tagger's backbone with one number as output.

Import only after `backend.start`.
"""

from collections.abc import Sequence

import keras
import numpy as np

from pipeline.data.shards import Split
from pipeline.model import embeddings
from pipeline.regression.ridge import Ridge


def embed(
    tagger: keras.Model, splits: Sequence[Split], size: int
) -> list[embeddings.Embeddings]:
    """Returns the pooled features of each split. size: pixels, the tagger's input."""
    part = embeddings.pooled(tagger)
    return [embeddings.compute(part, split, size) for split in splits]


def with_value(tagger: keras.Model, fitted: Ridge) -> keras.Model:
    """Returns the network from RGB float32 [n, size, size, 3] to the value, [n, 1].

    Images hold 0 to 255. It shares the backbone's layers with the tagger.
    """
    part = embeddings.pooled(tagger)
    dense = keras.layers.Dense(1, dtype="float32", name="value")
    network = keras.Model(part.inputs, dense(part.output), name="e6tag_regression")
    kernel = fitted.weights.astype(np.float32)[:, np.newaxis]
    dense.set_weights([kernel, np.array([fitted.bias], np.float32)])
    return network
