"""Affine resampling of batches of images.

Import only after `backend.start`: TensorFlow is loaded here.
"""

import tensorflow as tf


def warp(
    images: "tf.Tensor", matrices: "tf.Tensor", offsets: "tf.Tensor"
) -> "tf.Tensor":
    """Resamples each image of a batch along an affine map.

    images: uint8 [n, size, size, 3]; matrices: float32 [n, 2, 2]; offsets: float32
    [n, 2], pixels. The pixel at (row, column) is read at centre + matrix @ ((row,
    column) - centre) + offset, where the centre is that of the image: bilinearly, and
    beyond an edge from its mirror image. Returns uint8 of the same shape, rounded.
    """
    size = images.shape[1]
    centre = tf.fill([2], (size - 1) / 2)
    moved = tf.linalg.matvec(matrices, centre)
    starts = centre - moved + offsets
    # TensorFlow's order is x, y: column before row; the last two are projective.
    parts = [
        matrices[:, 1, 1],
        matrices[:, 1, 0],
        starts[:, 1],
        matrices[:, 0, 1],
        matrices[:, 0, 0],
        starts[:, 0],
    ]
    flat = tf.stack(parts, axis=1)
    transforms = tf.pad(flat, [[0, 0], [0, 2]])
    resampled = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=transforms,
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    resampled = tf.ensure_shape(resampled, images.shape)
    return to_uint8(resampled)


def rotations(angles: "tf.Tensor") -> "tf.Tensor":
    """Returns matrices [n, 2, 2] that turn images counterclockwise.

    angles: float32 [n], radians.
    """
    cosines, sines = tf.cos(angles), tf.sin(angles)
    first = tf.stack([cosines, sines], axis=1)
    second = tf.stack([-sines, cosines], axis=1)
    return tf.stack([first, second], axis=1)


def to_uint8(images: "tf.Tensor") -> "tf.Tensor":
    """Returns float images rounded and limited to 0 to 255, as uint8."""
    return tf.cast(tf.round(tf.clip_by_value(images, 0, 255)), tf.uint8)
