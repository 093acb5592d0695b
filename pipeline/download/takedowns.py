"""Removes images that may not stay, and lists in takedowns.parquet what was removed.

An image must go where the policy no longer permits it, where it is beyond the present
limits, or where its pack is damaged. `plan_removals` decides, `remove` carries it out.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline import files, packs, parquet, pin, policy, progress
from pipeline.download import spool, verified_packs
from pipeline.download.inventory import Inventory
from pipeline.download.permissions import Permissions
from pipeline.download.spool import SpooledImage
from pipeline.download.verified_packs import StoredImage
from pipeline.errors import BadInput
from pipeline.params.download import Download
from pipeline.paths import Paths
from pipeline.schemas.images import TAKEDOWNS

Row = dict[str, object]
"""A row of takedowns.parquet."""


@dataclass(frozen=True, slots=True)
class Removals:
    """What must go of the inventory, and what stays.

    forbidden: images that the policy does not permit.
    reasons: why each of those must go, by md5; empty where they are of another site.
    beyond: permitted images beyond download.max_bytes or download.max_pixels.
    damaged: packs, and what is wrong with each.
    retained: all other images.
    permitted, max_bytes: what an image of the spool must satisfy to stay.
    takedowns: rows of the new takedowns.parquet.
    site: of the snapshot; None for a server of this machine.
    former_site: of the images, where that is another site; else None.
    """

    forbidden: tuple[StoredImage, ...]
    reasons: dict[str, str]
    beyond: tuple[StoredImage, ...]
    damaged: dict[Path, str]
    retained: tuple[StoredImage, ...]
    permitted: frozenset[str]
    max_bytes: int
    takedowns: tuple[Row, ...]
    site: str | None
    former_site: str | None

    def stays_spooled(self, record: SpooledImage) -> bool:
        """Returns whether an image of the spool stays there."""
        return record.md5 in self.permitted and record.size <= self.max_bytes


def plan_removals(
    params: Download, paths: Paths, found: Inventory, permissions: Permissions
) -> Removals:
    """Decides what must go. Changes nothing.

    Raises BadInput where images of another site, a real one, would be removed: they
    cost requests. Images of another site are not takedowns: they leave unlisted.
    """
    site = _site_name(paths)
    is_moved = found.site is not None and found.site != site
    permitted = permissions.permitted
    forbidden = [one for one in found.images if one.md5 not in permitted]
    if is_moved and forbidden:
        _refuse_real_site(paths, found.site, len(forbidden))
    retained, beyond = _split_by_limits(params, found, permitted)
    reasons: dict[str, str] = {}
    takedowns: list[Row] = []
    if not is_moved:
        for one in forbidden:
            reasons[one.md5] = permissions.reason(one.md5, one.post_id)
        takedowns = _takedown_rows(paths, found, forbidden, reasons, permitted)
    return Removals(
        forbidden=tuple(forbidden),
        reasons=reasons,
        beyond=tuple(beyond),
        damaged=found.damaged,
        retained=tuple(retained),
        permitted=permitted,
        max_bytes=params.max_bytes,
        takedowns=tuple(takedowns),
        site=site,
        former_site=found.site if is_moved else None,
    )


def remove(params: Download, paths: Paths, removals: Removals) -> None:
    """Carries the removals out.

    Only packs that hold an image that must go are rewritten. What is not permitted is
    listed in takedowns.parquet before anything is removed, so that a kill in between
    leaves no image removed but unlisted. The stage's lock must be held.
    """
    is_moved = removals.former_site is not None
    if not is_moved:
        _write_takedowns(paths, removals)
    _log_removals(params, removals)
    folders = [paths.images, paths.work("download"), spool.folder(paths)]
    for folder in [*folders, verified_packs.folder(paths)]:
        files.remove_stale_temps(folder)
    for path in removals.damaged:
        path.unlink()
    for path, md5s in _leaving_by_pack(removals).items():
        _rewrite(paths, path, md5s)
    verified_packs.remove_stale_records(paths)
    spool.compact(paths, removals.stays_spooled)
    # Only now: a kill before leaves images that are still known to be of the other
    # site.
    if is_moved:
        _write_takedowns(paths, removals)


def _site_name(paths: Paths) -> str | None:
    """Returns the site's name in takedowns.parquet.

    None for a server of this machine, whose address identifies nothing.
    """
    site = pin.load(paths.pin).site
    return None if urlsplit(site).hostname in policy.LOOPBACK else site


def _refuse_real_site(paths: Paths, former: str | None, count: int) -> None:
    is_address = urlsplit(former or "").hostname is not None
    if former not in policy.REAL_SITES and not is_address:
        return
    present = pin.load(paths.pin).site
    raise BadInput(
        f"{paths.images} holds {count:,} images of {former} that {present} does not "
        f"have: they would be removed. Move or delete {paths.images} and "
        f"{spool.folder(paths)}, or work in another folder, then run the same command "
        "again."
    )


def _split_by_limits(
    params: Download, found: Inventory, permitted: frozenset[str]
) -> tuple[list[StoredImage], list[StoredImage]]:
    """Returns the permitted images of whole packs: within the limits, and beyond."""
    within: list[StoredImage] = []
    beyond: list[StoredImage] = []
    for one in found.images:
        if one.md5 not in permitted or one.pack in found.damaged:
            continue
        images = within if _is_within_limits(one, params) else beyond
        images.append(one)
    return within, beyond


def _is_within_limits(one: StoredImage, params: Download) -> bool:
    return one.size <= params.max_bytes and one.pixels <= params.max_pixels


def _takedown_rows(
    paths: Paths,
    found: Inventory,
    forbidden: list[StoredImage],
    reasons: dict[str, str],
    permitted: frozenset[str],
) -> list[Row]:
    """Returns the earlier rows that still hold, and those of images that must go now.

    reasons: by md5. Of two images with one md5 the last gives the post.
    """
    moment = pin.load(paths.pin).moment
    rows: dict[str, Row] = {}
    for one in forbidden:
        rows[one.md5] = {
            "md5": one.md5,
            "post_id": one.post_id,
            "reason": reasons[one.md5],
            "snapshot": moment,
        }
    for row in found.takedowns:
        md5 = str(row["md5"])
        if md5 not in permitted:
            rows[md5] = row  # with the snapshot in which it first had to go
    return list(rows.values())


def _write_takedowns(paths: Paths, removals: Removals) -> None:
    metadata = {"site": removals.site} if removals.site is not None else None
    parquet.write(
        paths.images / "takedowns.parquet",
        removals.takedowns,
        TAKEDOWNS,
        order_by="md5",
        metadata=metadata,
    )


def _log_removals(params: Download, removals: Removals) -> None:
    if removals.former_site is not None and removals.forbidden:
        progress.log(
            f"download: {len(removals.forbidden):,} images are of "
            f"{removals.former_site}, another site, and are removed"
        )
    if removals.reasons:
        counts = sorted(Counter(removals.reasons.values()).items())
        by_reason = ", ".join(f"{count:,} {reason}" for reason, count in counts)
        progress.log(
            f"download: {len(removals.reasons):,} images may no longer be kept and "
            f"are removed: {by_reason}"
        )
    for path, problem in removals.damaged.items():
        progress.log(
            f"download: {path.name} is damaged ({problem}): removed, its images are "
            "fetched again"
        )
    if removals.beyond:
        progress.log(
            f"download: {len(removals.beyond):,} images are beyond the present "
            f"limits and are removed (download.max_bytes {params.max_bytes:,}, "
            f"download.max_pixels {params.max_pixels:,})"
        )


def _leaving_by_pack(removals: Removals) -> dict[Path, set[str]]:
    """Returns the md5s that must leave each undamaged pack."""
    leaving: dict[Path, set[str]] = {}
    for one in (*removals.forbidden, *removals.beyond):
        if one.pack is not None and one.pack not in removals.damaged:
            leaving.setdefault(one.pack, set()).add(one.md5)
    return leaving


def _rewrite(paths: Paths, path: Path, leaving: set[str]) -> None:
    """Writes a pack without some of its images; removes it where none stays."""
    if all(image.md5 in leaving for image in packs.read_images(path)):
        path.unlink()
        return
    staying = (image for image in packs.read_images(path) if image.md5 not in leaving)
    verified_packs.write_pack(paths, path, staying)
