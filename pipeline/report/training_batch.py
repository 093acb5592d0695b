"""A batch as the model sees it in training: from the shards, augmented by the loader.

Drawn in a process of its own, which loads TensorFlow while the rest of the page is
made. That takes 5 s, and 14 s where Python may not keep compiled modules.
"""

import importlib.util
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from PIL import Image
from pydantic import ValidationError

from pipeline import parquet
from pipeline.data import shards
from pipeline.errors import E6tagError, TryAgainLater
from pipeline.paths import Paths
from pipeline.report import thumbnails
from pipeline.report.thumbnails import Thumbnail
from pipeline.train_params import Train

SHOWN = 24  # images of the batch
SIDE = 128  # pixels at most; what is smaller keeps its pixels

AUGMENTATIONS = (
    "flip",
    "shift",
    "rotation",
    "zoom",
    "contrast",
    "trivial_augment",
    "mixup",
)
"""Parameters of `train` that change images."""


@dataclass(frozen=True, slots=True)
class Input:
    """An image of the batch. tags: name and label, 1 but where images were mixed."""

    post_id: int
    image: Thumbnail
    tags: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Batch:
    """The batch, or why there is none (`absent`). changes: what augmentation does."""

    inputs: list[Input]
    size: int = 0  # pixels a side
    shard: str = ""
    changes: tuple[tuple[str, Any], ...] = ()
    absent: str | None = None


class Pending:
    """A batch that a process is drawing."""

    def __init__(self, receiver: Connection) -> None:
        self._receiver = receiver

    def result(self) -> Batch:
        """Waits for the batch; raises what its process raised."""
        try:
            found = self._receiver.recv()
        except EOFError as error:
            raise TryAgainLater(
                "the process that draws the training batch ended without one. If it "
                "printed no error it was killed, perhaps because memory is short: run "
                "the same command again."
            ) from error
        if isinstance(found, E6tagError):
            raise found
        batch: Batch = found
        return batch


@contextmanager
def drawing(paths: Paths, recorded: dict[str, Any]) -> Iterator[Pending]:
    """Yields the batch that a process draws during the block, which may wait for it.

    recorded: `params` of training.json.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, paths, recorded), daemon=True)
    process.start()
    sender.close()
    try:
        yield Pending(receiver)
    finally:
        process.kill()
        process.join()


def _send(sender: Connection, paths: Paths, recorded: dict[str, Any]) -> None:
    try:
        sender.send(draw(paths, recorded))
    except E6tagError as error:
        sender.send(error)


def draw(paths: Paths, recorded: dict[str, Any]) -> Batch:
    """Returns the first batch of the first epoch, of the first training shard alone.

    Raises CorruptFile for a shard that cannot be read.
    """
    if importlib.util.find_spec("tensorflow") is None:
        return Batch([], absent="TensorFlow, which reads the shards, is not installed.")
    try:
        params = Train.model_validate(recorded)
    except ValidationError:
        reason = "another version of e6tag trained the model, with other parameters."
        return Batch([], absent=reason)
    splits = shards.read_splits(paths)
    if "train" not in splits:
        return Batch([], absent="the shards have no training image.")
    return _draw(first_shard(paths, splits["train"]), params, _tag_names(paths))


def _tag_names(paths: Paths) -> list[str]:
    columns = ["label_id", "name"]
    table = parquet.read(paths.sample / "vocabulary.parquet", columns=columns)
    return table.sort("label_id")["name"].to_list()


def first_shard(paths: Paths, split: shards.Split) -> shards.Split:
    """Returns a split of its first file alone: hashes put its records there."""
    index = parquet.read(paths.shards / "index.parquet", columns=["shard", "records"])
    records = dict(index.iter_rows())
    first = split.files[0]
    return replace(
        split,
        files=(first,),
        sums=split.sums[:1],
        records=records[first.name],
    )


def _draw(shard: shards.Split, params: Train, names: list[str]) -> Batch:
    from pipeline.model import backend

    backend.start("tensorflow", "cpu")
    import tensorflow as tf

    from pipeline.data import loader

    # From disk: of a large shard, no more than the batch is decoded.
    params = params.model_copy(update={"cache_bytes": 0})
    count = min(SHOWN, shard.records)
    try:
        batches = loader.training(shard, params, batch_size=count, first_epoch=0)
        pixels, labels = next(batches.take(1).as_numpy_iterator())
        post_ids = loader.post_ids_of_batch(
            shard, params, batch_size=count, epoch=0, step=0
        )
    except tf.errors.OpError as error:
        raise parquet.corrupt_file_error(shard.files[0], error) from error
    inputs = []
    for post_id, image, row in zip(post_ids, pixels, labels, strict=True):
        small = thumbnails.encode(Image.fromarray(image), SIDE)
        inputs.append(Input(post_id, small, _tags(row, names)))
    return Batch(inputs, params.size, shard.files[0].name, _changes(params))


def _tags(labels: np.ndarray, names: list[str]) -> list[tuple[str, float]]:
    """Returns the tags of an image, those with the highest label first."""
    present = np.flatnonzero(labels)
    tags = [(names[label], float(labels[label])) for label in present]
    return sorted(tags, key=lambda tag: -tag[1])


def _changes(params: Train) -> tuple[tuple[str, Any], ...]:
    given = [(name, getattr(params, name)) for name in AUGMENTATIONS]
    return tuple((name, value) for name, value in given if value)
