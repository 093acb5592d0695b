"""Harvest: the site's metadata, as pinned, in Parquet.

Reads       snapshot.json                                  which exports, with checksums
            the site                                       /db_exports.json and the exports it lists
Writes      data/snapshot/posts.parquet                    schemas.POSTS
            data/snapshot/tags.parquet                     schemas.TAGS
            data/snapshot/{aliases,implications}.parquet   schemas.RELATIONS
            data/snapshot/rejected.parquet                 schemas.SNAPSHOT_REJECTED
Guarantees  the bytes read are the bytes pinned (SHA-256); same pin, same bytes out. A run killed while fetching goes on
            where it was; an export that was fetched is not asked for again while the pin stands.
"""

import asyncio
from pathlib import Path

from pipeline import atomic, parquet, pin, schemas
from pipeline.errors import ExportChanged
from pipeline.harvest import exports, tables
from pipeline.params import Harvest, Site
from pipeline.paths import Paths


def run(params: Harvest, paths: Paths, *, site: Site) -> None:  # noqa: ARG001 - exports are the one source so far
    """Fetches what is not yet here, then writes the snapshot anew."""
    pinned = pin.load(paths.pin)
    if pinned.site != pin.site_key(site):
        raise ExportChanged(
            f"{paths.pin.name} pins {pinned.site} but site.name is {pin.site_key(site)}. "
            "Run e6tag refresh to pin this site, or correct site.name in params.yaml."
        )
    fetched = asyncio.run(exports.fetch(pinned, site, paths))
    with atomic.writing_folder(paths.snapshot) as draft:
        write_snapshot(fetched, draft)


def write_snapshot(fetched: dict[str, Path], folder: Path) -> None:
    """Turns the four exports (by name, gzip CSV) into the five tables of the snapshot."""
    rejected = [
        *tables.write_posts(fetched["posts"], folder / "posts.parquet"),
        *tables.write_tags(fetched["tags"], folder / "tags.parquet"),
        *tables.write_relations("tag_aliases", fetched["tag_aliases"], folder / "aliases.parquet"),
        *tables.write_relations("tag_implications", fetched["tag_implications"], folder / "implications.parquet"),
    ]
    parquet.write(folder / "rejected.parquet", rejected, schemas.SNAPSHOT_REJECTED)
