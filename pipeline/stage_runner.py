"""Runs the work of a command: its lock, its summary, its expected failures."""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pipeline.errors import E6tagError
    from pipeline.params import Params
    from pipeline.paths import Paths

    Work = Callable[[Params, Paths], object]


def run_stage(context: typer.Context, stage: str, work: "Work") -> None:
    """Runs one stage under its lock, then logs and records its time and memory.

    stage: its name in dvc.yaml. An expected failure becomes one line and its exit
    status, and is not recorded.
    """
    with exit_on_failure(debug=context.obj):
        from pipeline import locks, progress, resources
        from pipeline.params import load
        from pipeline.paths import Paths

        paths = Paths()
        params = load(paths.params)
        _check_links(paths)
        with locks.stage_lock(paths, stage.replace("@", "-")):
            with resources.Meter() as meter:
                work(params, paths)
            usage = meter.usage()
            resources.save(paths, stage, usage)
        progress.log(
            f"{stage}: took {usage.seconds:,.1f} s and {usage.peak_bytes / 1e9:,.1f} "
            "GB of memory"
        )


def _check_links(paths: "Paths") -> None:
    """Raises BadInput where a folder that stages write is a link.

    DVC refuses such an output, but only when the stage has run, and a dataset is
    published by a rename, which replaces the link and not the folder behind it.
    """
    from pipeline.errors import BadInput

    folders = [paths.data, paths.reports]
    if paths.data.is_dir():
        folders += sorted(paths.data.iterdir())
    for folder in folders:
        if folder.is_symlink() and folder.is_dir():
            target = folder.resolve()
            raise BadInput(
                f"{folder} is a link to {target}, where neither DVC nor a rename puts "
                "anything. Move the whole project to that disk (a link to it may stay "
                f"here), or mount the folder instead: mount --bind {target} {folder}."
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


@contextmanager
def exit_on_failure(*, debug: bool) -> Iterator[None]:
    """Prints an expected failure as one line and exits with its status.

    debug: raise it instead, for its traceback.
    """
    try:
        yield
    except BaseException as error:  # a panic of Polars is no Exception
        expected = _expected(error)
        if debug or expected is None:
            raise
        print(f"error: {expected}", file=sys.stderr)
        raise typer.Exit(expected.exit_status) from error


def _expected(error: BaseException) -> "E6tagError | None":
    """Returns an expected failure that a stage raised or did not explain itself."""
    from pipeline import os_errors
    from pipeline.errors import E6tagError

    if isinstance(error, E6tagError):
        return error
    if isinstance(error, sqlite3.OperationalError):
        return os_errors.explain_sqlite(error, "data/ledger.sqlite")
    explained = os_errors.explain(error)
    if explained is None and isinstance(error, OSError) and error.strerror:
        reason = error.strerror
        if error.filename:
            reason = f"{error.filename}: {error.strerror}"
        return E6tagError(
            f"{reason}. What is finished is kept: fix it, then run the same command "
            "again."
        )
    return explained
