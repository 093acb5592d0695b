"""Augmentation of batches, a pure function of (seed, epoch, position).

Import only after `backend.start`: TensorFlow is loaded here.
"""

import math

import tensorflow as tf

from pipeline.data.trivial_augment import trivial_augment as augment_trivially
from pipeline.data.warp import rotations, to_uint8, warp

# Names of the random numbers that are drawn besides those of flip and shift.
_ROTATION, _ZOOM, _CONTRAST, _TRIVIAL_AUGMENT, _MIX_UP = range(5)


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
    images: "tf.Tensor",
    seed: "tf.Tensor",
    *,
    flip: bool,
    shift: float,
    rotation: float = 0.0,
    zoom: float = 0.0,
    contrast: float = 0.0,
    trivial_augment: bool = False,
) -> "tf.Tensor":
    """Changes each image of a batch at random.

    images: uint8 [n, size, size, 3]. flip: mirror half of them; shift: up to this share
    of the size, in both directions; rotation: up to this many degrees, either way;
    zoom: by a factor of 1 - zoom to 1 + zoom; contrast: the same for the differences
    from the mean colour; trivial_augment: one change of TrivialAugment on top. What is
    uncovered is filled with the mirrored edge. Returns uint8 of the same shape.
    """
    if rotation > 0 or zoom > 0:
        images = _move_and_turn(
            images, seed, flip=flip, shift=shift, rotation=rotation, zoom=zoom
        )
    else:
        images = _move(images, seed, flip=flip, shift=shift)
    if contrast > 0:
        factors = _uniform(images, seed, _CONTRAST, 1 - contrast, 1 + contrast)
        images = with_contrast(images, factors)
    if trivial_augment:
        images = augment_trivially(images, _derived(seed, _TRIVIAL_AUGMENT))
    return images


def mix_up(
    images: "tf.Tensor", labels: "tf.Tensor", seed: "tf.Tensor", *, alpha: float
) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Mixes each image and its labels with those before it in the batch.

    MixUp (arXiv:1710.09412): the share kept of an image is drawn from Beta(alpha,
    alpha). A batch is in random order, so that its neighbour is a random image. images:
    uint8 [n, size, size, 3]; labels: [n, tags], 0 or 1. Returns images as uint8 and
    labels as float32 between 0 and 1.
    """
    shape = [2, tf.shape(images)[0]]
    # In float64: with a small alpha, both are often too small for float32.
    gammas = tf.random.stateless_gamma(
        shape, _derived(seed, _MIX_UP), alpha, dtype=tf.float64
    )
    shares = tf.math.divide_no_nan(gammas[0], gammas[0] + gammas[1])
    return mix(images, labels, tf.cast(shares, tf.float32))


def mix(
    images: "tf.Tensor", labels: "tf.Tensor", shares: "tf.Tensor"
) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Mixes as `mix_up` does, with given shares. shares: float32 [n]."""
    mixed = _mixed_with_previous(images, shares[:, None, None, None])
    return to_uint8(mixed), _mixed_with_previous(labels, shares[:, None])


def with_contrast(images: "tf.Tensor", factors: "tf.Tensor") -> "tf.Tensor":
    """Multiplies the differences of each image from its mean colour.

    images: uint8 [n, size, size, 3]; factors: float32 [n]. Returns uint8.
    """
    pixels = tf.cast(images, tf.float32)
    means = tf.reduce_mean(pixels, axis=[1, 2], keepdims=True)
    return to_uint8(means + factors[:, None, None, None] * (pixels - means))


def _mixed_with_previous(values: "tf.Tensor", shares: "tf.Tensor") -> "tf.Tensor":
    values = tf.cast(values, tf.float32)
    previous = tf.roll(values, shift=1, axis=0)
    return previous + shares * (values - previous)


def _move(
    images: "tf.Tensor", seed: "tf.Tensor", *, flip: bool, shift: float
) -> "tf.Tensor":
    """Mirrors and shifts.

    Both are a choice of rows and columns, so two gathers do them for a whole batch, at
    a third of the time of cropping image by image.
    """
    size = images.shape[1]
    offsets, mirrored = _offsets_and_mirrored(images, seed, shift)
    rows, columns = tf.unstack(_reflected(tf.range(size) + offsets, size))
    if flip:
        columns = tf.where(mirrored, size - 1 - columns, columns)
    images = tf.gather(images, rows, axis=1, batch_dims=1)
    return tf.gather(images, columns, axis=2, batch_dims=1)


def _move_and_turn(
    images: "tf.Tensor",
    seed: "tf.Tensor",
    *,
    flip: bool,
    shift: float,
    rotation: float,
    zoom: float,
) -> "tf.Tensor":
    """Mirrors and shifts as `_move`, and turns and zooms, in one resampling."""
    limit = math.radians(rotation)
    angles = _uniform(images, seed, _ROTATION, -limit, limit)
    factors = _uniform(images, seed, _ZOOM, 1 - zoom, 1 + zoom)
    matrices = rotations(angles) / factors[:, None, None]
    offsets, mirrored = _offsets_and_mirrored(images, seed, shift)
    # In this order: transposing whole numbers makes oneDNN complain on some CPUs.
    offsets = tf.transpose(tf.cast(offsets[..., 0], tf.float32))
    if flip:
        signs = tf.where(mirrored, -1.0, 1.0)
        by_row_and_column = tf.concat([tf.ones_like(signs), signs], axis=1)
        matrices *= by_row_and_column[:, :, None]
        offsets *= by_row_and_column
    return warp(images, matrices, offsets)


def _offsets_and_mirrored(
    images: "tf.Tensor", seed: "tf.Tensor", shift: float
) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Returns offsets, int32 [2, n, 1] of whole pixels, and bool [n, 1] for half."""
    reach = round(shift * images.shape[1])
    random = tf.random.stateless_uniform([3, tf.shape(images)[0], 1], seed)
    offsets = tf.cast(random[:2] * (2 * reach + 1), tf.int32) - reach
    return offsets, random[2] < 0.5


def _uniform(
    images: "tf.Tensor", seed: "tf.Tensor", name: int, low: float, high: float
) -> "tf.Tensor":
    """Returns a number for each image, float32 [n]."""
    random = tf.random.stateless_uniform([tf.shape(images)[0]], _derived(seed, name))
    return low + (high - low) * random


def _derived(seed: "tf.Tensor", name: int) -> "tf.Tensor":
    """Returns a seed for random numbers that depend on no others of this seed."""
    return tf.random.experimental.stateless_fold_in(seed, name)


def _reflected(positions: "tf.Tensor", size: int) -> "tf.Tensor":
    """Returns positions inside 0 to size - 1: those outside mirrored at the edge."""
    positions = tf.where(positions < 0, -1 - positions, positions)
    return tf.where(positions >= size, 2 * size - 1 - positions, positions)
