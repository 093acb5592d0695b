"""What earlier runs left: pictures that may stay stay, and nothing else does.

What had to go is listed.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline import files, packs, parquet, pin, policy, progress
from pipeline.download import spool
from pipeline.download.permissions import Permissions
from pipeline.errors import BadInput
from pipeline.params import Download
from pipeline.paths import Paths
from pipeline.schemas.images import TAKEDOWNS


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One picture that is here, in a pack, or waiting for one."""

    md5: str
    variant: str
    post_id: int
    size: int  # bytes
    pixels: int  # 0 where it waits: not known yet
    pack: Path | None  # null where it waits

    @property
    def key(self) -> tuple[str, str]:
        """Of the picture, as in the plan."""
        return self.md5, self.variant


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that earlier runs left.

    Damaged packs: name and problem; of their pictures those that can still be named.
    """

    pictures: tuple[StoredImage, ...]
    damaged: dict[Path, str]
    takedowns: tuple[dict[str, object], ...]
    site: str | None  # that they are of; null where it is not known

    @property
    def md5s(self) -> set[str]:
        """Of all pictures that are here or were taken down."""
        return {one.md5 for one in self.pictures} | {
            str(row["md5"]) for row in self.takedowns
        }

    @property
    def post_ids(self) -> set[int]:
        """Of the posts they were fetched for."""
        return {one.post_id for one in self.pictures}


def scan(paths: Paths) -> Inventory:
    """Reads every pack in full and lists what waits. Changes nothing."""
    pictures: list[StoredImage] = []
    damaged = {}
    for path in packs.pack_files(paths.images):
        if problem := packs.verify(
            path,
            lambda one, path=path: pictures.append(_here(one, path)),  # type: ignore[misc]
        ):
            damaged[path] = problem
    pictures += [
        StoredImage(one.md5, one.variant, one.post_id, one.size, 0, None)
        for one in spool.records(paths)
    ]
    table = paths.images / "takedowns.parquet"
    takedowns = parquet.read(table).to_dicts() if table.exists() else []
    site = parquet.metadata(table).get("site") if table.exists() else None
    return Inventory(tuple(pictures), damaged, tuple(takedowns), site)


def retained(
    params: Download, found: Inventory, standing: Permissions
) -> list[StoredImage]:
    """Returns the pictures that `tidy` leaves where they are."""
    return [
        one
        for one in found.pictures
        if one.pack not in found.damaged
        and one.md5 in standing.permitted
        and _within(one, params)
    ]


def check_same_site(paths: Paths, found: Inventory, standing: Permissions) -> None:
    """Raises BadInput where pictures of another site, a real one, would be removed.

    They cost requests.
    """
    count = _forbidden(found, standing)
    if not count or not _is_moved(found, _site(paths)):
        return
    if (
        found.site in policy.REAL_SITES
        or urlsplit(found.site or "").hostname is not None
    ):
        raise BadInput(
            f"{paths.images} holds {count:,} pictures of {found.site} that "
            f"{pin.load(paths.pin).site} does not have: "
            f"they would be removed. Move or delete {paths.images} and "
            f"{spool.folder(paths)}, or work in another "
            "folder, then run the same command again."
        )


def remove_disallowed(
    params: Download, paths: Paths, found: Inventory, standing: Permissions
) -> None:
    """Removes damaged packs, halves of files.

    And every picture that is not permitted or beyond the present limits.

    Only packs that hold such a picture are rewritten. What is not permitted is listed
    in takedowns.parquet before anything is removed, so that a kill in between leaves no
    picture that went unsaid. The stage's lock must be held.

    Pictures of another site are not taken down: they leave unlisted, or
    `refuse_to_move` says what to do with them.
    """
    check_same_site(paths, found, standing)
    site = _site(paths)
    is_moved = _is_moved(found, site)
    if is_moved:
        if count := _forbidden(found, standing):
            progress.log(
                f"download: {count:,} pictures are of {found.site}, another site, and "
                "leave"
            )
    else:
        _list_takedowns(paths, found, standing, site)
    for folder in (paths.images, paths.work("download"), spool.folder(paths)):
        files.remove_stale_temps(folder)
    for path, problem in found.damaged.items():
        progress.log(
            f"download: {path.name} is damaged ({problem}): removed, its pictures are "
            "fetched again"
        )
        path.unlink()
    sound = [one for one in found.pictures if one.pack not in found.damaged]
    if beyond := sum(
        one.md5 in standing.permitted and not _within(one, params) for one in sound
    ):
        progress.log(
            f"download: {beyond:,} pictures are beyond the present limits and leave "
            f"(download.max_bytes {params.max_bytes:,}, download.max_pixels "
            f"{params.max_pixels:,})"
        )
    leaving: dict[Path, set[str]] = {}
    for one in sound:
        if one.pack and not (one.md5 in standing.permitted and _within(one, params)):
            leaving.setdefault(one.pack, set()).add(one.md5)
    for path, md5s in leaving.items():
        _rewrite(path, md5s)
    spool.compact(
        paths,
        lambda one: one.md5 in standing.permitted and one.size <= params.max_bytes,
    )
    # Only now: a kill before leaves pictures that are still known to be of the other
    # site
    if is_moved:
        _list_takedowns(paths, Inventory((), {}, (), site), standing, site)


def _here(one: packs.PackedImage, path: Path) -> StoredImage:
    return StoredImage(
        one.md5, one.variant, one.post_id, len(one.bytes), one.width * one.height, path
    )


def _within(one: StoredImage, params: Download) -> bool:
    return one.size <= params.max_bytes and one.pixels <= params.max_pixels


def _site(paths: Paths) -> str | None:
    """Returns what takedowns.parquet calls the site.

    Null for a server of this machine, whose address says nothing.
    """
    site = pin.load(paths.pin).site
    return None if urlsplit(site).hostname in policy.LOOPBACK else site


def _is_moved(found: Inventory, site: str | None) -> bool:
    return found.site is not None and found.site != site


def _forbidden(found: Inventory, standing: Permissions) -> int:
    return sum(one.md5 not in standing.permitted for one in found.pictures)


def _list_takedowns(
    paths: Paths, found: Inventory, standing: Permissions, site: str | None
) -> None:
    """Writes the table: earlier rows that still hold.

    And those pictures that must go now.
    """
    rows = {
        str(row["md5"]): row
        for row in found.takedowns
        if row["md5"] not in standing.permitted
    }
    moment = pin.load(paths.pin).moment
    leaving = {
        one.md5: one for one in found.pictures if one.md5 not in standing.permitted
    }
    reasons = {md5: standing.reason(md5, one.post_id) for md5, one in leaving.items()}
    for md5, one in leaving.items():
        row = {
            "md5": md5,
            "post_id": one.post_id,
            "reason": reasons[md5],
            "snapshot": moment,
        }
        rows.setdefault(md5, row)
    note = {"site": site} if site is not None else None
    parquet.write(
        paths.images / "takedowns.parquet",
        rows.values(),
        TAKEDOWNS,
        order_by="md5",
        metadata=note,
    )
    if leaving:
        by_reason = ", ".join(
            f"{count:,} {reason}"
            for reason, count in sorted(Counter(reasons.values()).items())
        )
        progress.log(
            f"download: {len(leaving):,} pictures may no longer be kept and leave: "
            f"{by_reason}"
        )


def _rewrite(path: Path, refused: set[str]) -> None:
    if all(picture.md5 in refused for picture in packs.read_images(path)):
        path.unlink()
    else:
        packs.write(
            path,
            (
                picture
                for picture in packs.read_images(path)
                if picture.md5 not in refused
            ),
        )
