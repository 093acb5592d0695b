"""heatmap.onnx: from the feature map to where in the image each tag is seen.

No gradients: each head is taken apart into what its positions add to a tag's logit.

pool
    The logit is the average of the positions times the tag's weights, so a position
    adds its features times the weights, divided by the number of positions: the class
    activation map of Zhou et al. 2016 (arXiv:1512.04150). The positions' sum is the
    logit without its bias.
queries
    The logit is that of the average, as for `pool`, plus what the tag's query answers.
    The answer is shared out by the attention that the query paid to each position, mean
    over its heads. The positions' sum again is the logit without its bias.
attention_residual
    Both branches sum over positions before anything is not linear. Behind the sums, the
    gates of the SiLU and the scale of the last norm are held at the values that they
    have for this image. What is left is linear, and a position adds its part.

This is the logit before calibration and, of a network with label noise, before the
noise. Import only after
`backend.start("tensorflow")`.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from e6tag import bundle
from pipeline.export import onnx
from pipeline.export.graphs import Head
from pipeline.model.build import FEATURES

Contributions = Callable[["tf.Tensor"], "tf.Tensor"]
"""From features, [n, h, w, channels], to what positions add, [n, h x w, tags]."""


def to_onnx(network: keras.Model, head_name: str, head: Head) -> Any:
    """Returns heatmap.onnx. head_name: of `train.head`."""
    features = network.get_layer(FEATURES).output
    height, width, channels = features.shape[1:]
    of_tags = _HEADS[head_name](network)

    def heatmap(given: tf.Tensor) -> list[tf.Tensor]:
        parts = [of_tags(given)]
        if head.ratings is not None:
            positions = tf.reshape(given, (-1, height * width, channels))
            weights = head.ratings.weights / np.float32(height * width)
            parts.append(tf.matmul(positions, weights))
        known = tf.concat(parts, axis=-1)
        padded = tf.pad(known, [[0, 0], [0, 0], [0, 1]])
        rows = tf.gather(padded, head.columns, axis=-1)
        return [tf.reshape(rows, (-1, height, width, len(head.columns)))]

    shape = (height, width, channels)
    return onnx.convert(heatmap, bundle.FEATURES, shape, [bundle.HEATMAP])


def _pool(network: keras.Model) -> Contributions:
    features = network.get_layer(FEATURES).output
    height, width, channels = features.shape[1:]
    # NumPy's: a tensor from outside would be an input of the traced function.
    weights = _array(network.get_layer("tags").kernel) / np.float32(height * width)

    def contributions(given: tf.Tensor) -> tf.Tensor:
        positions = tf.reshape(given, (-1, height * width, channels))
        return tf.matmul(positions, weights)

    return contributions


def _queries(network: keras.Model) -> Contributions:
    features = network.get_layer(FEATURES).output
    answers, _ = network.get_layer("logits").input
    attention = network.get_layer("attention").output
    part = keras.Model(features, [attention, answers])
    tags, queries = answers.shape[-1], attention.shape[2]
    of_average = _pool(network)
    # Tags that follow each other share a query: see heads.queries.grouping.
    group = -(-tags // queries)
    query_of_tag = np.arange(tags) // group

    def contributions(given: tf.Tensor) -> tf.Tensor:
        weights, answered = part(given, training=False)
        paid = tf.reduce_mean(tf.cast(weights, tf.float32), axis=1)
        per_tag = tf.transpose(tf.gather(paid, query_of_tag, axis=1), [0, 2, 1])
        return of_average(given) + per_tag * answered[:, tf.newaxis, :]

    return contributions


def _attention_residual(network: keras.Model) -> Contributions:
    layer = network.get_layer
    # What each branch sums over positions, and what the sums have become.
    inner = [layer(name).input for name in ("attended", "squeezed", "encoder")]
    joined = layer("joined").output
    part = keras.Model(layer(FEATURES).output, [*inner, joined])
    maps = [_array(layer(name).kernel) for name in ("attended", "squeezed")]
    encode = _encoder(network)
    is_sum = isinstance(layer("joined"), keras.layers.Add)
    finish = _norm_and_tags(network)

    def contributions(given: tf.Tensor) -> tf.Tensor:
        found = part(given, training=False)
        attended, squeezed, narrow, joined = (tf.cast(x, tf.float32) for x in found)
        first = tf.einsum("npc,pcd->npd", attended, maps[0])
        second = encode(tf.einsum("npc,pcd->npd", squeezed, maps[1]), narrow)
        both = first + second if is_sum else tf.concat([first, second], axis=-1)
        return finish(both, joined)

    return contributions


def _encoder(network: keras.Model) -> Callable[..., "tf.Tensor"]:
    """Returns what encoder and decoder make of summands, their gates held.

    The function takes summands, [n, positions, d], and their sum, [n, d].
    """
    layer = network.get_layer
    kernel, bias = _array(layer("encoder").kernel), _array(layer("encoder").bias)
    decoder = _array(layer("decoder").kernel)

    def encode(summands: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
        gates = tf.sigmoid(tf.matmul(total, kernel) + bias)
        encoded = tf.matmul(summands, kernel) * gates[:, tf.newaxis, :]
        return tf.matmul(encoded, decoder)

    return encode


def _norm_and_tags(network: keras.Model) -> Callable[..., "tf.Tensor"]:
    """Returns what the last norm and the layer of the tags make of summands.

    The function takes summands, [n, positions, d], and their sum, [n, d].
    """
    norm = network.get_layer("joined_norm")
    tags = network.get_layer("tags")
    weights = _array(norm.gamma)[:, None] * _array(tags.kernel)

    def finish(summands: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
        scale = tf.math.rsqrt(tf.math.reduce_variance(total, -1) + norm.epsilon)
        centred = summands - tf.reduce_mean(summands, axis=-1, keepdims=True)
        return tf.matmul(centred, weights) * scale[:, tf.newaxis, tf.newaxis]

    return finish


def _array(variable: Any) -> np.ndarray:
    return np.asarray(variable, np.float32)


_HEADS: dict[str, Callable[[keras.Model], Contributions]] = {
    "attention_residual": _attention_residual,
    "pool": _pool,
    "queries": _queries,
}

SUMMED_LAYERS = {"pool": "tags", "queries": "logits"}
"""By head, the layer whose output the positions add up to, but for the bias of `tags`.
Of `attention_residual` they do not."""
