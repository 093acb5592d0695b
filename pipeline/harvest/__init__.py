"""Harvest: the site's metadata, as pinned, in Parquet.

Reads       snapshot.json          which exports, with checksums; or which search
            the site               /db_exports.json and the exports it lists; or the
                                   search API
            .work/refresh/changes  with a delta: what changed since the export of posts
Writes      data/snapshot/posts.parquet                    schemas.POSTS
            data/snapshot/tags.parquet                     schemas.TAGS
            data/snapshot/{aliases,implications}.parquet   schemas.RELATIONS
            data/snapshot/rejected.parquet                 schemas.SNAPSHOT_REJECTED
            data/snapshot/unknown_tags.parquet             schemas.UNKNOWN_TAGS
Guarantees  the bytes fetched are the bytes pinned (SHA-256); same pin, same bytes out.
            A run killed while fetching goes on where it was; an export that was fetched
            is not asked for again while the pin stands, unless it cannot be read and
            turns out to be damaged.
"""

import asyncio
from pathlib import Path

from pipeline import files, parquet, pin
from pipeline.errors import BadExport, ExportChanged
from pipeline.harvest import api, csv_reader, delta, exports
from pipeline.params import Harvest, Site
from pipeline.paths import Paths
from pipeline.pin import Pin
from pipeline.schemas.snapshot import SNAPSHOT_REJECTED


def run(params: Harvest, paths: Paths, *, site: Site) -> None:
    """Fetches what is not yet here, then writes the snapshot anew."""
    pinned = pin.load(paths.pin)
    _agree(pinned, params, site, paths)
    if pinned.search is not None:
        found = asyncio.run(api.fetch(pinned, pinned.search, site, paths))
        with files.atomic_folder(paths.snapshot) as draft:
            api.write_snapshot(found, draft)
        return
    changed = delta.pinned_file(pinned, paths) if pinned.delta is not None else None
    fetched = asyncio.run(exports.fetch(pinned, site, paths))
    try:
        _write(pinned, fetched, changed, paths)
    except BadExport:
        if not exports.drop_damaged(fetched, pinned):
            raise
    else:
        return
    # Not within the clause, where the error holds what the first try had in memory.
    _write(pinned, asyncio.run(exports.fetch(pinned, site, paths)), changed, paths)


def _write(
    pinned: Pin, fetched: dict[str, Path], changed: Path | None, paths: Paths
) -> None:
    """Writes the snapshot of the exports.

    And of the pinned changes where there are any.
    """
    with files.atomic_folder(paths.snapshot) as draft:
        write_snapshot(fetched, draft)
        delta.save_base_ids(
            pinned.exports["posts"].checksum, draft / "posts.parquet", paths
        )
        if changed is not None:
            delta.apply_delta(changed, draft)
        csv_reader.write_unknown_tags(draft)


def _agree(pinned: Pin, params: Harvest, site: Site, paths: Paths) -> None:
    """Raises ExportChanged where the pin is of another site or source than the parameters name."""
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
            f"{_source(params.query)}. "
            "Run e6tag refresh to pin that, or correct harvest.source and "
            "harvest.query."
        )


def _source(query: str | None) -> str:
    return "the exports" if query is None else f"the search {query!r}"


def write_snapshot(fetched: dict[str, Path], folder: Path) -> None:
    """Turns the four exports (by name, gzip CSV) into the tables of the snapshot, all but that of unknown tags."""
    rejected = [
        *csv_reader.write_posts(fetched["posts"], folder / "posts.parquet"),
        *csv_reader.write_tags(fetched["tags"], folder / "tags.parquet"),
        *csv_reader.write_relations(
            "tag_aliases", fetched["tag_aliases"], folder / "aliases.parquet"
        ),
        *csv_reader.write_relations(
            "tag_implications",
            fetched["tag_implications"],
            folder / "implications.parquet",
        ),
    ]
    parquet.write(folder / "rejected.parquet", rejected, SNAPSHOT_REJECTED)
