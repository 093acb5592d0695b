"""Builds the network in backend-neutral Keras: images in, one logit per tag out.

Import only after `backend.start`.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from pipeline.model.backbones import compact
from pipeline.model.heads import pool


def build(
    size: int,
    widths: Sequence[int],
    blocks: Sequence[int],
    dropout: float,
    bias: np.ndarray,
) -> keras.Model:
    """Returns the network from RGB float32 [n, size, size, 3] to logits [n, tags].

    Images hold 0 to 255. widths and blocks: see `backbones.compact`; dropout and bias:
    see `heads.pool`.
    """
    images = keras.Input((size, size, 3), name="picture")
    scaled = layers.Rescaling(1 / 127.5, offset=-1, name="normalise")(images)
    features = compact.feature_map(scaled, widths, blocks)
    logits = pool.logits(features, dropout, bias)
    return keras.Model(images, logits, name="e6tag")
