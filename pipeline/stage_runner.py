"""Runs the work of a command: its lock, its summary, its expected failures."""

import resource
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pipeline.params import Params
    from pipeline.paths import Paths

    Work = Callable[[Params, Paths], object]


def run_stage(context: typer.Context, stage: str, work: "Work") -> None:
    """Runs one stage under its lock, then logs its time and memory.

    An expected failure becomes one line and its exit status.
    """
    with exit_on_failure(debug=context.obj):
        from pipeline import locks, progress
        from pipeline.params import load
        from pipeline.paths import Paths

        paths = Paths()
        params = load(paths.params)
        started = time.monotonic()
        with locks.stage_lock(paths, stage):
            work(params, paths)
        seconds = time.monotonic() - started
        progress.log(
            f"{stage}: took {seconds:,.1f} s and {_peak_gigabytes():,.1f} GB of "
            "memory, workers aside"
        )


def inspect_stage(context: typer.Context, stage: str, work: "Work") -> None:
    """Runs work that only reads what a stage would do: nothing is written."""
    with exit_on_failure(debug=context.obj):
        from pipeline import locks
        from pipeline.params import load
        from pipeline.paths import Paths

        paths = Paths()
        params = load(paths.params)
        with locks.shared_lock(paths, stage):
            work(params, paths)


def _peak_gigabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, kilobytes elsewhere.
    per_gigabyte = 1e9 if sys.platform == "darwin" else 1e6
    return peak / per_gigabyte


@contextmanager
def exit_on_failure(*, debug: bool) -> Iterator[None]:
    """Prints an expected failure as one line and exits with its status.

    debug: raise it instead, for its traceback.
    """
    from pipeline.errors import E6tagError

    try:
        yield
    except E6tagError as error:
        if debug:
            raise
        _exit(str(error), error.exit_status, error)
    except OSError as error:
        # Not explained better by any stage, such as a disk that fills up.
        if debug or error.strerror is None:
            raise
        reason = error.strerror
        if error.filename:
            reason = f"{error.filename}: {error.strerror}"
        _exit(
            f"{reason}. What is finished is kept: fix it, then run the same command "
            "again.",
            1,
            error,
        )
    except sqlite3.OperationalError as error:
        if debug:
            raise
        _exit(
            f"data/ledger.sqlite: {error}. What is finished is kept: run the same "
            "command again.",
            1,
            error,
        )


def _exit(message: str, status: int, error: Exception) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(status) from error
