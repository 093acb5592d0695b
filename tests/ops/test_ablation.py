"""`e6tag ablation`, as a process over real DVC, training and evaluation."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ops import ablation, processes
from ops.ablation import estimate, options, slots, table
from ops.ablation.plan import Plan, Run
from ops.ablation.workspace import Source
from pipeline import ablation_results
from pipeline.ablation import Condition
from pipeline.ablation_results import Result
from pipeline.errors import BadParameter
from pipeline.params import Params
from pipeline.paths import Paths
from tests.builders import ablation_project
from tests.builders.ablation_results import baseline, row

# Each training and each evaluation imports TensorFlow anew.
pytestmark = pytest.mark.timeout(900)

ONE = ("--factor", "baseline")
"""One run, since every run costs half a minute of imports."""


@pytest.fixture(scope="module")
def project(toy: Paths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ablation_project.make(tmp_path_factory.mktemp("ablation") / "p", toy.root)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ops.ablation", *arguments]


def environment(root: Path) -> dict[str, str]:
    return processes.environment() | {"PYTHONPATH": str(root)}


def finished(root: Path, *arguments: str, status: int = 0) -> str:
    """Returns the output of a command that ends by itself."""
    done = subprocess.run(
        command(*arguments),
        cwd=root,
        env=environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def rows(root: Path) -> list[Result]:
    return ablation_results.read(root / "ablation" / "sandbox.csv")


def epochs_on_disk(root: Path) -> Iterator[Path]:
    return root.glob(".work/ablation/*/.work/train/*/epoch-*")


@pytest.fixture(scope="module")
def killed(project: Path) -> Path:
    """The project after SIGKILL of an ablation that had finished an epoch.

    Of all its processes: a training that is left alone would finish by itself.
    """
    log = project / "killed.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            command(*ONE),
            cwd=project,
            env=environment(project),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        while not any(epochs_on_disk(project)):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        everything = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for one in everything:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    return project


@pytest.fixture(scope="module")
def resumed(killed: Path) -> tuple[Path, str]:
    """The project after a second try, and what that printed."""
    assert rows(killed) == []
    return killed, finished(killed, *ONE)


def test_a_killed_run_goes_on_after_its_last_epoch(resumed: tuple[Path, str]) -> None:
    root, output = resumed
    assert "[baseline, seed 1] train: resumes after epoch" in output
    (baseline,) = rows(root)
    assert (baseline.factor, baseline.level) == ("baseline", "baseline")
    assert 0.3 < baseline.measured.test_macro_map <= 1
    assert baseline.measured.seconds is None  # of a run in two parts nothing is known
    assert list(root.glob(".work/ablation/*/")) == []
    page = (root / "ablation" / "sandbox.md").read_text(encoding="utf-8")
    assert f"{baseline.measured.test_macro_map:.4f} (seed 1)" in page


def test_a_finished_run_is_never_run_again(resumed: tuple[Path, str]) -> None:
    root, _ = resumed
    before = rows(root)
    assert "1 runs, 0 to do, 1 at a time" in finished(root, *ONE)
    assert rows(root) == before
    dry = finished(root, "--dry-run", "--seeds", "1,2").splitlines()
    assert dry[:4] == [
        "baseline, seed 1: done",
        "head: dropout, seed 1: to do",
        "baseline, seed 2: to do",
        "head: dropout, seed 2: to do",
    ]
    assert dry[4].startswith("4 runs, 3 to do; no run is timed yet")


def test_what_is_wrong_is_said_in_one_line(resumed: tuple[Path, str]) -> None:
    root, _ = resumed
    unknown = finished(root, "--factor", "colour", "--dry-run", status=1)
    assert unknown == (
        "error: there is no factor colour in ablation.yaml. Known: baseline, head.\n"
    )
    (root / "orders.txt").write_text("make other data\n")
    stale = finished(root, status=1)
    assert stale.startswith("error: data is not up to date")


@pytest.mark.parametrize(
    ("visible", "jobs", "expected"),
    [
        pytest.param("", None, [None], id="no GPU"),
        pytest.param("", 2, [None, None], id="no GPU, two jobs"),
        pytest.param("0,1,2", None, ["0", "1", "2"], id="a run per GPU"),
        pytest.param("0,1,2", 2, ["0,2", "1"], id="GPUs are shared out"),
        pytest.param("0,1,2", 1, ["0,1,2"], id="all for one"),
    ],
)
def test_runs_at_the_same_time_have_gpus_of_their_own(
    visible: str,
    jobs: int | None,
    expected: list[str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert slots.device_slots(jobs) == expected


def test_more_jobs_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(BadParameter, match=r"--jobs 2 with 1 GPUs: .*--jobs 1"):
        slots.device_slots(2)


needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="this system pins no process to cores"
)


@needs_affinity
def test_processes_of_runs_at_the_same_time_have_cores_of_their_own(
    tmp_path: Path,
) -> None:
    mine = os.sched_getaffinity(0)
    if len(mine) < 2:
        pytest.skip("one core cannot be shared out")
    condition = Condition("head", "queries", "baseline", Params())
    runs = [Run(condition, seed, f"run-{seed}") for seed in (1, 2)]
    plan = Plan(Paths(tmp_path), "sandbox", "", runs, runs, {}, [])
    source = Source(tmp_path, (), tmp_path)
    both_run = threading.Barrier(2, timeout=60)
    seen: list[set[int]] = []

    def report_cores(*_: object) -> None:
        both_run.wait()
        script = "import os; print(*os.sched_getaffinity(0))"
        printed = subprocess.check_output([sys.executable, "-c", script], text=True)
        seen.append({int(core) for core in printed.split()})

    ablation.execute(plan, source, 2, report_cores)
    first, second = seen
    assert not first & second
    assert first | second == mine
    assert os.sched_getaffinity(0) == mine


@needs_affinity
@pytest.mark.parametrize(
    ("jobs", "sizes"),
    [
        pytest.param(1, [5], id="all for one"),
        pytest.param(2, [3, 2], id="shared out"),
        pytest.param(7, [1, 1, 1, 1, 1, 5, 5], id="more runs than cores"),
    ],
)
def test_every_run_has_a_core(
    jobs: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5, 9})
    assert [len(cores) for cores in slots.core_shares(jobs)] == sizes


def test_time_is_estimated_from_the_same_level_scaled_by_the_budget() -> None:
    params = Params.model_validate({"train": {"epochs": 8, "size": 48}})
    condition = Condition("head", "queries", "baseline", params)
    run = Run(condition, 1, "")
    other = row("head", "pool", 1, 0.5)  # 60 s for 4 epochs at 96 pixels
    assert estimate.estimate([], run) is None
    assert estimate.estimate([other], run) == pytest.approx(60 * 2 / 4)
    slow = replace(other.measured, seconds=600.0)
    own = replace(row("head", "queries", 2, 0.5), measured=slow)
    assert estimate.estimate([other, own], run) == pytest.approx(600 * 2 / 4)


def test_seeds_of_the_command_are_numbers() -> None:
    assert options.parse_seeds("3, 1,3") == [3, 1]
    assert options.parse_seeds(None) is None
    with pytest.raises(BadParameter, match="--seeds 1,x is not a list"):
        options.parse_seeds("1,x")
    assert options.parse_seeds("0,2147483647") == [0, 2**31 - 1]
    with pytest.raises(BadParameter, match="the seed 2147483648 is not 0 to 2,147"):
        options.parse_seeds("1,2147483648")


def test_seeds_of_the_flow_are_those_that_training_takes(tmp_path: Path) -> None:
    with (
        pytest.raises(BadParameter, match="the seed -1 is not 0 to 2,147"),
        ablation.opened(tmp_path, None, [1, -1]),
    ):
        pass


def test_page_of_differences_says_where_there_is_no_interval() -> None:
    rows = [baseline(1, 0.6), baseline(2, 0.7)]
    rows += [row("head", "queries", seed, 0.65) for seed in (1, 2)]
    rows.append(row("loss", "focal", 1, 0.55))
    page = list(table.lines("sandbox", rows))
    reached = "test macro mAP 0.6000 (seed 1), 0.7000 (seed 2), 4 epochs"
    assert any(line.startswith("Baseline") and reached in line for line in page)
    assert page[-2].startswith("| head | queries | baseline | 2 | 0.6500 | +0.0000 | -")
    assert "| 1 | 0.5500 | -0.0500 | none: one seed | -0.0500 | 1,000 | 60 s |" in str(
        page[-1]
    )
