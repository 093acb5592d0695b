"""Packs that dvc.lock names and that still hold images that were taken down.

The packs on disk no longer hold them. This happens where `dvc repro` stops before
`download`, as when `sample` cannot succeed, and `download` ran by itself.

Reads       dvc.lock (given), DVC's cache, data/images
Writes      nothing
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from ops import dvc
from pipeline import os_errors

IMAGES = Path("data", "images")
_PACKS = "pack-*.parquet"


class PurgeError(Exception):
    """Why nothing was removed, or not all, in one line."""

    def __init__(self, message: str, exit_status: int = 1) -> None:
        self.exit_status = exit_status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class StalePacks:
    """Packs in the cache with images that were taken down.

    paths: their files. images: how many such images they hold.
    """

    paths: tuple[Path, ...] = ()
    images: int = 0


def find_stale_packs(root: Path, cache: Path, recorded: dict[str, Any]) -> StalePacks:
    """Returns the packs that dvc.lock names and that should be removed.

    None where the packs on disk do not replace those: one of them still holds an image
    that was taken down, or they lack an image that may stay and that dvc.lock names.
    """
    takedowns = _rows(root / IMAGES / "takedowns.parquet", "md5")
    taken_down = {md5 for (md5,) in takedowns}
    on_disk: set[tuple[str, ...]] = set()
    for path in (root / IMAGES).glob(_PACKS):
        on_disk |= _rows(path, "md5", "variant")
    if any(md5 in taken_down for md5, _ in on_disk):
        return StalePacks()
    paths = []
    images = 0
    for path in _recorded_packs(cache, recorded):
        rows = _rows(path, "md5", "variant")
        stale = {row for row in rows if row[0] in taken_down}
        if not rows - stale <= on_disk:
            return StalePacks()
        if stale:
            paths.append(path)
            images += len(stale)
    return StalePacks(tuple(paths), images)


@contextmanager
def no_download(root: Path) -> Iterator[None]:
    """Stops `download` from starting meanwhile; raises PurgeError where it runs.

    Does as pipeline.locks.shared_lock does.
    """
    with ExitStack() as stack:
        with suppress(FileNotFoundError):  # it never ran here
            file = stack.enter_context((root / ".work" / "download" / "lock").open())
            _lock(file)
        yield


def _lock(file: TextIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        message = (
            "download is running here. Nothing was removed. Run e6tag purge again when "
            "it has ended."
        )
        raise PurgeError(message, os.EX_TEMPFAIL) from error


def _recorded_packs(cache: Path, recorded: dict[str, Any]) -> list[Path]:
    """Returns the files of the cache that dvc.lock names as packs and that exist."""
    listing = ""
    for out in recorded.get("download", {}).get("outs", ()):
        if out["path"] == IMAGES.as_posix():
            listing = out["md5"]
    if not listing:
        return []
    try:
        rows = json.loads(dvc.cached_object(cache, listing).read_bytes())
    except (FileNotFoundError, ValueError):
        return []
    packs = [row["md5"] for row in rows if Path(row["relpath"]).match(_PACKS)]
    paths = [dvc.cached_object(cache, md5) for md5 in packs]
    return [path for path in paths if path.is_file()]


def _rows(path: Path, *columns: str) -> set[tuple[str, ...]]:
    """Returns these columns of a table as a set of rows.

    Empty where it cannot be read.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=True) as file:
            table = file.read(columns=list(columns))
    except (pa.ArrowInvalid, OSError) as error:
        os_errors.raise_for_machine(error, path)
        return set()
    values = [table[name].to_pylist() for name in columns]
    return set(zip(*values, strict=True))
