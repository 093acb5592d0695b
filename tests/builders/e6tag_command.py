"""The command e6tag: as users run it, in a process, or here, which takes no start."""

import os
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

from typer.testing import CliRunner, Result

from e6tag.cli import app
from tests.builders.project import ROOT

COMMAND = (sys.executable, "-c", "from e6tag.cli import main; main('e6tag')")
"""Of this checkout, wherever the console script leads."""


def environment(bundle: Path | None) -> dict[str, str]:
    """Returns the variables of a process that finds its bundle by them."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    variables.pop("E6TAG_BUNDLE", None)
    if bundle is not None:
        variables["E6TAG_BUNDLE"] = str(bundle)
    return variables


def run(
    *arguments: str | Path,
    folder: Path,
    bundle: Path | None = None,
    stdin: bytes = b"",
) -> subprocess.CompletedProcess[bytes]:
    """Runs a command in `folder` to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        check=False,
        cwd=folder,
        input=stdin,
        capture_output=True,
        timeout=120,
        env=environment(bundle),
    )


def run_here(
    *arguments: str | Path, folder: Path, bundle: Path | None = None
) -> Result:
    """Runs a command in `folder` in this process: for many short refusals."""
    variables = {"E6TAG_BUNDLE": None if bundle is None else str(bundle)}
    with chdir(folder):
        return CliRunner().invoke(app, [*map(str, arguments)], env=variables)
