"""One process at a time per stage: a killed DVC leaves its stage running, and a second one must not write beside it."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipeline.errors import Busy
from pipeline.paths import Paths


@contextmanager
def stage_lock(paths: Paths, stage: str) -> Iterator[None]:
    """Holds the stage's lock, which ends with the process, however that ends; raises Busy naming the holder."""
    path = paths.work(stage) / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path, lambda holder: _running(stage, holder)):
        yield


@contextmanager
def shared_lock(paths: Paths, stage: str) -> Iterator[None]:
    """Keeps the stage from starting meanwhile and raises Busy where it runs, as `stage_lock`, but writes nothing."""
    with ExitStack() as stack:
        with suppress(FileNotFoundError):  # it never ran here
            file = stack.enter_context((paths.work(stage) / "lock").open())
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Busy(
                    _running(stage, file.read().strip() or "another process")
                ) from error
        yield


def _running(stage: str, holder: str) -> str:
    return (
        f"{stage} is already running here ({holder}), perhaps left over from a killed dvc. "
        "Wait until it ends, or stop it, then run the same command again."
    )


@contextmanager
def file_lock(
    path: Path, busy: Callable[[str], str], *, purpose: str | None = None
) -> Iterator[None]:
    """Holds the lock of a file; raises Busy with what `busy` says of its holder. purpose: what the holder does."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise Busy(busy(file.read().strip() or "another process")) from error
        file.truncate(0)
        file.write(f"process {os.getpid()}" + (f" ({purpose})" if purpose else ""))
        file.flush()
        yield
        file.truncate(0)
