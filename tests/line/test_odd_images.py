"""Every image with a quirk goes through the line, to the same bytes each time."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from e6tag import images
from pipeline import manifest, shard
from sandbox.board.drawn import SandboxBoard
from sandbox.faults import Planted
from sandbox.server.app import Site
from tests.builders import image_cases
from tests.builders.project import Project, fetch, hashes, make_project, prepare, served

CASES = image_cases.load()
SIZE = 128  # pixels a side in the shards


def planted(board: SandboxBoard, sampled: Project) -> Planted:
    """Returns the board with the cases in place of images that are sampled."""
    posts = pl.read_parquet(sampled.paths.sample / "posts.parquet")
    is_train = pl.col("split") == "train"
    ids = posts.filter(is_train)["post_id"].head(len(CASES)).to_list()
    files = {}
    sizes = {}
    for post_id, case in zip(ids, CASES, strict=True):
        files[post_id] = case.body
        sizes[post_id] = case.right.size
    return Planted(board, files, sizes)


@pytest.fixture(scope="module")
def odd_site(board: SandboxBoard, finished: Project) -> Iterator[Site]:
    """A board whose sampled posts hold every case."""
    with served(planted(board, finished)) as site:
        yield site


def go_through(folder: Path, site: Site) -> Project:
    """Runs the line from empty up to the shards."""
    options = {"shard": {"size": SIZE, "quality": 95}}
    project = prepare(make_project(folder, site, **options))
    fetch(project)
    params = project.params
    manifest.run(params.manifest, project.paths, everything=params)
    shard.run(params.shard, project.paths, cluster=params.cluster)
    return project


def stored_images(project: Project) -> dict[str, np.ndarray]:
    """Returns the pixels of every record by md5, as TensorFlow reads them."""
    import tensorflow as tf

    features = {
        "md5": tf.io.FixedLenFeature([], tf.string),
        "jpeg": tf.io.FixedLenFeature([], tf.string),
    }
    names = sorted(str(path) for path in project.paths.shards.glob("*.tfrecord"))
    found = {}
    for record in tf.data.TFRecordDataset(names):
        example = tf.io.parse_single_example(record, features)
        pixels = tf.io.decode_jpeg(example["jpeg"], channels=3)
        found[example["md5"].numpy().decode()] = pixels.numpy()
    return found


def test_every_quirk_ends_as_the_same_right_pixels(
    tmp_path: Path, odd_site: Site
) -> None:
    first = go_through(tmp_path / "first", odd_site)
    second = go_through(tmp_path / "second", odd_site)
    for name in ("snapshot", "sample", "images", "manifest", "shards"):
        folder = getattr(first.paths, name)
        assert hashes(folder) == hashes(getattr(second.paths, name)), name
    found = stored_images(first)
    far = {}
    for case in CASES:
        md5 = hashlib.md5(case.body, usedforsecurity=False).hexdigest()
        right = images.square(case.right, size=SIZE, fit="pad")
        difference = np.abs(found[md5] - np.asarray(right, np.float64))
        far[case.name] = float(difference.mean())
    # They are scaled and encoded anew as JPEG: not more than that may differ.
    assert max(far.values()) <= 3, far
