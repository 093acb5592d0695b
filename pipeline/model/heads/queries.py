"""Learned queries that attend to the feature map, beside its average.

The decoder of ML-Decoder (Ridnik et al. 2021, arXiv:2111.12933), which is that of
Query2Label (Liu et al. 2021, arXiv:2107.10834) without self-attention between queries
and with several tags per query where there are many. Parameters are linear in tags: see
docs/heads.md. Import only after `backend.start`.

Queries do not depend on the image. So there is no layer that holds them: they are the
kernel of the layer that scores positions, with its projection folded in, and the bias
of the layer that projects what was attended to. All layers are Keras's own, and a saved
network needs no code of this project to be read.
"""

import math

import keras
import numpy as np
from keras import layers

# Axis that counts the tags, by the path of a weight; the queries are as many where each
# tag has its own.
TAG_AXES = {
    "queries/kernel": 1,
    "attended/bias": 0,
    "tags_of_queries/kernel": 0,
    "tags/kernel": 1,
    "tags/bias": 0,
}

# Of `width`, in the feed-forward layer: ML-Decoder's 2,048 of 768 is 2.7.
EXPANSION = 2


def logits(
    features: "keras.KerasTensor",
    *,
    bias: np.ndarray,
    width: int = 128,
    heads: int = 4,
    most_queries: int = 256,
    dropout: float = 0.0,
) -> "keras.KerasTensor":
    """Returns logits, float32 [n, tags], of a feature map of fixed size.

    width: channels of a query, a multiple of `heads`. Each tag has its own query, but
    where there are more tags than `most_queries`, that many queries or fewer answer for
    groups of equal size: tags that follow each other in the vocabulary. dropout: share
    of the pooled features and of each query's answer left out while training. `bias`,
    float32 [tags], is the output before the head has learnt: see `heads.pool`.
    """
    if width % heads:
        raise ValueError(f"width {width} is no multiple of heads {heads}")
    tags = len(bias)
    queries, group = grouping(tags, most_queries)
    answers = _answers(features, queries, width, heads)
    answers = layers.Dropout(dropout, name="answers_dropout")(answers)
    by_query = _grouped_logits(answers, queries, group, tags)
    pooled = _pooled_logits(features, dropout, bias)
    return layers.Add(dtype="float32", name="logits")([by_query, pooled])


def grouping(tags: int, most_queries: int) -> tuple[int, int]:
    """Returns how many queries there are, and of how many tags each; the last of fewer.

    >>> grouping(1_000, most_queries=300)
    (250, 4)
    """
    group = math.ceil(tags / most_queries)
    return math.ceil(tags / group), group


def _answers(
    features: "keras.KerasTensor", queries: int, width: int, heads: int
) -> "keras.KerasTensor":
    """Returns [n, queries, width]: attention, then a feed-forward layer."""
    x = _attended(features, queries, width, heads)
    x = layers.LayerNormalization(name="attended_norm")(x)
    inner = EXPANSION * width
    y = layers.Dense(inner, activation="silu", name="feed_forward_a")(x)
    y = layers.Dense(width, name="feed_forward_b")(y)
    x = layers.Add(name="feed_forward_add")([x, y])
    return layers.LayerNormalization(name="answers_norm")(x)


def _attended(
    features: "keras.KerasTensor", queries: int, width: int, heads: int
) -> "keras.KerasTensor":
    """Returns what each query attends to, added to its own vector."""
    size = width // heads
    positions = layers.Reshape((-1, features.shape[-1]), name="positions")(features)
    x = layers.Dense(width, name="memory")(positions)
    x = layers.LayerNormalization(name="memory_norm")(x)
    # Without bias: it would add the same to a query's score of every position, which
    # the softmax takes out again.
    split = (x.shape[1], heads, size)
    keys = layers.EinsumDense("npw,whd->nphd", split, name="keys")(x)
    values = layers.EinsumDense("npw,whd->nphd", split, bias_axes="hd", name="values")(
        x
    )
    # Scores have variance 1 at first, as those of unit queries divided by the root of
    # their size (arXiv:1706.03762, 3.2.1).
    unit = keras.initializers.RandomNormal(stddev=size**-0.5)
    score = layers.EinsumDense(
        "nphd,hqd->nhqp",
        (heads, queries, x.shape[1]),
        kernel_initializer=unit,
        name="queries",
    )
    weights = layers.Softmax(name="attention")(score(keys))
    mixed = keras.ops.einsum("nhqp,nphd->nqhd", weights, values)
    # As the positional vectors of ViT (arXiv:2010.11929) start.
    small = keras.initializers.RandomNormal(stddev=0.02)
    project = layers.EinsumDense(
        "nqhd,hdw->nqw",
        (queries, width),
        bias_axes="qw",
        bias_initializer=small,
        name="attended",
    )
    return project(mixed)


def _grouped_logits(
    answers: "keras.KerasTensor", queries: int, group: int, tags: int
) -> "keras.KerasTensor":
    """Returns what the queries say, float32 [n, tags]: zeros before they have learnt.

    Each query has its own weights for the tags of its group.
    """
    decode = layers.EinsumDense(
        "nqw,qwg->nqg",
        (queries, group),
        kernel_initializer="zeros",
        dtype="float32",
        name="tags_of_queries",
    )
    flat = layers.Reshape((queries * group,), dtype="float32", name="tags_in_order")
    outputs = flat(decode(answers))
    # The last group may have places without a tag.
    return outputs[:, :tags]


def _pooled_logits(
    features: "keras.KerasTensor", dropout: float, bias: np.ndarray
) -> "keras.KerasTensor":
    """Returns logits of the average over positions: `bias` before they have learnt."""
    x = layers.GlobalAveragePooling2D(name="pool")(features)
    x = layers.Dropout(dropout, name="dropout")(x)
    tags = layers.Dense(
        len(bias), kernel_initializer="zeros", dtype="float32", name="tags"
    )
    outputs = tags(x)
    # Assigned, since an initializer would be saved with the network's description.
    tags.bias.assign(bias)
    return outputs
