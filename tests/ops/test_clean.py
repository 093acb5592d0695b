"""`e6tag clean`, over a toy project and real DVC."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops import clean, dvc
from ops.clean import Chosen
from ops.stale_packs import PurgeError
from pipeline import locks
from pipeline.errors import BadInput, Busy
from pipeline.paths import Paths
from tests.builders.project import ROOT
from tests.builders.toy_project import ORDER, ToyProject, make_toy_project

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),
]

KEPT = (
    ".work/harvest/exports/posts.csv.gz",
    ".work/download/pictures/pack-1",
    ".work/download/verified/pack-1.json",
    ".work/shard/train-00000.tfrecord.json",
    ".work/train/lock",
    "data/images/pack-1.parquet",
)

GOING = (
    ".work/train/abc/last.weights.h5",
    ".work/ablation/def/data/images/pack-1.parquet",
    "data/.bundle.tmp/model.onnx",
    "data/images/.pack-2.parquet.tmp",
    "data/.sample.old/posts.parquet",
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyProject:
    """A project whose cache holds two states of data/snapshot."""
    toy = make_toy_project(tmp_path_factory.mktemp("toy") / "project")
    for _ in range(2):
        for stage in ORDER:
            dvc.run(toy.root, stage, print)
        toy.order("harvest")
    return toy


@pytest.fixture
def root(toy: ToyProject) -> Path:
    """The same with leftovers of every kind."""
    for name in (*KEPT, *GOING):
        path = toy.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
    return toy.root


def present(root: Path, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if (root / name).exists()]


def cached(root: Path) -> int:
    return sum(path.is_file() for path in (root / ".dvc/cache/files").rglob("*"))


def test_dry_run_lists_all_and_removes_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = cached(root)
    clean.clean(root, dry_run=True, is_agreed=True)
    text = capsys.readouterr().out
    assert present(root, GOING) == list(GOING)
    assert cached(root) == before
    for word in ("temporary", "checkpoints", "cache", "would be removed"):
        assert word in text
    assert "cannot be got again" in text
    assert "e6tag clean fetched" in text


def test_nothing_goes_unless_agreed(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput, match="nobody can be asked"):
        clean.clean(root, dry_run=False, is_agreed=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "")
    clean.clean(root, dry_run=False, is_agreed=False)
    assert "Nothing was removed." in capsys.readouterr().out
    assert present(root, GOING) == list(GOING)


def test_running_stage_stops_it(root: Path) -> None:
    with (
        locks.stage_lock(Paths(root), "train"),
        pytest.raises(Busy, match="train is already running"),
    ):
        clean.clean(root, dry_run=False, is_agreed=True)
    assert present(root, GOING) == list(GOING)


def test_what_costs_only_time_goes_and_all_else_stays(
    root: Path, toy: ToyProject, capsys: pytest.CaptureFixture[str]
) -> None:
    before = cached(root)
    snapshot = (root / "data" / "snapshot" / "posts").read_bytes()
    clean.clean(root, dry_run=False, is_agreed=True)
    assert present(root, GOING) == []
    assert present(root, KEPT) == list(KEPT)
    assert cached(root) < before
    assert (root / "data" / "snapshot" / "posts").read_bytes() == snapshot
    capsys.readouterr()
    clean.clean(root, dry_run=False, is_agreed=False)
    assert "Nothing to remove." in capsys.readouterr().out
    # What dvc.lock refers to is still in the cache.
    (root / "data" / "evaluation" / "metrics.json").unlink()
    dvc.checkout(root, ["data/evaluation"], print)
    assert (root / "data" / "evaluation" / "metrics.json").exists()


def test_what_came_from_the_site_goes_where_it_is_named(root: Path) -> None:
    clean.clean(root, [Chosen.FETCHED], dry_run=False, is_agreed=True)
    assert present(root, KEPT) == list(KEPT[2:])
    assert present(root, GOING) == list(GOING)


@pytest.fixture
def without_lock(root: Path) -> Iterator[Path]:
    """The project whose dvc.lock is missing."""
    lock = root / "dvc.lock"
    kept = lock.rename(root / "kept")
    yield root
    kept.rename(lock)


@pytest.fixture
def with_empty_lock(without_lock: Path) -> Iterator[Path]:
    """The project whose dvc.lock was made anew and records nothing."""
    lock = without_lock / "dvc.lock"
    lock.write_text("schema: '2.0'\nstages: {}\n")
    yield without_lock
    lock.unlink()


@pytest.fixture
def with_shared_cache(root: Path, tmp_path: Path) -> Iterator[Path]:
    """The project whose cache lies elsewhere."""
    local = root / ".dvc" / "config.local"
    local.write_text(f"[cache]\n    dir = {tmp_path}\n")
    (tmp_path / "files").mkdir()
    yield root
    local.unlink()


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("without_lock", "there is no dvc.lock here"),
        ("with_empty_lock", "dvc.lock has no stages"),
        ("with_shared_cache", "lies outside this project"),
    ],
)
def test_cache_that_cannot_be_cleaned_keeps_nothing_else(
    state: str,
    reason: str,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = request.getfixturevalue(state)
    before = cached(root)
    with pytest.raises(PurgeError, match=reason):
        clean.clean(root, [Chosen.CACHE], dry_run=False, is_agreed=True)
    assert present(root, GOING) == list(GOING)
    clean.clean(root, dry_run=False, is_agreed=True)
    assert present(root, GOING) == []
    assert cached(root) == before
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if reason in line and line.startswith("kept")]


def test_failure_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops.clean", "cache", "--yes"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: there is no dvc.lock here")
