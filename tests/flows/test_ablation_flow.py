"""The flow `ablation`, as a process over real DVC, Prefect, training and evaluation."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from ops import processes
from pipeline import ablation_results
from pipeline.paths import Paths
from tests.builders import ablation_project
from tests.builders.project import ROOT
from tests.builders.toy_project import end_all

# Each run starts a server with a fresh database, and imports TensorFlow twice.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def project(toy: Paths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flow") / "project"
    ablation_project.make(root, toy.root)
    settings = (ROOT / "prefect.toml").read_text(encoding="utf-8")
    (root / "prefect.toml").write_text(settings, encoding="utf-8")
    return root


def run_flow(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    home = f"{root}-prefect"
    environment = processes.environment()
    environment |= {"PYTHONPATH": str(root), "PREFECT_HOME": home}
    with contextlib.ExitStack() as stack:
        stack.callback(end_all, home)
        return subprocess.run(
            [sys.executable, "-m", "flows.ablation", *arguments],
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@pytest.mark.slow
def test_flow_has_a_task_per_run_and_writes_the_table(project: Path) -> None:
    done = run_flow(project, "--factor", "baseline")
    assert done.returncode == 0, done.stdout
    task = "Task run 'baseline, seed 1' - "
    assert f"{task}[baseline, seed 1] train: epoch 4 of 4" in done.stdout
    assert f"{task}Finished in state Completed()" in done.stdout
    (row,) = ablation_results.read(project / "ablation" / "sandbox.csv")
    assert (row.factor, row.level, row.seed) == ("baseline", "baseline", 1)


def test_flow_with_an_unknown_factor_fails_and_names_those_there_are(
    project: Path,
) -> None:
    done = run_flow(project, "--factor", "heads")
    assert done.returncode == 1
    assert "heads" in done.stdout
    assert "head" in done.stdout.split("heads", 1)[1]
