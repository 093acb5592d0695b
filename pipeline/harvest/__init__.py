"""Harvest: the site's metadata, as pinned, in Parquet.

Reads       snapshot.json          the exports, with checksums; or the search
            the site               /db_exports.json and the exports it lists; or the
                                   search API
            .work/refresh/changes  with a delta: the changes since the export of posts
Writes      data/snapshot/posts.parquet                    schemas.POSTS
            data/snapshot/tags.parquet                     schemas.TAGS
            data/snapshot/{aliases,implications}.parquet   schemas.RELATIONS
            data/snapshot/rejected.parquet                 schemas.SNAPSHOT_REJECTED
            data/snapshot/unknown_tags.parquet             schemas.UNKNOWN_TAGS
Guarantees  the bytes fetched are the bytes pinned (SHA-256); same pin, same bytes out.
            A run killed while fetching resumes where it was; an export that was fetched
            is not requested again for the same pin, unless it cannot be read and turns
            out to be damaged.
"""

import asyncio
from pathlib import Path

from pipeline import files, parquet, pin
from pipeline.errors import BadExport, ExportChanged
from pipeline.harvest import api, changes, csv_reader, delta, exports
from pipeline.params.harvest import Harvest
from pipeline.params.site import Site
from pipeline.paths import Paths
from pipeline.pin import Pin
from pipeline.schemas.snapshot import SNAPSHOT_REJECTED


def run(params: Harvest, paths: Paths, *, site: Site) -> None:
    """Fetches what is not here yet, then writes the snapshot anew."""
    pinned = pin.load(paths.pin)
    _check_pin(pinned, params, site, paths)
    if pinned.search is None:
        _harvest_exports(pinned, site, paths)
        return
    found = asyncio.run(api.fetch(pinned, pinned.search, site, paths))
    with files.atomic_folder(paths.snapshot) as draft:
        api.write_snapshot(found, draft)


def _harvest_exports(pinned: Pin, site: Site, paths: Paths) -> None:
    """Fetches and reads the exports; fetches them again if they are damaged."""
    changed = None
    if pinned.delta is not None:
        changed = changes.pinned_file(pinned, paths)
    fetched = asyncio.run(exports.fetch(pinned, site, paths))
    try:
        _write(pinned, fetched, changed, paths)
    except BadExport:
        if not exports.drop_damaged(fetched, pinned):
            raise
    else:
        return
    # Outside the clause: in there the error holds the memory of the first try.
    fetched = asyncio.run(exports.fetch(pinned, site, paths))
    _write(pinned, fetched, changed, paths)


def _write(
    pinned: Pin, fetched: dict[str, Path], changed: Path | None, paths: Paths
) -> None:
    """Writes the snapshot of the exports, with the pinned changes if any."""
    checksum = pinned.exports["posts"].checksum
    with files.atomic_folder(paths.snapshot) as draft:
        write_snapshot(fetched, draft)
        delta.save_base_ids(checksum, draft / "posts.parquet", paths)
        if changed is not None:
            changes.apply_delta(changed, draft)
        csv_reader.write_unknown_tags(draft)


def _check_pin(pinned: Pin, params: Harvest, site: Site, paths: Paths) -> None:
    """Raises ExportChanged if the pin and the parameters differ in site or source."""
    if pinned.site != pin.site_key(site):
        raise ExportChanged(
            f"{paths.pin.name} pins {pinned.site} but site.name is "
            f"{pin.site_key(site)}. "
            "Run e6tag refresh to pin this site, or correct site.name in params.yaml."
        )
    searched = pinned.search.query if pinned.search is not None else None
    if searched != params.query:
        raise ExportChanged(
            f"{paths.pin.name} pins {_source(searched)} but params.yaml asks for "
            f"{_source(params.query)}. Run e6tag refresh to pin that, or correct "
            "harvest.source and harvest.query."
        )


def _source(query: str | None) -> str:
    return "the exports" if query is None else f"the search {query!r}"


def write_snapshot(fetched: dict[str, Path], folder: Path) -> None:
    """Writes the tables of the snapshot, except unknown_tags.parquet.

    fetched: the four exports (gzip CSV) by name.
    """
    rejected = csv_reader.write_posts(fetched["posts"], folder / "posts.parquet")
    rejected += csv_reader.write_tags(fetched["tags"], folder / "tags.parquet")
    for export, table in (
        ("tag_aliases", "aliases.parquet"),
        ("tag_implications", "implications.parquet"),
    ):
        source = fetched[export]
        rejected += csv_reader.write_relations(export, source, folder / table)
    parquet.write(folder / "rejected.parquet", rejected, SNAPSHOT_REJECTED)
