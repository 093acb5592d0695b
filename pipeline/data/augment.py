"""Augmentation of batches, a pure function of (seed, epoch, position).

Import only after `backend.start`: TensorFlow is loaded here.
"""

import tensorflow as tf


def stateless_seed(
    seed: int, epoch: "tf.Tensor", position: "tf.Tensor | int"
) -> "tf.Tensor":
    """Returns the two numbers of TensorFlow's stateless randomness, int64 [2].

    (seed, epoch, position) names one use of it.
    """
    epoch = tf.cast(epoch, tf.int64)
    position = tf.cast(position, tf.int64)
    return tf.stack([seed + epoch * (1 << 32), position])


def augment(
    images: "tf.Tensor", seed: "tf.Tensor", *, flip: bool, shift: float
) -> "tf.Tensor":
    """Mirrors and shifts each image of a batch at random.

    images: uint8 [n, size, size, 3]. flip: mirror half of them; shift: up to this share
    of the size, in both directions. Pixels that a shift uncovers are filled with the
    mirrored edge. Both are a choice of rows and columns, so two gathers do them for a
    whole batch, at a third of the time of cropping image by image.
    """
    size = images.shape[1]
    reach = round(shift * size)
    random = tf.random.stateless_uniform([3, tf.shape(images)[0], 1], seed)
    offsets = tf.cast(random[:2] * (2 * reach + 1), tf.int32) - reach
    rows, columns = tf.unstack(_reflected(tf.range(size) + offsets, size))
    if flip:
        columns = tf.where(random[2] < 0.5, size - 1 - columns, columns)
    images = tf.gather(images, rows, axis=1, batch_dims=1)
    return tf.gather(images, columns, axis=2, batch_dims=1)


def _reflected(positions: "tf.Tensor", size: int) -> "tf.Tensor":
    """Returns positions inside 0 to size - 1: those outside mirrored at the edge."""
    positions = tf.where(positions < 0, -1 - positions, positions)
    return tf.where(positions >= size, 2 * size - 1 - positions, positions)
