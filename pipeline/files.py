"""Writes files that are either whole or not there.

They are written under a temporary name, flushed and renamed.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipeline import os_errors
from pipeline.errors import E6tagError


@contextmanager
def open_atomic(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yields a temporary path that becomes `path` on success and is removed on failure.

    shared: other processes may write the same path at this moment, as when a cluster
    runs a job twice; each then has a temporary name of its own. Else the name is fixed:
    a killed run leaves at most one temporary file per target, which the next run
    overwrites, and the stage's lock keeps two writers apart.

    Raises what os_errors.explain makes of a full disk and other trouble of the machine.
    """
    name = f".{path.name}"
    if shared:
        name += f".{uuid4().hex}"
    temporary = path.with_name(f"{name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # Where nothing can be written, nothing can be removed either.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise _explained(error, temporary, path) or error from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _explained(error: OSError, temporary: Path, path: Path) -> E6tagError | None:
    """Returns what os_errors.explain does, naming `path` for its temporary name."""
    if error.filename is None or str(error.filename) == str(temporary):
        return os_errors.explain(error, path, verb="write")
    return os_errors.explain(error)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a whole file at once."""
    with open_atomic(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Writes a whole UTF-8 file at once."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Writes a tree as JSON that people and diffs can read: two spaces, sorted keys."""
    write_text(path, to_json(content))


def to_json(content: Any) -> str:
    """Returns the text that `write_json` writes."""
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes as 64 lower-case hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yields the path of a new folder, which becomes `target` on success.

    It is beside `target`, on the same file system, and does not exist yet.
    """
    draft = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    yield draft
    publish_folder(draft, target)


def publish_folder(source: Path, target: Path) -> None:
    """Moves the folder `source` to `target` beside it; removes the old one last."""
    old = target.with_name(f".{target.name}.old")
    if old.exists():
        shutil.rmtree(old)
    if target.exists():
        target.replace(old)
    source.replace(target)
    if old.exists():
        shutil.rmtree(old)


def remove_stale_temps(folder: Path) -> None:
    """Removes what killed writers left in a folder that is kept between runs.

    The caller must hold the stage's lock.
    """
    for path in sorted(folder.glob(".*.tmp")):
        path.unlink()
