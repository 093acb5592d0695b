"""TrivialAugment: each image is changed in one way, with a strength drawn at random.

Müller and Hutter 2021 (arXiv:2103.10158), with the 14 changes and the ranges of its
"wide" space. Other than there, geometric changes keep the centre of the image in its
place and fill what they uncover with the mirrored edge. Changes of colour are those of
Pillow's `ImageOps` and `ImageEnhance`. Import only after `backend.start`: TensorFlow is
loaded here.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from pipeline.data.warp import rotations, to_uint8, warp

LEVELS = 31  # strengths, evenly from none to the largest
LARGEST_SHEAR = 0.99  # pixels per pixel
LARGEST_TRANSLATION = 32 / 224  # of the size; the paper's 32 pixels of 224
LARGEST_ROTATION = math.radians(135)
LARGEST_CHANGE = 0.99  # of the factors of Pillow's ImageEnhance, from 1
FEWEST_BITS = 2  # of a colour that is posterized

_GREY = (299, 587, 114)  # thousandths of red, green and blue (ITU-R BT.601)

Change = Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]
"""From uint8 images [n, size, size, 3] and strengths float32 [n] to such images.

A strength is between -1 and 1; changes without a direction take its magnitude, and some
have none."""


def trivial_augment(images: "tf.Tensor", seed: "tf.Tensor") -> "tf.Tensor":
    """Changes each image of a batch in one way. seed: int64 [2].

    images: uint8 [n, size, size, 3]. Returns uint8 of the same shape.
    """
    chosen, strengths = draw_changes(tf.shape(images)[0], seed)
    return change_each(images, chosen, strengths)


def draw_changes(
    count: "tf.Tensor | int", seed: "tf.Tensor"
) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Returns as many positions in CHANGES and strengths of either sign.

    int32 [count] and float32 [count].
    """
    random = tf.random.stateless_uniform([3, count], seed)
    chosen = tf.cast(random[0] * len(CHANGES), tf.int32)
    levels = tf.floor(random[1] * LEVELS) / (LEVELS - 1)
    return chosen, tf.where(random[2] < 0.5, -levels, levels)


def change_each(
    images: "tf.Tensor", chosen: "tf.Tensor", strengths: "tf.Tensor"
) -> "tf.Tensor":
    """Changes each image in the chosen way.

    images: uint8 [n, size, size, 3]; chosen: int32 [n], positions in CHANGES;
    strengths: float32 [n].
    """
    # Each change is done to the images that it was chosen for, all at once.
    count = len(CHANGES)
    rows = tf.dynamic_partition(tf.range(tf.shape(images)[0]), chosen, count)
    changed = []
    for change, own in zip(CHANGES.values(), rows, strict=True):
        changed.append(change(tf.gather(images, own), tf.gather(strengths, own)))
    return tf.ensure_shape(tf.dynamic_stitch(rows, changed), images.shape)


