"""Answers of the API, kept page by page: what a killed run has asked for it never asks for again.

Writes      .work/<stage>/pages/<fingerprint>/*.parquet    rows of one answer; what it could not read in the metadata
Guarantees  a page is whole or not there; pages of another pin, login or schema are never mixed in.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import atomic, parquet, schemas
from pipeline.errors import BadAnswer
from pipeline.harvest import records
from pipeline.harvest.asking import ask
from pipeline.harvest.records import Kind, Page, Row
from pipeline.progress import Meter
from pipeline.site.client import Client

LIMIT = 320  # records per page, the most the site gives (contract section 2.1)
NEWEST = 2_147_483_647  # the largest id the site takes as a cursor: from here, a listing starts at its newest record


@dataclass(frozen=True, slots=True)
class Listing:
    """An endpoint that lists records, with the query that selects them. `name` begins the names of its pages."""

    name: str
    path: str
    query: Mapping[str, str]
    kind: Kind


@dataclass(frozen=True, slots=True)
class Kept:
    """One page on the disk."""

    path: Path
    records: int  # in the answer, those that could not be read included
    lowest: int | None  # id
    change: int  # the highest change_seq, 0 where none has one
    rejected: list[Row]  # schemas.SNAPSHOT_REJECTED, `row` counted within the page


class Pages:
    """The kept pages of one fingerprint: of everything that decides what the site answers."""

    def __init__(self, folder: Path, *key: object) -> None:
        columns = [str(schema) for schema in (schemas.POSTS, schemas.TAGS, schemas.RELATIONS)]
        text = json.dumps([*key, *columns], sort_keys=True, default=str)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    def prepare(self) -> None:
        """Removes the pages of other fingerprints, and what a killed run left half written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic.sweep(self.folder)
        for path in sorted(self.folder.parent.iterdir()):
            if path != self.folder:
                shutil.rmtree(path)

    def find(self, name: str) -> Kept | None:
        """Returns a kept page."""
        path = self.folder / f"{name}.parquet"
        if not path.exists():
            return None
        note = json.loads(parquet.metadata(path)["page"])
        return Kept(path, **note)

    def keep(self, name: str, page: Page, kind: Kind) -> Kept:
        """Writes a page."""
        path = self.folder / f"{name}.parquet"
        note: dict[str, Any] = {
            "records": page.records,
            "lowest": min(page.ids, default=None),
            "change": max(page.changes, default=0),
            "rejected": page.rejected,
        }
        parquet.write(path, page.rows, kind.schema, metadata={"page": json.dumps(note)})
        return Kept(path, **note)


async def list_all(client: Client, pages: Pages, listing: Listing, start: int, meter: Meter) -> list[Kept]:
    """Pages down from the id `start` to an empty page: a page may be short though more follow (contract 2.2)."""
    found: list[Kept] = []
    cursor = start
    while True:
        name = f"{listing.name}-b{cursor:010d}"
        page = pages.find(name) or await _ask(client, pages, listing, cursor, name)
        if not page.records or page.lowest is None:
            return found
        found.append(page)
        cursor = page.lowest
        meter.advance(page.records, note=f"{len(found):,} pages")


async def _ask(client: Client, pages: Pages, listing: Listing, cursor: int, name: str) -> Kept:
    query = {**listing.query, "limit": str(LIMIT), "page": f"b{cursor}"}
    answer = records.read(await ask(client, listing.path, query), listing.kind, listing.path)
    if answer.records and (not answer.ids or min(answer.ids) >= cursor):
        raise BadAnswer(
            f"{listing.path} with page=b{cursor} gave no record below id {cursor:,}: it would repeat for ever. The "
            "pages before are kept. Run the same command again; if this comes again, the site's cursors are broken."
        )
    return pages.keep(name, answer, listing.kind)


def rejected(pages: Iterable[Kept]) -> list[Row]:
    """Returns the records that could not be read, numbered from 1 over all pages in their order."""
    rows: list[Row] = []
    before = 0
    for page in pages:
        rows += [{**row, "row": before + row["row"]} for row in page.rejected]
        before += page.records
    return rows


def newest(pages: Iterable[Kept], kind: Kind, key: str, version: str | None = None) -> tuple[pl.DataFrame, list[Row]]:
    """Joins pages into one table ordered by `key`; of records with one key the highest `version` is kept.

    The others come back as rows of schemas.SNAPSHOT_REJECTED. Without a version the page asked for last wins.
    """
    table = pl.concat([parquet.frame([], kind.schema), *(parquet.read(page.path) for page in pages)])
    order = [key] if version is None else [key, version]
    kept = table.sort(order, maintain_order=True).unique(subset=key, keep="last", maintain_order=True)
    if kept.height == table.height:
        return kept, []
    repeated: list[Any] = table.filter(pl.col(key).is_duplicated())[key].unique().sort().to_list()
    reason = "id given more than once"
    return kept, [{"export": kind.export, "row": 0, "reason": reason, "value": str(value)} for value in repeated]
