"""The loader: every record once an epoch, in an order that names its epoch alone."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import shards
from pipeline.params import Train
from pipeline.paths import Paths
from tests.builders import toy_shards

SMALL = Train(**toy_shards.small())


@pytest.fixture
def project(toy: Paths, tmp_path: Path) -> Paths:
    """A project with toy shards that a test may change."""
    shutil.copytree(toy.root, tmp_path / "project")
    return Paths(tmp_path / "project")


@pytest.mark.parametrize(
    "cache_bytes",
    [pytest.param(1 << 30, id="in memory"), pytest.param(0, id="streamed")],
)
def test_an_epoch_has_the_same_batches_wherever_training_started(
    project: Paths, cache_bytes: int
) -> None:
    from pipeline.data import loader

    train = shards.read_splits(project)["train"]
    params = SMALL.model_copy(update={"epochs": 2, "cache_bytes": cache_bytes})
    whole = list(
        loader.training(train, params, batch_size=16, first_epoch=0).as_numpy_iterator()
    )
    resumed = list(
        loader.training(train, params, batch_size=16, first_epoch=1).as_numpy_iterator()
    )
    assert len(whole) == 2 * len(resumed) == 30
    for (pictures, labels), (same_pictures, same_labels) in zip(
        whole[15:], resumed, strict=True
    ):
        assert np.array_equal(pictures, same_pictures)
        assert np.array_equal(labels, same_labels)
    assert not np.array_equal(whole[0][0], whole[15][0])


def test_an_epoch_shows_every_record_once(project: Paths) -> None:
    from pipeline.data import loader

    train = shards.read_splits(project)["train"]
    for cache_bytes in (1 << 30, 0):
        params = SMALL.model_copy(update={"epochs": 1, "cache_bytes": cache_bytes})
        stream = loader.training(train, params, batch_size=16, first_epoch=0)
        shown = sum(
            labels.sum(axis=0, dtype=np.int64)
            for _, labels in stream.as_numpy_iterator()
        )
        assert np.array_equal(shown, train.positives)


def test_pictures_are_resized_as_pillow_does(project: Paths) -> None:
    import io

    import tensorflow as tf
    from PIL import Image

    from pipeline.data import loader

    train = shards.read_splits(project)["train"]
    batch = next(loader.batches(train, 32, 4))
    record = next(iter(tf.data.TFRecordDataset(str(train.files[0]))))
    example = tf.train.Example.FromString(record.numpy())
    jpeg = Image.open(io.BytesIO(example.features.feature["jpeg"].bytes_list.value[0]))
    pillow = np.asarray(jpeg.resize((32, 32), Image.Resampling.BILINEAR), np.int16)
    assert np.abs(pillow - batch.images[0]).max() <= 4  # decoders round differently
    assert batch.md5s[0] == toy_shards.md5_of(int(batch.post_ids[0]))
