"""Shards as tf.data: every order is a pure function of (seed, epoch, position).

Import only after `backend.start`: TensorFlow is loaded here.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pipeline.data.augment import augment, mix_up, stateless_seed
from pipeline.data.shards import Split
from pipeline.train_params import Train

# Encoded records, about 60 MB at 15 kB; only where the split does not fit in memory.
SHUFFLE_BUFFER = 4_096
# Shards read at once while streaming, so that the records of a batch come from many.
OPEN_SHARDS = 16
_ALIGNMENT = 64  # bytes; EIGEN_MAX_ALIGN_BYTES
_READ_BYTES = 1 << 20  # bytes per read of a shard

EpochStream = Callable[["tf.Tensor", "tf.Tensor"], "tf.data.Dataset"]
"""From an epoch's number and a number of records, scalar tensors of int64, to the
epoch's (image, labels) in their order, without so many records at its start."""

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
    split: Split,
    params: Train,
    *,
    batch_size: int,
    first_epoch: int,
    first_step: int = 0,
) -> "tf.data.Dataset":
    """Returns the batches (images, labels) of epochs `first_epoch` to the last.

    One stream over all epochs; each has records // batch_size batches, and which
    records are left over differs from epoch to epoch. The first epoch starts with its
    batch `first_step`; epochs and steps count from 0. images: uint8 [n, size, size, 3];
    labels: uint8 [n, tags], 0 or 1; with MixUp float32 between them.
    """
    fits_in_memory = _fits_in_memory(split, params)
    stream = (
        _from_memory(split, params) if fits_in_memory else _from_disk(split, params)
    )

    def augmented_epoch(number: "tf.Tensor") -> "tf.data.Dataset":
        def augmented(
            position: "tf.Tensor", batch: tuple["tf.Tensor", "tf.Tensor"]
        ) -> tuple["tf.Tensor", "tf.Tensor"]:
            seed = stateless_seed(params.seed, number, position)
            return _augmented(*batch, seed, params)

        skipped = tf.where(number == first_epoch, tf.cast(first_step, tf.int64), 0)
        epoch = stream(number, skipped * batch_size)
        # Position 0 names the shuffle of the epoch.
        numbered = epoch.batch(batch_size, drop_remainder=True).enumerate(1 + skipped)
        return numbered.map(augmented, num_parallel_calls=tf.data.AUTOTUNE)

    epochs = tf.data.Dataset.range(first_epoch, params.epochs)
    batches = epochs.flat_map(augmented_epoch).prefetch(2)
    return batches.with_options(_no_rewriting()) if fits_in_memory else batches


def post_ids_of_batch(
    split: Split, params: Train, *, batch_size: int, epoch: int, step: int
) -> list[int]:
    """Returns the post ids of a batch of `training`, in its order.

    epoch, step: counted from 0. Reads every record of the split, decodes no image.
    """
    number = tf.constant(epoch, tf.int64)
    first = step * batch_size
    if _fits_in_memory(split, params):
        rows = row_order(split.records, params.seed, number)[first : first + batch_size]
        names = [str(file) for file in split.files]
        post_ids = _post_ids(tf.data.TFRecordDataset(names, buffer_size=_READ_BYTES))
        return [int(post_id) for post_id in post_ids[rows.numpy()]]
    records = _shuffled_records(split, params, number)
    post_ids = _post_ids(records.skip(first).take(batch_size))
    return [int(post_id) for post_id in post_ids]


def _post_ids(records: "tf.data.Dataset") -> np.ndarray:
    """Returns the post ids of serialized Examples, int64."""
    features = {"post_id": _FEATURES["post_id"]}

    def parse(record: "tf.Tensor") -> "tf.Tensor":
        return tf.io.parse_single_example(record, features)["post_id"]

    post_ids = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    return np.concatenate(list(post_ids.batch(4_096).as_numpy_iterator()))


def _fits_in_memory(split: Split, params: Train) -> bool:
    decoded_bytes = split.records * params.size**2 * 3
    return decoded_bytes <= params.cache_bytes


