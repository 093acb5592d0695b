"""Shards as tf.data: every order is a pure function of (seed, epoch, position).

Import only after `backend.start`: TensorFlow is loaded here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pipeline.data.augment import augment, stateless_seed
from pipeline.data.shards import Split
from pipeline.params import Train

# Encoded records, about 60 MB at 15 kB; only where the split does not fit in memory.
SHUFFLE_BUFFER = 4_096
# Shards read at once while streaming, so that the records of a batch come from many.
OPEN_SHARDS = 16
_READ_BYTES = 1 << 20  # bytes per read of a shard

EpochStream = Callable[["tf.Tensor"], "tf.data.Dataset"]
"""From an epoch's number, a scalar tensor, to its (image, labels) in their order."""

_FEATURES = {
    "post_id": tf.io.FixedLenFeature([], tf.int64),
    "md5": tf.io.FixedLenFeature([], tf.string),
    "labels": tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
    "jpeg": tf.io.FixedLenFeature([], tf.string),
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in the order of the shards.

    images: uint8 [n, size, size, 3]; labels: uint8 [n, tags], 0 or 1.
    """

    post_ids: np.ndarray  # int64 [n]
    md5s: list[str]
    images: np.ndarray
    labels: np.ndarray


def batches(split: Split, size: int, batch_size: int) -> Iterator[Batch]:
    """Yields every record of a split once, shard by shard, the last batch shorter."""

    def parse(record: "tf.Tensor") -> tuple["tf.Tensor", ...]:
        return _parse(record, size, split.tags)

    names = [str(file) for file in split.files]
    records = tf.data.TFRecordDataset(names, buffer_size=_READ_BYTES)
    records = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    arrays = records.batch(batch_size).prefetch(2).as_numpy_iterator()
    for post_ids, md5s, images, labels in arrays:
        yield Batch(post_ids, [md5.decode() for md5 in md5s], images, labels)


def training(
    split: Split, params: Train, *, batch_size: int, first_epoch: int
) -> "tf.data.Dataset":
    """Returns the batches (images, labels) of epochs `first_epoch` to the last.

    One stream over all epochs; each has records // batch_size batches, and which
    records are left over differs from epoch to epoch.
    """
    decoded_bytes = split.records * params.size**2 * 3
    fits_in_memory = decoded_bytes <= params.cache_bytes
    stream = (
        _from_memory(split, params) if fits_in_memory else _from_disk(split, params)
    )

    def augmented_epoch(number: "tf.Tensor") -> "tf.data.Dataset":
        def augmented(
            position: "tf.Tensor", batch: tuple["tf.Tensor", "tf.Tensor"]
        ) -> tuple["tf.Tensor", "tf.Tensor"]:
            images, labels = batch
            seed = stateless_seed(params.seed, number, position)
            images = augment(images, seed, flip=params.flip, shift=params.shift)
            return images, labels

        epoch = stream(number).batch(batch_size, drop_remainder=True)
        # Position 0 names the shuffle of the epoch.
        numbered = epoch.enumerate(1)
        return numbered.map(augmented, num_parallel_calls=tf.data.AUTOTUNE)

    epochs = tf.data.Dataset.range(first_epoch, params.epochs)
    return epochs.flat_map(augmented_epoch).prefetch(2)


def _from_memory(split: Split, params: Train) -> EpochStream:
    """Decodes the split once.

    At 96 pixels 4,500 images take 124 MB, and an epoch no longer waits for a decoder.
    """
    images, labels = _decode_all(split, params.size)

    def example(row: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        return images[row], labels[row]

    def epoch(number: "tf.Tensor") -> "tf.data.Dataset":
        seed = stateless_seed(params.seed, number, 0)
        rows = tf.range(split.records)
        order = tf.random.experimental.stateless_shuffle(rows, seed=seed)
        return tf.data.Dataset.from_tensor_slices(order).map(example)

    return epoch


def _decode_all(split: Split, size: int) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Returns images and labels of all records, in main memory."""
    images = np.empty((split.records, size, size, 3), np.uint8)
    labels = np.empty((split.records, split.tags), np.uint8)
    start = 0
    for batch in batches(split, size, 256):
        end = start + len(batch.labels)
        images[start:end] = batch.images
        labels[start:end] = batch.labels
        start = end
    with tf.device("CPU"):
        return tf.constant(images), tf.constant(labels)


def _from_disk(split: Split, params: Train) -> EpochStream:
    """Streams the split and decodes every image in every epoch.

    The shards come in a new order, then a shuffle buffer mixes their records.
    """
    files = tf.constant([str(file) for file in split.files])

    def records_of(file: "tf.Tensor") -> "tf.data.Dataset":
        return tf.data.TFRecordDataset(file, buffer_size=_READ_BYTES)

    def example(record: "tf.Tensor") -> tuple["tf.Tensor", ...]:
        _, _, image, labels = _parse(record, params.size, split.tags)
        return image, labels

    def epoch(number: "tf.Tensor") -> "tf.data.Dataset":
        seed = stateless_seed(params.seed, number, 0)
        order = tf.random.experimental.stateless_shuffle(files, seed=seed)
        records = tf.data.Dataset.from_tensor_slices(order).interleave(
            records_of,
            cycle_length=OPEN_SHARDS,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        records = records.shuffle(
            SHUFFLE_BUFFER, seed=seed[0] + seed[1], reshuffle_each_iteration=False
        )
        return records.map(example, num_parallel_calls=tf.data.AUTOTUNE)

    return epoch


def _parse(record: "tf.Tensor", size: int, tags: int) -> tuple["tf.Tensor", ...]:
    """Returns post id, md5, image and labels of a serialized Example.

    image: uint8 [size, size, 3]; labels: uint8 [tags].
    """
    example = tf.io.parse_single_example(record, _FEATURES)
    image = tf.io.decode_jpeg(example["jpeg"], channels=3)
    # Antialiased bilinear is what Pillow's BILINEAR does, so users of the bundle can
    # prepare images with it.
    image = tf.image.resize(image, (size, size), method="bilinear", antialias=True)
    image = tf.cast(tf.round(tf.clip_by_value(image, 0, 255)), tf.uint8)
    one_hot = tf.one_hot(example["labels"], tags, dtype=tf.uint8)
    labels = tf.reduce_sum(one_hot, axis=0)
    return (
        example["post_id"],
        example["md5"],
        tf.ensure_shape(image, (size, size, 3)),
        tf.ensure_shape(labels, (tags,)),
    )
