"""`e6tag status`, over a toy project and real DVC."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops import dvc, status
from ops.status import Report, State
from pipeline.errors import BadInput
from tests.builders.project import ROOT
from tests.builders.toy_project import ORDER, ToyProject, make_toy_project

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyProject:
    return make_toy_project(tmp_path_factory.mktemp("toy") / "project")


def states(report: Report) -> dict[str, State]:
    return {one.name: one.state for one in report.stages}


def repro(toy: ToyProject, *stages: str) -> None:
    for stage in stages:
        dvc.run(toy.root, stage, print)


def test_states_follow_what_runs_and_what_changes(toy: ToyProject) -> None:
    assert states(status.collect(toy.root)) == dict.fromkeys(ORDER, State.NEVER_RUN)
    repro(toy, *ORDER)
    assert states(status.collect(toy.root)) == dict.fromkeys(ORDER, State.UP_TO_DATE)
    toy.order("evaluate")
    report = status.collect(toy.root)
    assert states(report) == {
        "harvest": State.UP_TO_DATE,
        "validate@snapshot": State.UP_TO_DATE,
        "evaluate": State.STALE,
        "validate@evaluation": State.MAY_CHANGE,
        "report": State.MAY_CHANGE,
    }
    reasons = {one.name: one.reasons for one in report.stages}
    assert reasons["evaluate"] == (f"{Path('orders/evaluate')} modified",)
    assert reasons["report"] == ("after evaluate", "after validate@evaluation")
    text = "\n".join(status.to_lines(report))
    assert "1 stale, 2 may change of 5 stages: dvc repro" in text
    repro(toy, *ORDER)
    text = "\n".join(status.to_lines(status.collect(toy.root)))
    assert text.endswith("Everything is up to date.")


def test_sizes_verdicts_and_leftovers_are_told(toy: ToyProject) -> None:
    repro(toy, *ORDER)
    checkpoint = toy.root / ".work" / "train" / "abc" / "last.weights.h5"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(bytes(2_000_000))
    report = status.collect(toy.root)
    by_name = {one.name: one for one in report.stages}
    written = toy.root / "data" / "evaluation" / "metrics.json"
    assert by_name["evaluate"].size == written.stat().st_size
    assert by_name["evaluate"].written == written.stat().st_mtime
    assert by_name["validate@snapshot"].verdict == "passed"
    assert report.cache > written.stat().st_size
    text = "\n".join(status.to_lines(report))
    assert "checkpoints      2.0 MB" in text
    assert str(Path(".work/train")) in text


def test_failed_gate_is_told(toy: ToyProject) -> None:
    verdict = toy.root / "data" / "gates" / "snapshot" / "verdict.json"
    content = json.loads(verdict.read_text())
    content["success"] = False
    content["expectations"][0]["success"] = False
    verdict.unlink()  # may be a link into the cache
    verdict.write_text(json.dumps(content))
    by_name = {one.name: one for one in status.collect(toy.root).stages}
    assert by_name["validate@snapshot"].verdict == "failed, 1 of 2 do not hold"
    assert by_name["validate@snapshot"].state is State.STALE


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"\xff\xfe", b'{"success": true, "expectations": [1]}', b"{"],
)
def test_verdict_that_cannot_be_read_is_told(toy: ToyProject, content: bytes) -> None:
    verdict = toy.root / "data" / "gates" / "snapshot" / "verdict.json"
    verdict.parent.mkdir(parents=True, exist_ok=True)
    verdict.unlink(missing_ok=True)  # may be a link into the cache
    verdict.write_bytes(content)
    by_name = {one.name: one for one in status.collect(toy.root).stages}
    assert by_name["validate@snapshot"].verdict == "unreadable verdict"


@pytest.fixture
def own(toy: ToyProject, tmp_path: Path) -> Path:
    """A copy of the project, which has a params.yaml that its first stage reads."""
    if not (toy.root / "dvc.lock").is_file():
        repro(toy, *ORDER)
    root = tmp_path / "own"
    shutil.copytree(toy.root, root, symlinks=True)
    stages = root / "dvc.yaml"
    reads = "deps: [orders/harvest]"
    with_params = f"{reads}\n    params: [size]"
    stages.write_text(stages.read_text().replace(reads, with_params))
    (root / "params.yaml").write_text("size: 1\n")
    return root


@pytest.mark.parametrize("content", [b"a: [1\n", b"\xff\xfe\x00", b"- 1\n"])
@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml", "dvc.lock"])
def test_file_that_dvc_cannot_read_is_named(
    own: Path, name: str, content: bytes
) -> None:
    (own / name).write_bytes(content)
    with pytest.raises(BadInput, match="DVC cannot read this project") as failure:
        status.collect(own)
    assert name in str(failure.value)
    assert len(str(failure.value).splitlines()) == 1


def test_project_without_git_is_one_line(own: Path) -> None:
    shutil.rmtree(own / ".git")
    with pytest.raises(BadInput, match="is not a git repository") as failure:
        status.collect(own)
    assert len(str(failure.value).splitlines()) == 1


def test_running_stage_is_told_and_a_killed_one_is_not(toy: ToyProject) -> None:
    lock = toy.root / ".work" / "harvest" / "lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(f"process {os.getpid()}")
    assert states(status.collect(toy.root))["harvest"] is State.RUNNING
    # A process that has this number now, but started after the lock was taken.
    os.utime(lock, (0, 0))
    assert states(status.collect(toy.root))["harvest"] is not State.RUNNING
    lock.write_text("")
    assert states(status.collect(toy.root))["harvest"] is not State.RUNNING


def test_report_for_programs(toy: ToyProject) -> None:
    content = json.loads(status.to_json(status.collect(toy.root)))
    assert [one["name"] for one in content["stages"]] == list(ORDER)


def test_folder_without_a_project_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no DVC project here"):
        status.collect(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "ops.status"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: no DVC project here: run it in the folder with dvc.yaml."
    ]