def _identity(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    del strengths
    return images


def _rotate(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    matrices = rotations(strengths * LARGEST_ROTATION)
    return warp(images, matrices, tf.zeros_like(matrices[:, 0]))


def _shear_x(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    return _shear(images, strengths, [[0.0, 0.0], [1.0, 0.0]])


def _shear_y(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    return _shear(images, strengths, [[0.0, 1.0], [0.0, 0.0]])


def _shear(
    images: "tf.Tensor", strengths: "tf.Tensor", direction: list[list[float]]
) -> "tf.Tensor":
    shears = LARGEST_SHEAR * strengths[:, None, None]
    matrices = tf.eye(2) + shears * tf.constant(direction)
    return warp(images, matrices, tf.zeros_like(matrices[:, 0]))


def _translate_x(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    return _translate(images, strengths, [0.0, 1.0])


def _translate_y(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    return _translate(images, strengths, [1.0, 0.0])


def _translate(
    images: "tf.Tensor", strengths: "tf.Tensor", direction: list[float]
) -> "tf.Tensor":
    largest = LARGEST_TRANSLATION * images.shape[1]
    offsets = largest * strengths[:, None] * tf.constant(direction)
    matrices = tf.eye(2, batch_shape=tf.shape(strengths))
    return warp(images, matrices, offsets)


def _brightness(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    return _blend(tf.zeros_like(images), images, strengths)


def _contrast(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    means = tf.reduce_mean(_grey(images), axis=[1, 2], keepdims=True)
    return _blend(tf.floor(means + 0.5), images, strengths)


def _colour(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    return _blend(_grey(images), images, strengths)


def _sharpness(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    pixels = tf.cast(images, tf.float32)
    # Pillow's filter SMOOTH; pixels of the edge stay as they are.
    size = images.shape[1]
    smooth = 4 * pixels[:, 1:-1, 1:-1]
    for row in range(3):
        for column in range(3):
            smooth += pixels[:, row : size - 2 + row, column : size - 2 + column]
    smooth = tf.round(smooth / 13)
    inside = [[0, 0], [1, 1], [1, 1], [0, 0]]
    edge = tf.pad(tf.zeros_like(smooth), inside, constant_values=1)
    smooth = tf.where(edge == 1, pixels, tf.pad(smooth, inside))
    return _blend(smooth, images, strengths)


def _posterize(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    lost = tf.round((8 - FEWEST_BITS) * tf.abs(strengths))
    steps = tf.pow(2.0, lost)[:, None, None, None]
    return to_uint8(tf.floor(tf.cast(images, tf.float32) / steps) * steps)


def _solarize(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    limits = 256 * (1 - tf.abs(strengths))
    above = tf.cast(images, tf.float32) >= limits[:, None, None, None]
    return tf.where(above, 255 - images, images)


def _autocontrast(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    del strengths
    pixels = tf.cast(images, tf.float32)
    lowest = tf.reduce_min(pixels, axis=[1, 2], keepdims=True)
    ranges = tf.reduce_max(pixels, axis=[1, 2], keepdims=True) - lowest
    stretched = tf.floor((pixels - lowest) * 255 / tf.maximum(ranges, 1))
    # Images of one colour stay as they are.
    return to_uint8(tf.where(ranges > 0, stretched, pixels))


def _equalize(images: "tf.Tensor", strengths: "tf.Tensor") -> "tf.Tensor":
    """Gives each value of a channel its rank among the pixels, as 0 to 255."""
    del strengths
    # Channel by channel: where whole numbers are transposed, oneDNN writes an error to
    # stderr on some CPUs, and TensorFlow moves a cast behind the transposition.
    channels = [_equalized(channel) for channel in tf.unstack(images, axis=3)]
    return tf.stack(channels, axis=3)


def _equalized(channel: "tf.Tensor") -> "tf.Tensor":
    """Returns one channel of images equalized: uint8 [n, size, size]."""
    pixels = channel.shape[1] * channel.shape[2]
    values = tf.reshape(tf.cast(channel, tf.int32), [-1, pixels])
    counts = tf.math.bincount(values, minlength=256, maxlength=256, axis=-1)
    brightest = tf.reduce_max(values, axis=1, keepdims=True)
    others = pixels - tf.gather(counts, brightest, batch_dims=1)
    steps = others // 255
    below = tf.cumsum(counts, axis=1, exclusive=True)
    table = (below + steps // 2) // tf.maximum(steps, 1)
    table = tf.where(steps > 0, tf.minimum(table, 255), tf.range(256))
    found = tf.gather(table, values, batch_dims=1)
    return tf.reshape(tf.cast(found, tf.uint8), tf.shape(channel))


def _grey(images: "tf.Tensor") -> "tf.Tensor":
    """Returns whole numbers, float32 [n, size, size, 1]."""
    red_green_blue = tf.constant(_GREY, tf.float32) / 1_000
    weighted = tf.cast(images, tf.float32) * red_green_blue
    return tf.round(tf.reduce_sum(weighted, axis=3, keepdims=True))


def _blend(
    without: "tf.Tensor", images: "tf.Tensor", strengths: "tf.Tensor"
) -> "tf.Tensor":
    """Moves away from the images without a trait, or towards them.

    As Pillow's ImageEnhance by a factor of 1 + LARGEST_CHANGE * strength.
    """
    without = tf.cast(without, tf.float32)
    factors = 1 + LARGEST_CHANGE * strengths[:, None, None, None]
    return to_uint8(without + factors * (tf.cast(images, tf.float32) - without))


CHANGES: dict[str, Change] = {
    "identity": _identity,
    "auto-contrast": _autocontrast,
    "equalize": _equalize,
    "rotate": _rotate,
    "solarize": _solarize,
    "colour": _colour,
    "posterize": _posterize,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear x": _shear_x,
    "shear y": _shear_y,
    "translate x": _translate_x,
    "translate y": _translate_y,
}
"""All are drawn equally often."""