def _augmented(
    images: "tf.Tensor", labels: "tf.Tensor", seed: "tf.Tensor", params: Train
) -> tuple["tf.Tensor", "tf.Tensor"]:
    images = augment(
        images,
        seed,
        flip=params.flip,
        shift=params.shift,
        rotation=params.rotation,
        zoom=params.zoom,
        contrast=params.contrast,
        trivial_augment=params.trivial_augment,
    )
    if params.mixup == 0:
        return images, labels
    return mix_up(images, labels, seed, alpha=params.mixup)


def _no_rewriting() -> "tf.data.Options":
    """Returns options under which tf.data does not rewrite the graph.

    A rewriting copies every tensor that the graph refers to: all decoded images.
    """
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return options


def _from_memory(split: Split, params: Train) -> EpochStream:
    """Decodes the split once.

    At 96 pixels 4,500 images take 124 MB, and an epoch no longer waits for a decoder.
    """
    images, labels = _decode_all(split, params.size)

    def example(row: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        return images[row], labels[row]

    def epoch(number: "tf.Tensor", skipped: "tf.Tensor") -> "tf.data.Dataset":
        rows = row_order(split.records, params.seed, number)[skipped:]
        return tf.data.Dataset.from_tensor_slices(rows).map(example)

    return epoch


def row_order(records: int, seed: int, epoch: "tf.Tensor") -> "tf.Tensor":
    """Returns the rows of what is held in memory, int32 [records], as an epoch has them.

    epoch: scalar of int64, counted from 0.
    """
    shuffle = stateless_seed(seed, epoch, 0)
    rows = tf.range(records)
    return tf.random.experimental.stateless_shuffle(rows, seed=shuffle)


def _decode_all(split: Split, size: int) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Returns images and labels of all records, once in main memory."""
    images = _aligned_empty((split.records, size, size, 3))
    labels = _aligned_empty((split.records, split.tags))
    start = 0
    for batch in batches(split, size, 256):
        end = start + len(batch.labels)
        images[start:end] = batch.images
        labels[start:end] = batch.labels
        start = end
    return _shared_tensor(images), _shared_tensor(labels)


def _aligned_empty(shape: tuple[int, ...]) -> np.ndarray:
    """Returns an array of uint8 that begins where TensorFlow wants a tensor to."""
    size = math.prod(shape)
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size].reshape(shape)


def _shared_tensor(array: np.ndarray) -> "tf.Tensor":
    """Returns the array as a tensor in main memory that shares its bytes.

    tf.constant holds three copies of them for a moment.
    """
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def _from_disk(split: Split, params: Train) -> EpochStream:
    """Streams the split and decodes every image in every epoch.

    Records that are skipped are read, since the shuffle needs them, and not decoded.
    """

    def example(record: "tf.Tensor") -> tuple["tf.Tensor", ...]:
        _, _, image, labels = _parse(record, params.size, split.tags)
        return image, labels

    def epoch(number: "tf.Tensor", skipped: "tf.Tensor") -> "tf.data.Dataset":
        records = _shuffled_records(split, params, number).skip(skipped)
        return records.map(example, num_parallel_calls=tf.data.AUTOTUNE)

    return epoch


def _shuffled_records(
    split: Split, params: Train, epoch: "tf.Tensor"
) -> "tf.data.Dataset":
    """Returns the serialized Examples of the split in the order of an epoch.

    The shards come in a new order, then a shuffle buffer mixes their records.
    """

    def records_of(file: "tf.Tensor") -> "tf.data.Dataset":
        return tf.data.TFRecordDataset(file, buffer_size=_READ_BYTES)

    files = tf.constant([str(file) for file in split.files])
    seed = stateless_seed(params.seed, epoch, 0)
    order = tf.random.experimental.stateless_shuffle(files, seed=seed)
    records = tf.data.Dataset.from_tensor_slices(order).interleave(
        records_of,
        cycle_length=OPEN_SHARDS,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return records.shuffle(
        SHUFFLE_BUFFER, seed=seed[0] + seed[1], reshuffle_each_iteration=False
    )


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
