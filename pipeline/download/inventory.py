"""What earlier runs left: images in packs and in the spool, and takedowns."""

from dataclasses import dataclass
from pathlib import Path

from pipeline import packs, parquet
from pipeline.download import spool, verified_packs
from pipeline.download.verified_packs import StoredImage, VerifiedPack
from pipeline.paths import Paths


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that earlier runs left.

    images: of damaged packs, those that can still be named.
    damaged: the damaged packs, and what is wrong with each.
    unrecorded: sound packs that had to be read in full.
    takedowns: rows of takedowns.parquet.
    site: that the images are of; None where it is not known.
    """

    images: tuple[StoredImage, ...]
    damaged: dict[Path, str]
    unrecorded: tuple[VerifiedPack, ...]
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
    """Lists the packs and the spool. Changes nothing.

    Reads in full only the packs that were not verified as they are.
    """
    images: list[StoredImage] = []
    damaged: dict[Path, str] = {}
    unrecorded: list[VerifiedPack] = []
    for path in packs.pack_files(paths.images):
        state = verified_packs.file_state(path)
        recorded = verified_packs.recorded_images(paths, path, state)
        if recorded is not None:
            images += recorded
            continue
        found, problem = _read_in_full(path)
        images += found
        if problem is None:
            unrecorded.append(VerifiedPack(path, state, tuple(found)))
        else:
            damaged[path] = problem
    images += map(_from_spool, spool.records(paths))
    table = paths.images / "takedowns.parquet"
    takedowns: list[dict[str, object]] = []
    site = None
    if table.exists():
        takedowns = parquet.read(table).to_dicts()
        site = parquet.metadata(table).get("site")
    return Inventory(
        images=tuple(images),
        damaged=damaged,
        unrecorded=tuple(unrecorded),
        takedowns=tuple(takedowns),
        site=site,
    )


def _read_in_full(path: Path) -> tuple[list[StoredImage], str | None]:
    """Returns the sound images of a pack, and what is wrong with it or None."""
    images: list[StoredImage] = []

    def see(one: packs.PackedImage) -> None:
        images.append(verified_packs.stored_image(one, path))

    problem = packs.verify(path, see)
    return images, problem


def _from_spool(record: spool.SpooledImage) -> StoredImage:
    return StoredImage(record.md5, record.variant, record.post_id, record.size, 0, None)
