"""The training stage: it learns, goes on after a kill.

And trusts no shard that changed.
"""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import shards
from pipeline.errors import BadInput, BadParameter, CorruptFile, MissingPackage
from pipeline.paths import Paths
from pipeline.train import fingerprint, run
from pipeline.train.log import EpochMetrics
from pipeline.train_params import Train
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
    assert facts["epochs"] == SMALL.epochs
    assert facts["stopped_by"] == "epochs"


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

    from pipeline.model.saved import strip_timestamps

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


def test_training_on_several_devices_is_resumed_as_if_not_killed(
    toy: Paths, tmp_path: Path
) -> None:
    params = SMALL.model_copy(update={"epochs": 3, "ema": 0.9})
    histories = []
    for name in ("unbroken", "broken"):
        shutil.copytree(toy.root, tmp_path / name)
        paths = Paths(tmp_path / name)
        if name == "broken":
            kill_after_epoch(1, paths, params=params, devices=2)
        command = training_process(params, paths, devices=2)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        histories.append(history(paths))
    assert "resumes after epoch" in done.stderr
    unbroken, broken = histories
    assert [row["epoch"] for row in broken] == ["1", "2", "3"]
    for name in ("learning_rate", "train_loss", "validation_loss"):
        for one, two in zip(broken, unbroken, strict=True):
            assert float(one[name]) == pytest.approx(float(two[name]), abs=0.05)


def training_process(params: Train, paths: Paths, devices: int) -> list[str]:
    """Returns a command that trains on so many logical CPUs."""
    code = (
        "import sys; from pathlib import Path\n"
        "from pipeline.train_params import Train; from pipeline.paths import Paths\n"
        "from pipeline.model import backend; backend.start('tensorflow')\n"
        "from tensorflow import config\n"
        "(cpu,) = config.list_physical_devices('CPU')\n"
        "logical = [config.LogicalDeviceConfiguration()] * int(sys.argv[3])\n"
        "config.set_logical_device_configuration(cpu, logical)\n"
        "from pipeline.train import run\n"
        "params = Train.model_validate_json(sys.argv[1])\n"
        "run(params, Paths(Path(sys.argv[2])))\n"
    )
    arguments = [params.model_dump_json(), str(paths.root), str(devices)]
    return [sys.executable, "-c", code, *arguments]


def kill_after_epoch(
    epoch: int, paths: Paths, *, params: Train = SMALL, devices: int = 1
) -> int:
    """Kills a training once it says that `epoch` is over.

    Returns how many epochs it had finished.
    """
    command = training_process(params, paths, devices)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        over = any(f"epoch {epoch} of" in line for line in process.stderr)
        process.send_signal(signal.SIGKILL)
    assert over
    (work,) = paths.work("train").iterdir()
    last = max(work.glob("epoch-*"))
    return int(last.name.split("-")[1])


def test_restored_optimizer_is_the_saved_one(project: Paths, tmp_path: Path) -> None:
    from pipeline.data import loader
    from pipeline.train import loop
    from pipeline.train.checkpoints import Checkpoints

    train = shards.read_splits(project)["train"]
    network = loop.compiled(SMALL, train, batch_size=16).training
    stream = loader.training(train, SMALL, batch_size=16, first_epoch=0)
    network.fit(stream, steps_per_epoch=5, verbose=0, shuffle=False)
    Checkpoints(tmp_path / "work").save(network, [EpochMetrics(1, 0.1, 0.5)])
    other = loop.compiled(SMALL, train, batch_size=16).training
    restored = Checkpoints(tmp_path / "work").restore(other)
    assert restored.epochs == [EpochMetrics(1, 0.1, 0.5)]
    assert int(other.optimizer.iterations) == 5
    for one, two in zip(
        network.optimizer.variables, other.optimizer.variables, strict=True
    ):
        assert np.array_equal(np.asarray(one), np.asarray(two)), one.path


def test_a_half_written_checkpoint_is_not_resumed_from(tmp_path: Path) -> None:
    from pipeline.train.checkpoints import Checkpoints

    (tmp_path / ".checkpoint.tmp").mkdir()
    (tmp_path / ".checkpoint.tmp" / "history.json").write_text("[{")
    restored = Checkpoints(tmp_path).restore(None)
    assert restored.epochs == []
    assert restored.step == 0


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


