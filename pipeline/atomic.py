"""Files that are either whole or not there: written under a temporary name, flushed, renamed."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import NoSpace

_DISK = {
    errno.ENOSPC: "is full",
    errno.EDQUOT: "is over its quota",
    errno.EROFS: "is read-only",
    errno.EACCES: "may not be written",
}


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it becomes `path`, on failure nothing is left.

    Raises NoSpace where the disk is full, over quota or read-only. The name is fixed, so a killed run leaves
    at most one temporary file per target, which the next run overwrites; the stage's lock keeps two writers apart.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _explained(error, path) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a whole file at once."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Writes a whole UTF-8 file at once."""
    write_bytes(path, content.encode())


def publish(source: Path, target: Path) -> None:
    """Makes the finished folder `source` become `target`, replacing what was there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    source.replace(target)


def _explained(error: OSError, path: Path) -> OSError | NoSpace:
    what = _DISK.get(error.errno or 0)
    if what is None:
        return error
    return NoSpace(
        f"{path} cannot be written: the disk {what}. What is finished is kept. "
        "Make room, then run the same command again."
    )
