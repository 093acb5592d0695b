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

from pipeline.data import shards
from pipeline.errors import BadInput, CorruptFile, MissingPackage
from pipeline.params import Train
from pipeline.paths import Paths
from pipeline.train import fingerprint, run
from pipeline.train.log import EpochMetrics
from tests.builders import toy_shards

SMALL = Train(**toy_shards.small())

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)


@pytest.fixture
def project(toy: Paths, tmp_path: Path) -> Paths:
    """A project with toy shards that a test may change."""
    shutil.copytree(toy.root, tmp_path / "project")
    return Paths(tmp_path / "project")


def history(paths: Paths) -> list[dict[str, str]]:
    with (paths.model / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_visible_tags_are_learnt(toy_trained: Paths) -> None:
    facts = json.loads((toy_trained.model / "training.json").read_text())
    assert facts["metrics"]["macro_auc"] > 0.85
    assert facts["metrics"]["macro_auc_baseline"] == 0.5
    assert (
        facts["metrics"]["validation_loss"]
        < facts["metrics"]["validation_loss_baseline"]
    )
    assert facts["records"] == {"train": 240, "validation": 48}


def test_every_epoch_is_written_down_beside_its_baseline(toy_trained: Paths) -> None:
    rows = history(toy_trained)
    assert [int(row["epoch"]) for row in rows] == list(range(1, SMALL.epochs + 1))
    assert all(row["macro_map_baseline"] for row in rows)
    live = (
        (toy_trained.training / "plots" / "metrics" / "validation" / "macro_auc.tsv")
        .read_text()
        .splitlines()
    )
    assert len(live) == SMALL.epochs + 1


def test_a_finished_training_leaves_no_work_behind(toy_trained: Paths) -> None:
    assert list(toy_trained.work("train").iterdir()) == []


def test_the_saved_network_holds_no_clock_no_address_and_no_optimizer(
    toy_trained: Paths,
) -> None:
    import keras

    from pipeline.train.publish import strip_timestamps

    body = (toy_trained.model / "model.keras").read_bytes()
    network = keras.models.load_model(toy_trained.model / "model.keras")
    assert getattr(network, "optimizer", None) is None
    network.save(toy_trained.root / "again.keras")
    assert strip_timestamps((toy_trained.root / "again.keras").read_bytes()) == body


def test_a_killed_training_goes_on_after_its_last_epoch(
    project: Paths, toy_trained: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    done = kill_after_epoch(2, project)
    run(SMALL, project)
    assert f"resumes after epoch {done}" in capsys.readouterr().err
    broken, unbroken = history(project), history(toy_trained)
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
        match=r"train-00001-of-00002\.tfrecord is not what.*"
        r"Delete it and run dvc repro",
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
