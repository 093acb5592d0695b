"""The training stage: it learns, goes on after a kill.

And trusts no shard that changed.
"""

import csv
import importlib.util
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import shards
from pipeline.errors import BadInput, CorruptFile, MissingPackage
from pipeline.params import Train
from pipeline.paths import Paths
from pipeline.train import fingerprint, run
from pipeline.train.checkpoints import EpochMetrics, best_epoch, to_csv
from tests.builders import toy_shards

SMALL = Train(**toy_shards.small())

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)


@pytest.fixture(scope="module")
def shards_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_shards.project(tmp_path_factory.mktemp("toy")).root


@pytest.fixture
def project(shards_folder: Path, tmp_path: Path) -> Paths:
    shutil.copytree(shards_folder, tmp_path / "project")
    return Paths(tmp_path / "project")


@pytest.fixture(scope="module")
def trained(shards_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    root = tmp_path_factory.mktemp("trained") / "project"
    shutil.copytree(shards_folder, root)
    run(SMALL, Paths(root))
    return Paths(root)


def history(paths: Paths) -> list[dict[str, str]]:
    with (paths.model / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_visible_tags_are_learnt(trained: Paths) -> None:
    facts = json.loads((trained.model / "training.json").read_text())
    assert facts["metrics"]["macro_auc"] > 0.85
    assert facts["metrics"]["macro_auc_baseline"] == 0.5
    assert (
        facts["metrics"]["validation_loss"]
        < facts["metrics"]["validation_loss_baseline"]
    )
    assert facts["records"] == {"train": 240, "validation": 48}


def test_every_epoch_is_written_down_beside_its_baseline(trained: Paths) -> None:
    rows = history(trained)
    assert [int(row["epoch"]) for row in rows] == list(range(1, SMALL.epochs + 1))
    assert all(row["macro_map_baseline"] for row in rows)
    live = (
        (trained.training / "plots" / "metrics" / "validation" / "macro_auc.tsv")
        .read_text()
        .splitlines()
    )
    assert len(live) == SMALL.epochs + 1


def test_a_finished_training_leaves_no_work_behind(trained: Paths) -> None:
    assert list(trained.work("train").iterdir()) == []


def test_the_saved_network_holds_no_clock_no_address_and_no_optimizer(
    trained: Paths,
) -> None:
    import keras

    from pipeline.train import strip_timestamps

    body = (trained.model / "model.keras").read_bytes()
    network = keras.models.load_model(trained.model / "model.keras")
    assert getattr(network, "optimizer", None) is None
    network.save(trained.root / "again.keras")
    assert strip_timestamps((trained.root / "again.keras").read_bytes()) == body


def test_a_killed_training_goes_on_after_its_last_epoch(
    project: Paths, trained: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    done = kill_after_epoch(2, project)
    run(SMALL, project)
    assert f"goes on after epoch {done}" in capsys.readouterr().err
    broken, unbroken = history(project), history(trained)
    assert [row["epoch"] for row in broken] == [row["epoch"] for row in unbroken]
    # The schedule, the orders and the optimizer's memory go on too; sums of floats
    # differ in their last digits.
    assert [row["learning_rate"] for row in broken] == [
        row["learning_rate"] for row in unbroken
    ]
    assert float(broken[-1]["train_loss"]) == pytest.approx(
        float(unbroken[-1]["train_loss"]), abs=0.05
    )


def kill_after_epoch(epoch: int, paths: Paths) -> int:
    """Kills a training once it says that `epoch` is over.

    Returns how many epochs it had finished.
    """
    code = (
        "import sys; from pathlib import Path; from pipeline.params import Train; from "
        "pipeline.paths import Paths; "
        "from pipeline.train import run; run(Train.model_validate_json(sys.argv[1]), "
        "Paths(Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, SMALL.model_dump_json(), str(paths.root)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        over = any(f"epoch {epoch} of" in line for line in process.stderr)
        process.send_signal(signal.SIGKILL)
    assert over
    (folder,) = next(paths.work("train").iterdir()).glob("epoch-*")
    return int(folder.name.removeprefix("epoch-"))


def test_restored_optimizer_is_the_saved_one(project: Paths, tmp_path: Path) -> None:
    from pipeline.data import loader
    from pipeline.train import loop
    from pipeline.train.checkpoints import Checkpoints

    train = shards.read_splits(project)["train"]
    network = loop._compiled(SMALL, train, 100)
    stream = loader.training(train, SMALL, batch_size=16, first_epoch=0)
    network.fit(stream, steps_per_epoch=5, verbose=0, shuffle=False)
    Checkpoints(tmp_path / "work").save(network, [EpochMetrics(1, 0.1, 0.5)])
    other = loop._compiled(SMALL, train, 100)
    assert Checkpoints(tmp_path / "work").restore(other) == [EpochMetrics(1, 0.1, 0.5)]
    assert int(other.optimizer.iterations) == 5
    for one, two in zip(
        network.optimizer.variables, other.optimizer.variables, strict=True
    ):
        assert np.array_equal(np.asarray(one), np.asarray(two)), one.path


def test_a_half_written_checkpoint_is_not_resumed_from(tmp_path: Path) -> None:
    from pipeline.train.checkpoints import Checkpoints

    (tmp_path / ".epoch.tmp").mkdir()
    (tmp_path / ".epoch.tmp" / "history.json").write_text("[{")
    assert Checkpoints(tmp_path).restore(None) == []


def test_old_work_never_passes_for_other_parameters_or_shards(
    project: Paths, tmp_path: Path
) -> None:
    here = shards.read_splits(project)
    there = shards.read_splits(toy_shards.project(tmp_path / "other", seed=622))
    mark = fingerprint(SMALL, here["train"], here["validation"])
    assert mark == fingerprint(SMALL, here["train"], here["validation"])
    assert mark != fingerprint(SMALL, there["train"], here["validation"])
    assert mark != fingerprint(
        SMALL.model_copy(update={"epochs": 3}), here["train"], here["validation"]
    )


def test_a_damaged_shard_is_named_with_its_repair(project: Paths) -> None:
    shard = project.shards / "train-00001-of-00002.tfrecord"
    body = bytearray(shard.read_bytes())
    body[len(body) // 2] ^= 1
    shard.write_bytes(bytes(body))
    with pytest.raises(
        CorruptFile,
        match=r"train-00001-of-00002\.tfrecord is not what.*Delete it and run dvc repro",
    ):
        run(SMALL, project)


def test_a_missing_shard_is_named(project: Paths) -> None:
    (project.shards / "validation-00000-of-00002.tfrecord").unlink()
    with pytest.raises(
        CorruptFile, match=r"validation-00000-of-00002\.tfrecord is missing"
    ):
        run(SMALL, project)


def test_an_empty_training_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the train split has no record"):
        run(SMALL, toy_shards.project(tmp_path, records={"validation": 4, "test": 4}))


def test_training_without_validation_publishes_its_last_epoch(tmp_path: Path) -> None:
    paths = toy_shards.project(tmp_path, records={"train": 20})
    run(SMALL.model_copy(update={"epochs": 2}), paths)
    facts = json.loads((paths.model / "training.json").read_text())
    assert facts["best_epoch"] == 2
    assert facts["metrics"]["macro_auc"] is None


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is not None, reason="jax is installed"
)
def test_a_backend_that_is_not_installed_is_named_with_the_command(
    project: Paths,
) -> None:
    with pytest.raises(MissingPackage, match=r"pip install jax"):
        run(SMALL.model_copy(update={"backend": "jax"}), project)


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


def test_augmentation_mirrors_and_shifts_but_invents_nothing() -> None:
    from pipeline.data import loader

    pictures = np.random.default_rng(1).integers(
        0, 255, (64, 32, 32, 3), dtype=np.uint8
    )
    still = SMALL.model_copy(update={"flip": False, "shift": 0.0})
    assert np.array_equal(loader._augment(pictures, [1, 2], still), pictures)
    mirrored = np.asarray(
        loader._augment(pictures, [1, 2], still.model_copy(update={"flip": True}))
    )
    turned = [
        np.array_equal(new, old[:, ::-1])
        for new, old in zip(mirrored, pictures, strict=True)
    ]
    kept = [
        np.array_equal(new, old) for new, old in zip(mirrored, pictures, strict=True)
    ]
    assert all(a != b for a, b in zip(turned, kept, strict=True))
    assert 16 < sum(turned) < 48
    shifted = np.asarray(
        loader._augment(pictures, [1, 2], still.model_copy(update={"shift": 0.1}))
    )
    assert all(
        np.isin(new, old).all() for new, old in zip(shifted, pictures, strict=True)
    )


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
    assert np.abs(pillow - batch.pictures[0]).max() <= 4  # decoders round differently
    assert batch.md5s[0] == toy_shards.md5_of(int(batch.post_ids[0]))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_best_epoch_is_the_last_of_the_highest(maps: list[float]) -> None:
    epochs = [
        EpochMetrics(number, 0.0, 0.0, macro_map=value)
        for number, value in enumerate(maps, 1)
    ]
    assert best_epoch(epochs).macro_map == max(maps)
    assert all(
        epoch.macro_map < max(maps) for epoch in epochs[best_epoch(epochs).epoch :]
    )


def test_history_leaves_empty_what_was_not_judged() -> None:
    assert (
        to_csv([EpochMetrics(1, 0.5, 0.25)]).splitlines()[1]
        == "1,0.500000,0.250000,,,,,,"
    )


@settings(deadline=None)
@given(st.floats(1e-6, 1.0), st.integers(1, 5_000), st.floats(0, 1))
def test_one_cycle_starts_low_peaks_and_ends_at_nothing(
    peak: float, steps: int, warmup: float
) -> None:
    from pipeline.train.loop import OneCycle

    schedule = OneCycle(peak, steps, warmup)
    rates = [
        float(schedule(step)) for step in (0, max(1, round(warmup * steps)), steps)
    ]
    assert max(rates) <= peak * 1.0001
    assert rates[0] <= peak / 24
