"""`python -m pipeline` where `python` is not the project's, as in cron."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.project import ROOT


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with a `python` that has no packages."""
    command = [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")]
    subprocess.run(command, check=True)
    return tmp_path / "bare" / "bin"


def run_bare(bare: Path, project: Path) -> subprocess.CompletedProcess[str]:
    """Runs a stage as DVC does in cron: with next to no environment."""
    environment = {"PATH": f"{bare}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["sh", "-c", "python -m pipeline sample"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_projects_python_takes_over(bare: Path, tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    done = run_bare(bare, tmp_path)
    first, last = done.stderr.splitlines()
    assert first.endswith("lacks typer: the stage runs with .venv/bin/python")
    assert last.startswith("error: params.yaml is not there"), "the stage ran"
    assert done.returncode == 1


def test_without_the_projects_python_one_line_names_the_path(
    bare: Path, tmp_path: Path
) -> None:
    done = run_bare(bare, tmp_path)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {bare / 'python'} lacks typer")
    assert 'PATH="$PWD/.venv/bin:$PATH" dvc repro' in line
    assert done.returncode == 1