def test_checkpoints_may_be_more_frequent_when_resumed(project: Paths) -> None:
    splits = shards.read_splits(project)
    frequent = SMALL.model_copy(update={"checkpoint_steps": 1})
    mark = fingerprint(SMALL, splits["train"], splits["validation"])
    assert mark == fingerprint(frequent, splits["train"], splits["validation"])


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


def test_seed_0_trains_on_images_that_are_streamed(tmp_path: Path) -> None:
    paths = toy_shards.project(tmp_path, records={"train": 20})
    run(SMALL.model_copy(update={"epochs": 1, "seed": 0, "cache_bytes": 0}), paths)
    assert history(paths)


def test_training_without_validation_publishes_its_last_epoch(tmp_path: Path) -> None:
    paths = toy_shards.project(tmp_path, records={"train": 20})
    run(SMALL.model_copy(update={"epochs": 2}), paths)
    facts = json.loads((paths.model / "training.json").read_text())
    assert facts["best_epoch"] == 2
    assert facts["metrics"]["macro_auc"] is None


def test_training_stops_after_epochs_that_are_no_better(tmp_path: Path) -> None:
    # Of four images, a macro mAP takes few values and soon stays at one of them.
    paths = toy_shards.project(tmp_path, records={"train": 32, "validation": 4})
    run(SMALL.model_copy(update={"epochs": 40, "early_stop": 2}), paths)
    facts = json.loads((paths.model / "training.json").read_text())
    values = [float(row["macro_map"]) for row in history(paths)]
    assert facts["stopped_by"] == "early_stop"
    assert facts["epochs"] == len(values) < 40
    assert max(values[:-2]) >= max(values[-2:])


def test_early_stop_without_validation_is_refused(tmp_path: Path) -> None:
    paths = toy_shards.project(tmp_path, records={"train": 20})
    params = SMALL.model_copy(update={"early_stop": 1})
    with pytest.raises(BadParameter, match=r"Set train\.early_stop: null, or"):
        run(params, paths)


def test_tag_that_no_training_image_has_is_named(tmp_path: Path) -> None:
    paths = toy_shards.project(tmp_path, records={"train": 2, "validation": 8})
    with pytest.raises(
        BadInput, match=r"^no training image has \w+, one of \d+ such tags of \d+: "
    ):
        run(SMALL, paths)


@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "one_cycle", "learning_rate": 1e30},
        {"name": "triangle", "low": 1e28, "high": 1e30},
    ],
    ids=lambda schedule: schedule["name"],
)
def test_loss_that_explodes_names_the_step_and_its_posts(
    project: Paths, schedule: dict[str, object]
) -> None:
    params = Train.model_validate({**toy_shards.small(), "schedule": schedule})
    with pytest.raises(BadParameter) as raised:
        run(params, project)
    rate = list(schedule)[-1]
    said = re.search(
        rf"loss is nan in epoch 1 at step (\d+): .*train\.schedule\.{rate}, which is "
        r"1e\+30\. The posts of that step: ([\d, ]+)$",
        str(raised.value),
    )
    assert said
    assert 1 <= int(said[1]) <= 15
    posts = {int(post_id) for post_id in said[2].split(", ")}
    assert len(posts) == 16
    assert posts <= set(range(1, 241))


def test_outputs_that_explode_in_the_last_step_are_found_on_validation(
    tmp_path: Path,
) -> None:
    # One step, whose loss is that of the network at its start.
    paths = toy_shards.project(tmp_path, records={"train": 16, "validation": 8})
    too_high = {"schedule": {"name": "one_cycle", "learning_rate": 1e38}, "epochs": 1}
    params = Train.model_validate({**toy_shards.small(), **too_high})
    with pytest.raises(BadParameter, match=r"(?s)after epoch 1 .*learning_rate, which"):
        run(params, paths)
    assert not paths.model.exists()


def test_a_backend_that_is_not_installed_is_named_with_the_command(
    project: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)  # as if it were not there
    with pytest.raises(MissingPackage, match=r"pip install jax"):
        run(SMALL.model_copy(update={"backend": "jax"}), project)
