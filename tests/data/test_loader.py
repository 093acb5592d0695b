"""The loader: every record once an epoch, in an order that names its epoch alone."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from e6tag import images
from pipeline.data import shards
from pipeline.train_params import Train
from pipeline.paths import Paths
from sandbox.board.drawn import SandboxBoard
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
    for (pictures, labels), (same_images, same_labels) in zip(
        whole[15:], resumed, strict=True
    ):
        assert np.array_equal(pictures, same_images)
        assert np.array_equal(labels, same_labels)
    assert not np.array_equal(whole[0][0], whole[15][0])


@pytest.mark.parametrize(
    "cache_bytes",
    [pytest.param(1 << 30, id="in memory"), pytest.param(0, id="streamed")],
)
def test_a_stream_may_start_at_any_step(project: Paths, cache_bytes: int) -> None:
    from pipeline.data import loader

    train = shards.read_splits(project)["train"]
    params = SMALL.model_copy(update={"epochs": 3, "cache_bytes": cache_bytes})
    stream = loader.training(train, params, batch_size=16, first_epoch=0)
    whole = list(stream.as_numpy_iterator())
    for step in (0, 1, 14):
        stream = loader.training(
            train, params, batch_size=16, first_epoch=1, first_step=step
        )
        resumed = list(stream.as_numpy_iterator())
        assert len(resumed) == 30 - step
        for expected, found in zip(whole[15 + step :], resumed, strict=True):
            assert np.array_equal(found[0], expected[0])
            assert np.array_equal(found[1], expected[1])


@pytest.mark.parametrize(
    "cache_bytes",
    [pytest.param(1 << 30, id="in memory"), pytest.param(0, id="streamed")],
)
def test_the_posts_of_a_step_are_those_it_is_trained_on(
    project: Paths, cache_bytes: int
) -> None:
    from pipeline.data import loader

    train = shards.read_splits(project)["train"]
    # Unaugmented, images are told apart by their pixels.
    plain = {"epochs": 2, "cache_bytes": cache_bytes, "flip": False, "shift": 0.0}
    params = SMALL.model_copy(update=plain)
    stream = loader.training(train, params, batch_size=16, first_epoch=0)
    images, _ = list(stream.as_numpy_iterator())[15 + 4]
    found = loader.post_ids_of_batch(train, params, batch_size=16, epoch=1, step=4)
    (everything,) = loader.batches(train, 32, train.records)
    image_of = dict(zip(everything.post_ids, everything.images, strict=True))
    assert len(found) == 16
    for post_id, image in zip(found, images, strict=True):
        assert np.array_equal(image_of[post_id], image)


def test_an_epoch_with_every_augmentation_is_the_same_wherever_training_started(
    project: Paths,
) -> None:
    from pipeline.data import loader

    train = shards.read_splits(project)["train"]
    every = {"rotation": 10.0, "zoom": 0.1, "contrast": 0.2, "trivial_augment": True}
    params = SMALL.model_copy(update={"epochs": 2, "mixup": 0.4, **every})
    whole = loader.training(train, params, batch_size=16, first_epoch=0)
    resumed = loader.training(train, params, batch_size=16, first_epoch=1)
    plain = loader.training(train, SMALL, batch_size=16, first_epoch=1)
    again = whole.skip(15).as_numpy_iterator()
    for batch, same, other in zip(again, resumed, plain, strict=False):
        assert np.array_equal(batch[0], same[0])
        assert np.array_equal(batch[1], same[1])
        assert batch[0].dtype == np.uint8
        assert not np.array_equal(batch[0], other[0])


def test_mixup_alone_makes_labels_between_0_and_1(project: Paths) -> None:
    from pipeline.data import loader

    train = shards.read_splits(project)["train"]
    for mixup, mixed in ((0.0, False), (0.4, True)):
        params = SMALL.model_copy(update={"epochs": 1, "mixup": mixup})
        stream = loader.training(train, params, batch_size=16, first_epoch=0)
        labels = np.concatenate([batch[1] for batch in stream.as_numpy_iterator()])
        between = (labels > 0) & (labels < 1)
        assert between.any() == mixed
        assert labels.min() >= 0
        assert labels.max() <= 1
        assert labels.dtype == (np.float32 if mixed else np.uint8)


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


@pytest.mark.parametrize(("size", "most"), [(96, 2), (256, 6)])
def test_training_sees_what_users_prepare_from_the_files(
    tmp_path: Path, board: SandboxBoard, size: int, most: float
) -> None:
    """But for the JPEGs in between: the difference that `prepare` states."""
    from pipeline.data import loader

    stills = [post for post in board.posts if post.ext in ("jpg", "png", "webp")][:12]
    records = []
    prepared = []
    for post in stills:
        body = board.original(post.md5)
        jpeg = images.fit_jpeg(body, size=256, fit="pad", quality=90)
        records.append((post.id, jpeg, [0]))
        pixels = images.prepare(body, size=size, fit="pad", fitted_size=256)
        prepared.append(pixels)
    row = toy_shards.write_shard(Paths(tmp_path), "test", 0, records)
    file = Paths(tmp_path).shards / str(row["shard"])
    split = shards.Split("test", (file,), (), len(records), np.zeros(1, np.int64))
    batch = next(loader.batches(split, size, len(records)))
    for seen, expected in zip(batch.images, prepared, strict=True):
        assert np.abs(seen - expected.astype(np.int16)).mean() < most


def test_decoded_images_are_in_memory_once(tmp_path: Path) -> None:
    # In a process of its own: the peak of memory is that of a whole process.
    toy_shards.project(tmp_path, records={"train": 1_500})
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from pipeline.model import backend; backend.start('tensorflow')\n"
        "from pipeline.data import loader, shards\n"
        "from pipeline.train_params import Train; from pipeline.paths import Paths\n"
        "def peak():\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "train = shards.read_splits(Paths(Path(sys.argv[1])))['train']\n"
        "next(loader.batches(train, 320, 256))\n"
        "before = peak()\n"
        "params = Train(size=320, epochs=1)\n"
        "stream = loader.training(train, params, batch_size=16, first_epoch=0)\n"
        "for _ in stream.take(20): pass\n"
        "print((peak() - before) * 1024 / (1_500 * 320**2 * 3))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.5
