"""What earlier runs left: images in packs and in the spool, and takedowns."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline import packs, parquet
from pipeline.download import spool
from pipeline.download.variants import ImageKey
from pipeline.paths import Paths


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
class Inventory:
    """All that earlier runs left.

    images: of damaged packs, those that can still be named.
    damaged: the damaged packs, and what is wrong with each.
    takedowns: rows of takedowns.parquet.
    site: that the images are of; None where it is not known.
    """

    images: tuple[StoredImage, ...]
    damaged: dict[Path, str]
    takedowns: tuple[dict[str, object], ...]
    site: str | None

    @property
    def md5s(self) -> set[str]:
        """Of all images that are here or were taken down."""
        stored = {one.md5 for one in self.images}
        return stored | {str(row["md5"]) for row in self.takedowns}

    @property
    def post_ids(self) -> set[int]:
        """Of the posts they were fetched for."""
        return {one.post_id for one in self.images}


def scan(paths: Paths) -> Inventory:
    """Reads every pack in full and lists the spool. Changes nothing."""
    images: list[StoredImage] = []
    damaged: dict[Path, str] = {}
    for path in packs.pack_files(paths.images):
        problem = packs.verify(path, partial(_append_packed, images, path))
        if problem is not None:
            damaged[path] = problem
    images += map(_from_spool, spool.records(paths))
    table = paths.images / "takedowns.parquet"
    takedowns: list[dict[str, object]] = []
    site = None
    if table.exists():
        takedowns = parquet.read(table).to_dicts()
        site = parquet.metadata(table).get("site")
    return Inventory(tuple(images), damaged, tuple(takedowns), site)


def _append_packed(
    images: list[StoredImage], path: Path, one: packs.PackedImage
) -> None:
    pixels = one.width * one.height
    size = len(one.bytes)
    images.append(StoredImage(one.md5, one.variant, one.post_id, size, pixels, path))


def _from_spool(record: spool.SpooledImage) -> StoredImage:
    return StoredImage(record.md5, record.variant, record.post_id, record.size, 0, None)
