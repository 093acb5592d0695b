"""Packs that dvc.lock names and that still hold images that were taken down.

The packs on disk no longer hold them.

This happens where `dvc repro` stops before `download`, as when `sample` cannot succeed,
and `download` ran by itself.

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
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

IMAGES = Path("data", "images")


class PurgeError(Exception):
    """Why nothing was removed, or not all, in one line."""

    def __init__(self, message: str, exit_status: int = 1) -> None:
        self.exit_status = exit_status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class StalePacks:
    """Files of the cache that are packs with pictures which were taken down.

    And how many of those they hold.
    """

    packs: tuple[Path, ...] = ()
    pictures: int = 0


def find_stale_packs(root: Path, cache: Path, recorded: dict[str, Any]) -> StalePacks:
    """Returns the packs that dvc.lock names and that should go.

    None where that is not all: where a pack here holds a picture that was taken down,
    or one that dvc.lock names and that may stay is not here.
    """
    taken = {md5 for (md5,) in _rows(root / IMAGES / "takedowns.parquet", "md5")}
    here = {
        row
        for path in (root / IMAGES).glob("pack-*.parquet")
        for row in _rows(path, "md5", "variant")
    }
    named = {path: _rows(path, "md5", "variant") for path in _named(cache, recorded)}
    staying = {row for rows in named.values() for row in rows if row[0] not in taken}
    if not staying <= here or any(md5 in taken for md5, _ in here):
        return StalePacks()
    held = {path: sum(md5 in taken for md5, _ in rows) for path, rows in named.items()}
    return StalePacks(
        tuple(path for path, count in held.items() if count), sum(held.values())
    )


@contextmanager
def undisturbed(root: Path) -> Iterator[None]:
    """Keeps `download` from changing the packs meanwhile.

    Raises Refused where it is running.
    """
    with ExitStack() as stack:
        with suppress(FileNotFoundError):
            file = stack.enter_context((root / ".work" / "download" / "lock").open())
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                message = (
                    "download is running here. Nothing was removed. Run e6tag purge "
                    "again when it has ended."
                )
                raise PurgeError(message, os.EX_TEMPFAIL) from error
        yield


def _named(cache: Path, recorded: dict[str, Any]) -> list[Path]:
    """Returns the files of the cache that dvc.lock names as packs and that exist."""
    outputs = recorded.get("download", {}).get("outs", ())
    folder = next(
        (out["md5"] for out in outputs if out["path"] == IMAGES.as_posix()), ""
    )
    files = cache / "files" / "md5"
    try:
        listed = json.loads((files / folder[:2] / folder[2:]).read_bytes())
    except (OSError, ValueError):
        return []
    packs = [
        row["md5"] for row in listed if Path(row["relpath"]).match("pack-*.parquet")
    ]
    return [path for md5 in packs if (path := files / md5[:2] / md5[2:]).is_file()]


def _rows(path: Path, *columns: str) -> set[tuple[str, ...]]:
    """Returns these columns of a table as a set of rows.

    Empty where it cannot be read.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=True) as file:
            table = file.read(columns=list(columns))
    except (pa.ArrowInvalid, OSError):
        return set()
    return set(zip(*(table[name].to_pylist() for name in columns), strict=True))
