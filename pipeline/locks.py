"""One process at a time per stage.

A killed DVC leaves its stage running, and a second one must not write beside it.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TextIO

from pipeline.errors import BadInput, Busy
from pipeline.paths import Paths


@contextmanager
def stage_lock(paths: Paths, stage: str) -> Iterator[None]:
    """Holds the stage's lock; raises Busy naming the holder.

    The lock ends with the process, however that ends.
    """
    path = paths.work(stage) / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path, partial(_running, stage)):
        yield


@contextmanager
def shared_lock(paths: Paths, stage: str) -> Iterator[None]:
    """Stops the stage from starting meanwhile; raises Busy where it runs.

    It does so as `stage_lock` does, but writes nothing.
    """
    with ExitStack() as stack:
        with suppress(FileNotFoundError):  # it never ran here
            file = stack.enter_context((paths.work(stage) / "lock").open())
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Busy(_running(stage, _holder(file))) from error
        yield


def _open_no_link(path: str, flags: int) -> int:
    """Opens a file; raises BadInput where it is a link: its target would be changed."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise BadInput(
            f"{path} is a link, and a lock must be a file. Remove it, then run the "
            "same command again."
        ) from error


def _holder(file: TextIO) -> str:
    return file.read().strip() or "another process"


def _running(stage: str, holder: str) -> str:
    return (
        f"{stage} is already running here ({holder}), perhaps left over from a killed "
        "dvc. Wait until it ends, or stop it, then run the same command again."
    )


@contextmanager
def file_lock(
    path: Path, message: Callable[[str], str], *, purpose: str | None = None
) -> Iterator[None]:
    """Holds the lock of a file; raises Busy.

    message: returns the error message for a description of the holder. purpose: what
    this process does with the lock, for that description.
    """
    with open(path, "a+", opener=_open_no_link) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise Busy(message(_holder(file))) from error
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        if purpose:
            file.write(f" ({purpose})")
        file.flush()
        yield
        file.truncate(0)
