"""Packs that were verified, so that a start does not read every image again.

There is a record per pack beside the plan, outside data/: its size, time of last change
and footer when it was written or last read in full, and the images in it. A pack that
differs in any of these, or has no record, must be read in full. A checkout by DVC gives
a pack another time. Not noticed is damage that changes none of them, such as a bad
sector of the disk: `e6tag packs verify` reads everything. Losing the records costs only
time.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline import files, packs
from pipeline.download.variants import ImageKey
from pipeline.packs import PackedImage
from pipeline.paths import Paths

# Bytes at the end of a Parquet file: the length of the footer and the magic number.
_FOOTER_END = 8


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One image on disk, in a pack or in the spool.

    size: bytes; pixels: 0 in the spool, not known yet; pack: None in the spool.
    """

    md5: str
    variant: str
    post_id: int
    size: int
    pixels: int
    pack: Path | None

    @property
    def key(self) -> ImageKey:
        """md5 and variant, as in the plan."""
        return self.md5, self.variant


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells whether a pack was changed, without reading its images.

    changed: time of the last change, in nanoseconds; footer: SHA-256 of the footer,
    which holds the position and size of every image.
    """

    size: int
    changed: int
    footer: str


@dataclass(frozen=True, slots=True)
class VerifiedPack:
    """A sound pack: its state before it was read, and its images, ordered by md5."""

    path: Path
    state: FileState
    images: tuple[StoredImage, ...]


def file_state(path: Path) -> FileState:
    """Returns the state of a pack, whole or damaged."""
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        file.seek(max(0, found.st_size - _FOOTER_END))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, found.st_size - _FOOTER_END - length))
        footer = hashlib.sha256(file.read()).hexdigest()
    return FileState(found.st_size, found.st_mtime_ns, footer)


def recorded_images(
    paths: Paths, path: Path, state: FileState
) -> tuple[StoredImage, ...] | None:
    """Returns the images of a pack whose record has this state, or None."""
    try:
        tree = json.loads(_record_path(paths, path).read_text())
        if FileState(**tree["state"]) != state:
            return None
        return tuple(_image(row, path) for row in tree["images"])
    except (OSError, ValueError, KeyError, TypeError):
        # A record that is lost or damaged is no record: the pack is read in full.
        return None


def record(paths: Paths, verified: VerifiedPack) -> None:
    """Records a verified pack."""
    rows = [_row(one) for one in verified.images]
    tree = {"state": asdict(verified.state), "images": rows}
    files.write_text(_record_path(paths, verified.path), json.dumps(tree))


def write_pack(paths: Paths, path: Path, images: Iterable[PackedImage]) -> None:
    """Writes a pack and records it: what was just written is not read again."""
    stored: list[StoredImage] = []
    packs.write(path, _appended(images, path, stored))
    record(paths, VerifiedPack(path, file_state(path), tuple(stored)))


def remove_stale_records(paths: Paths) -> None:
    """Removes the records of packs that are gone."""
    present = {path.name for path in packs.pack_files(paths.images)}
    for path in sorted(folder(paths).glob("*.json")):
        if path.stem not in present:
            path.unlink()


def stored_image(one: PackedImage, path: Path) -> StoredImage:
    """Returns what is recorded of an image in a pack."""
    pixels = one.width * one.height
    size = len(one.bytes)
    return StoredImage(one.md5, one.variant, one.post_id, size, pixels, path)


def folder(paths: Paths) -> Path:
    """Returns the folder of the records."""
    return paths.work("download") / "verified"


def _record_path(paths: Paths, path: Path) -> Path:
    return folder(paths) / f"{path.name}.json"


def _row(one: StoredImage) -> list[str | int]:
    return [one.md5, one.variant, one.post_id, one.size, one.pixels]


def _image(row: list[Any], path: Path) -> StoredImage:
    md5, variant, post_id, size, pixels = row
    return StoredImage(md5, variant, post_id, size, pixels, path)


def _appended(
    images: Iterable[PackedImage], path: Path, stored: list[StoredImage]
) -> Iterator[PackedImage]:
    """Yields the images; what is recorded of each is appended to `stored`."""
    for one in images:
        stored.append(stored_image(one, path))
        yield one
