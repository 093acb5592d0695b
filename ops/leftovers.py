"""What lies about between runs: unfinished work, notes, temporary files.

Reads       .work, data, reports
Writes      nothing; `Leftover.remove` removes one
"""

import enum
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.paths import Paths


class Kind(enum.StrEnum):
    """What a leftover is, and with that what its removal costs."""

    TEMPORARY = "temporary"
    CHECKPOINTS = "checkpoints"
    NOTES = "notes"
    FETCHED = "fetched"

    @property
    def cost(self) -> str:
        """What is lost with it."""
        return _COSTS[self]


_COSTS = {
    Kind.TEMPORARY: "nothing: what a killed process had half written",
    Kind.CHECKPOINTS: "time: a training that was cut short starts anew",
    Kind.NOTES: "time: packs are read in full and shards are written once more",
    Kind.FETCHED: (
        "requests: it came from the site, is asked for again, and what the site no "
        "longer serves cannot be got again"
    ),
}

# Below .work; what a pattern of an earlier line matches belongs to that line.
_PLACES = (
    ("train/*", Kind.CHECKPOINTS),
    ("ablation/*", Kind.CHECKPOINTS),
    ("mine/*", Kind.TEMPORARY),
    ("harvest/exports", Kind.FETCHED),
    ("harvest/pages", Kind.FETCHED),
    ("refresh/*", Kind.FETCHED),
    ("download/pictures", Kind.FETCHED),
    ("harvest/base", Kind.NOTES),
    ("download/plan.json", Kind.NOTES),
    ("download/verified", Kind.NOTES),
    ("shard/*.json", Kind.NOTES),
)

_TEMPORARY = (".*.tmp", ".*.old")
"""Names that pipeline.files gives to what is not finished or was replaced."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Files of one kind, and the stage they belong to; size in bytes.

    modified: seconds since 1970 of the newest of the files.
    """

    kind: Kind
    place: Path
    paths: tuple[Path, ...]
    size: int
    modified: float

    def remove(self) -> None:
        """Removes the files."""
        for path in self.paths:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def find(paths: Paths) -> list[Leftover]:
    """Returns what is there, by kind and place. Empty folders and locks are not."""
    found = []
    for pattern, kind in _PLACES:
        matches = list(_matches(paths.work(""), pattern))
        place = paths.work("") / pattern.removesuffix("/*").removesuffix("/*.json")
        found.append(_leftover(kind, place, matches))
    for folder in (paths.data, paths.reports, paths.work("")):
        temporary = list(_temporary(folder))
        found += [_leftover(Kind.TEMPORARY, folder, temporary)]
    return [one for one in found if one.size]


def _matches(folder: Path, pattern: str) -> Iterator[Path]:
    """Yields what is below .work but for locks and what is half written, sorted."""
    try:
        found = sorted(folder.glob(pattern))
    except FileNotFoundError:  # a stage that runs has removed the folder
        return
    for path in found:
        if path.name != "lock" and not is_temporary(path):
            yield path


def is_temporary(path: Path) -> bool:
    """Returns whether a name is one that pipeline.files gives for a while."""
    return any(path.match(pattern) for pattern in _TEMPORARY)


def _temporary(folder: Path) -> Iterator[Path]:
    """Yields temporary files and folders; of folders not what is in them."""
    try:
        found = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in found:
        if is_temporary(path):
            yield path
        elif path.is_dir() and not path.is_symlink():
            yield from _temporary(path)


def _leftover(kind: Kind, place: Path, paths: list[Path]) -> Leftover:
    size, modified = measure(paths)
    return Leftover(kind, place, tuple(paths), size, modified)


def measure(paths: list[Path]) -> tuple[int, float]:
    """Returns the bytes of files and folders, and when the newest was written.

    Both are 0 of what is not there, or no longer: stages may run meanwhile.
    """
    size = 0
    modified = 0.0
    for path in paths:
        for file in _files(path):
            try:
                status = file.stat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            if stat.S_ISREG(status.st_mode):
                size += status.st_size
                modified = max(modified, status.st_mtime)
    return size, modified


def _files(path: Path) -> Iterator[Path]:
    """Yields a path that is no folder, or all such in it and below."""
    if not path.is_dir():
        yield path
        return
    # Unlike Path.rglob, this bears folders that vanish.
    for folder, _, names in os.walk(path):
        for name in names:
            yield Path(folder, name)


def as_size(size: int) -> str:
    """Returns a number of bytes for people."""
    if size < 1e6:
        return f"{size / 1e3:,.1f} kB"
    if size < 1e9:
        return f"{size / 1e6:,.1f} MB"
    return f"{size / 1e9:,.2f} GB"
