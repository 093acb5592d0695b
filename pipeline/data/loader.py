"""Shards as tf.data: every order and every augmentation is a pure function of (seed, epoch, position).

Import only after `backend.start`: TensorFlow is loaded here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pipeline.data.shards import Split
from pipeline.params import Train

# Records; encoded ones, about 60 MB at 15 kB; only where the split does not fit in
# memory
SHUFFLED_RECORDS = 4_096
# Shards read at once while streaming, so that neighbours in a batch come from many
OPEN_SHARDS = 16
_READ_BYTES = 1 << 20  # bytes per read of a shard

Epochs = Callable[["tf.Tensor"], "tf.data.Dataset"]
"""From the number of an epoch, a scalar tensor, to its (picture, labels) in the order of that epoch."""

_FEATURES = {
    "post_id": tf.io.FixedLenFeature([], tf.int64),
    "md5": tf.io.FixedLenFeature([], tf.string),
    "labels": tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
    "jpeg": tf.io.FixedLenFeature([], tf.string),
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in the order of the shards.

    pictures: uint8 [n, size, size, 3]; labels: uint8 [n, tags], 0 or 1.
    """

    post_ids: np.ndarray  # int64 [n]
    md5s: list[str]
    pictures: np.ndarray
    labels: np.ndarray


def batches(split: Split, size: int, batch_size: int) -> Iterator[Batch]:
    """Yields every record of a split once, shard by shard, the last batch shorter."""
    records = tf.data.TFRecordDataset(
        [str(file) for file in split.files], buffer_size=_READ_BYTES
    )
    records = records.map(
        lambda record: _parse(record, size, split.tags),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    for post_ids, md5s, pictures, labels in (
        records.batch(batch_size).prefetch(2).as_numpy_iterator()
    ):
        yield Batch(post_ids, [md5.decode() for md5 in md5s], pictures, labels)


def training(
    split: Split, params: Train, *, batch_size: int, first_epoch: int
) -> "tf.data.Dataset":
    """Returns the batches (pictures, labels) of epochs `first_epoch` to the last, one endless-looking stream.

    Each epoch has records // batch_size batches; which records are left over differs from epoch to epoch.
    """
    held = split.records * params.size**2 * 3 <= params.cache_bytes
    epoch = _from_memory(split, params) if held else _from_disk(split, params)

    def augmented(number: "tf.Tensor") -> "tf.data.Dataset":
        records = epoch(number).batch(batch_size, drop_remainder=True).enumerate(1)
        return records.map(
            lambda position, batch: (
                _augment(batch[0], _seed(params.seed, number, position), params),
                batch[1],
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    epochs = tf.data.Dataset.range(first_epoch, params.epochs)
    return epochs.flat_map(augmented).prefetch(2)


def _from_memory(split: Split, params: Train) -> Epochs:
    """Decodes the split once.

    At 96 pixels 4,500 pictures take 124 MB, and an epoch no longer waits for a decoder.
    """
    pictures = np.empty((split.records, params.size, params.size, 3), np.uint8)
    labels = np.empty((split.records, split.tags), np.uint8)
    filled = 0
    for batch in batches(split, params.size, 256):
        end = filled + len(batch.labels)
        pictures[filled:end], labels[filled:end] = batch.pictures, batch.labels
        filled = end
    with tf.device("CPU"):
        all_pictures, all_labels = tf.constant(pictures), tf.constant(labels)

    def epoch(number: "tf.Tensor") -> "tf.data.Dataset":
        order = tf.random.experimental.stateless_shuffle(
            tf.range(split.records), seed=_seed(params.seed, number, 0)
        )
        rows = tf.data.Dataset.from_tensor_slices(order)
        return rows.map(lambda row: (all_pictures[row], all_labels[row]))

    return epoch


def _from_disk(split: Split, params: Train) -> Epochs:
    """Streams the split, decoding every picture in every epoch: shards in a new order.

    Then a shuffle buffer.
    """
    files = tf.constant([str(file) for file in split.files])

    def epoch(number: "tf.Tensor") -> "tf.data.Dataset":
        seed = _seed(params.seed, number, 0)
        order = tf.random.experimental.stateless_shuffle(files, seed=seed)
        records = tf.data.Dataset.from_tensor_slices(order).interleave(
            lambda file: tf.data.TFRecordDataset(file, buffer_size=_READ_BYTES),
            cycle_length=OPEN_SHARDS,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        records = records.shuffle(
            SHUFFLED_RECORDS, seed=seed[0] + seed[1], reshuffle_each_iteration=False
        )
        return records.map(
            lambda record: _parse(record, params.size, split.tags)[2:],
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    return epoch


def _parse(record: "tf.Tensor", size: int, tags: int) -> tuple["tf.Tensor", ...]:
    """Returns post id, md5, picture (uint8 [size, size, 3]) and labels (uint8 [tags]) of a serialized Example."""
    example = tf.io.parse_single_example(record, _FEATURES)
    picture = tf.io.decode_jpeg(example["jpeg"], channels=3)
    # Antialiased bilinear is what Pillow's BILINEAR does, so users of the bundle can
    # prepare pictures with it.
    picture = tf.image.resize(picture, (size, size), method="bilinear", antialias=True)
    picture = tf.cast(tf.round(tf.clip_by_value(picture, 0, 255)), tf.uint8)
    labels = tf.reduce_sum(tf.one_hot(example["labels"], tags, dtype=tf.uint8), axis=0)
    return (
        example["post_id"],
        example["md5"],
        tf.ensure_shape(picture, (size, size, 3)),
        tf.ensure_shape(labels, (tags,)),
    )


def _augment(pictures: "tf.Tensor", seed: "tf.Tensor", params: Train) -> "tf.Tensor":
    """Mirrors and shifts each picture of a batch by its own chance.

    What a shift uncovers is the mirrored edge.

    pictures: uint8 [n, size, size, 3]. Both are a choice of rows and columns, so two
    gathers do them for a whole batch, at a third of the time of cropping picture by
    picture.
    """
    size, reach = params.size, round(params.shift * params.size)
    random = tf.random.stateless_uniform([3, tf.shape(pictures)[0], 1], seed)
    shifts = tf.cast(random[:2] * (2 * reach + 1), tf.int32) - reach
    places = tf.range(size)[None, None, :] + shifts
    places = tf.where(places < 0, -1 - places, places)
    places = tf.where(places >= size, 2 * size - 1 - places, places)
    rows, columns = places[0], places[1]
    if params.flip:
        columns = tf.where(random[2] < 0.5, size - 1 - columns, columns)
    pictures = tf.gather(pictures, rows, axis=1, batch_dims=1)
    return tf.gather(pictures, columns, axis=2, batch_dims=1)


def _seed(seed: int, epoch: "tf.Tensor", position: "tf.Tensor | int") -> "tf.Tensor":
    """The two numbers that TensorFlow's stateless randomness takes, from the three that name one use of it."""
    epoch, position = tf.cast(epoch, tf.int64), tf.cast(position, tf.int64)
    return tf.stack([seed + epoch * (1 << 32), position])
