"""A batch as the model sees it in training."""

import base64
import io
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from pipeline import parquet
from pipeline.data import shards
from pipeline.errors import CorruptFile, TryAgainLater
from pipeline.paths import Paths
from pipeline.report import training_batch
from pipeline.schemas.shards import SHARDS
from pipeline.train_params import Train
from tests.builders import toy_shards

SIZE = 64
OFF = {"flip": False, "shift": 0.0}


def recorded(**changes: Any) -> dict[str, Any]:
    """`params` of a training.json."""
    train = Train(**{**toy_shards.small(), "size": SIZE, **changes})
    return train.model_dump(mode="json")


@pytest.fixture
def project(toy: Paths, tmp_path: Path) -> Paths:
    """A project with toy shards that a test may change."""
    shutil.copytree(toy.root, tmp_path / "project")
    return Paths(tmp_path / "project")


def pixels(one: training_batch.Input) -> np.ndarray:
    body = base64.b64decode(one.image.uri.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(body)), np.float32)


def stored(paths: Paths) -> dict[int, tuple[np.ndarray, set[str]]]:
    """Pixels and tags of the records of the first training shard, by post."""
    from pipeline.data import loader

    split = shards.read_splits(paths)["train"]
    first = training_batch.first_shard(paths, split)
    names = list(toy_shards.TAGS)
    found = {}
    for batch in loader.batches(first, SIZE, 32):
        for post_id, image, labels in zip(
            batch.post_ids, batch.images, batch.labels, strict=True
        ):
            tags = {names[label] for label in np.flatnonzero(labels)}
            found[int(post_id)] = (image, tags)
    return found


def test_without_augmentation_the_images_are_those_of_the_shard(toy: Paths) -> None:
    batch = training_batch.draw(toy, recorded(**OFF))
    known = stored(toy)
    assert (len(batch.inputs), batch.size, batch.changes) == (24, SIZE, ())
    assert batch.shard == "train-00000-of-00002.tfrecord"
    assert len({one.post_id for one in batch.inputs}) == 24
    for one in batch.inputs:
        image, tags = known[one.post_id]
        assert {name for name, _ in one.tags} == tags
        assert np.abs(pixels(one) - image).mean() < 6  # what a JPEG changes


def test_augmentation_shows_in_the_images_and_is_named(toy: Paths) -> None:
    plain = training_batch.draw(toy, recorded(**OFF))
    changed = training_batch.draw(toy, recorded(flip=False, shift=0.2, contrast=0.5))
    assert changed.changes == (("shift", 0.2), ("contrast", 0.5))
    pairs = list(zip(plain.inputs, changed.inputs, strict=True))
    assert all(one.post_id == other.post_id for one, other in pairs)
    moved = [np.abs(pixels(one) - pixels(other)).mean() > 10 for one, other in pairs]
    assert sum(moved) > 12


def test_mixed_images_have_the_tags_of_both(toy: Paths) -> None:
    batch = training_batch.draw(toy, recorded(**OFF, mixup=0.4))
    labels = {label for one in batch.inputs for _, label in one.tags}
    assert any(0 < label < 1 for label in labels)


def test_the_same_shard_gives_the_same_batch(toy: Paths) -> None:
    assert training_batch.draw(toy, recorded()) == training_batch.draw(toy, recorded())


def test_a_shard_with_no_images_in_it_is_named(project: Paths) -> None:
    shard = project.shards / "train-00000-of-00002.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(CorruptFile, match=r"train-00000-of-00002\.tfrecord cannot be"):
        training_batch.draw(project, recorded())


def test_without_training_images_the_batch_is_absent(project: Paths) -> None:
    index = project.shards / "index.parquet"
    rows = parquet.read(index)
    parquet.write(index, rows.filter(rows["split"] != "train"), SHARDS)
    batch = training_batch.draw(project, recorded())
    assert (batch.inputs, batch.absent) == ([], "the shards have no training image.")


def test_parameters_of_another_version_leave_the_batch_absent(toy: Paths) -> None:
    batch = training_batch.draw(toy, {"no_such_parameter": 1})
    assert batch.absent is not None
    assert "another version of e6tag trained the model" in batch.absent


def test_a_process_draws_the_batch_and_its_errors_are_raised_here(
    project: Paths,
) -> None:
    (project.shards / "index.parquet").write_bytes(b"")
    with (
        training_batch.drawing(project, recorded()) as pending,
        pytest.raises(CorruptFile, match=r"index\.parquet cannot be read"),
    ):
        pending.result()


def spawned() -> set[psutil.Process]:
    """Returns the processes of Python that this one has started."""
    children = psutil.Process().children()
    return {one for one in children if "spawn_main" in " ".join(one.cmdline())}


def test_a_process_that_is_killed_is_told(toy: Paths) -> None:
    others = spawned()
    with training_batch.drawing(toy, recorded()) as pending:
        (child,) = spawned() - others
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(TryAgainLater, match="ended without one"):
            pending.result()
