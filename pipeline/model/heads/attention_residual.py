"""Self-attention over positions beside a dense map of all positions.

The head of a hobby project of 2021 for tags of e621 (`res_attention_head`), kept as a
baseline: its two locally connected layers, whose kernels cover the whole map, are
einsums here, and its label noise is not part of the head. Attention after Vaswani et
al. 2017 (arXiv:1706.03762). Parameters grow with the square of the tags: see
docs/heads.md. Import only after `backend.start`.
"""

from typing import Literal

import keras
import numpy as np
from keras import layers

# Axis that counts the tags, by the path of a weight. The maps of 2 x tags channels are
# mixed with each other: none belongs to a tag.
TAG_AXES = {"tags/kernel": 1, "tags/bias": 0}

ATTENTION_HEADS = 2
KEY_SIZE = 2
ENCODER_UNITS = 512

# As in the backbones: Keras's 0.99 lags behind in runs of some 500 steps.
NORM_MOMENTUM = 0.9

Join = Literal["sum", "concat"]


def logits(
    features: "keras.KerasTensor", *, bias: np.ndarray, join: Join = "sum"
) -> "keras.KerasTensor":
    """Returns logits, float32 [n, tags], of a feature map of fixed size.

    join: whether the two branches are added or set side by side before the last norm.
    `bias`, float32 [tags], is the output before the head has learnt: see `heads.pool`.
    """
    channels = 2 * len(bias)
    maps = layers.Conv2D(
        channels, 1, use_bias=False, kernel_initializer="he_normal", name="tag_maps"
    )
    norm = layers.BatchNormalization(momentum=NORM_MOMENTUM, name="tag_maps_norm")
    x = norm(maps(features))
    positions = layers.Reshape((-1, channels), name="positions")(x)
    attended = _attended(positions, channels)
    squeezed = _squeezed(positions, channels)
    joined = _joined(attended, squeezed, join)
    joined = layers.LayerNormalization(name="joined_norm")(joined)
    # The kernel starts at zero: glorot's, on features of variance 1, would move the
    # first logits by 1.2 from their log-odds.
    tags = layers.Dense(
        len(bias), kernel_initializer="zeros", dtype="float32", name="tags"
    )
    outputs = tags(joined)
    # Assigned, since an initializer would be saved with the network's description.
    tags.bias.assign(bias)
    return outputs


def _attended(positions: "keras.KerasTensor", channels: int) -> "keras.KerasTensor":
    """Returns the positions after self-attention, mapped to one vector."""
    attention = layers.MultiHeadAttention(ATTENTION_HEADS, KEY_SIZE, name="attention")
    return _dense_map(attention(positions, positions), channels, "attended")


def _squeezed(positions: "keras.KerasTensor", channels: int) -> "keras.KerasTensor":
    """Returns the positions as one vector, through a narrow layer and back."""
    x = _dense_map(positions, channels, "squeezed")
    x = layers.Dense(ENCODER_UNITS, activation="silu", name="encoder")(x)
    return layers.Dense(channels, name="decoder")(x)


def _dense_map(
    positions: "keras.KerasTensor", channels: int, name: str
) -> "keras.KerasTensor":
    """Returns [n, channels]: every output sees every channel of every position."""
    dense = layers.EinsumDense(
        "npc,pcd->nd", output_shape=channels, bias_axes="d", name=name
    )
    return dense(positions)


def _joined(
    attended: "keras.KerasTensor", squeezed: "keras.KerasTensor", join: Join
) -> "keras.KerasTensor":
    joins = {"sum": layers.Add, "concat": layers.Concatenate}
    return joins[join](name="joined")([attended, squeezed])
