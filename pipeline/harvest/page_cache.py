"""Answers of the API, kept page by page.

What a killed run has asked for it never asks for again.

Writes      .work/<stage>/pages/<fingerprint>/*.parquet  rows of one answer; what it
                                                         could not read in the metadata
Guarantees  a page is whole or not there; pages of another pin, login or schema are
            never mixed in.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import files, parquet
from pipeline.errors import BadAnswer
from pipeline.harvest import api_models
from pipeline.harvest.api_models import ParsedPage, RecordType, Row, UnreadableRecord
from pipeline.harvest.queries import ask
from pipeline.progress import Meter
from pipeline.schemas.snapshot import POSTS, RELATIONS, TAGS
from pipeline.site.client import Client

LIMIT = 320  # records per page, the most the site gives (contract section 2.1)
# Column: place of a row's page among the pages, from 0; what was known before them is
# below 0
AT = "at"
# The largest id the site takes as a cursor: from here, a listing starts at its newest
# record
NEWEST = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that lists records, with the query that selects them.

    `name` begins the names of its pages.
    """

    name: str
    path: str
    query: Mapping[str, str]
    kind: RecordType


@dataclass(frozen=True, slots=True)
class CachedPage:
    """One page on the disk."""

    path: Path
    records: int  # in the answer, those that could not be read included
    lowest: int | None  # id
    change: int  # the highest change_seq, 0 where none has one
    unread: list[UnreadableRecord]


class PageCache:
    """The kept pages of one fingerprint.

    Of everything that decides what the site answers.
    """

    def __init__(self, folder: Path, *key: object) -> None:
        columns = [str(schema) for schema in (POSTS, TAGS, RELATIONS)]
        columns += [
            field.name
            for kind in (CachedPage, UnreadableRecord)
            for field in fields(kind)
        ]
        text = json.dumps([*key, *columns], sort_keys=True, default=str)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    def prepare(self) -> None:
        """Removes the pages of other fingerprints.

        And what a killed run left half written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        files.remove_stale_temps(self.folder)
        for path in sorted(self.folder.parent.iterdir()):
            if path != self.folder:
                shutil.rmtree(path)

    def find(self, name: str) -> CachedPage | None:
        """Returns a kept page."""
        path = self.folder / f"{name}.parquet"
        if not path.exists():
            return None
        note = json.loads(parquet.metadata(path)["page"])
        return CachedPage(
            path,
            **{**note, "unread": [UnreadableRecord(**one) for one in note["unread"]]},
        )

    def keep(self, name: str, page: ParsedPage, kind: RecordType) -> CachedPage:
        """Writes a page."""
        path = self.folder / f"{name}.parquet"
        note: dict[str, Any] = {
            "records": page.records,
            "lowest": min(page.ids, default=None),
            "change": max(page.changes, default=0),
        }
        written = json.dumps({**note, "unread": [asdict(one) for one in page.unread]})
        parquet.write(path, page.rows, kind.schema, metadata={"page": written})
        return CachedPage(path, **note, unread=page.unread)


async def list_all(
    client: Client, pages: PageCache, listing: Endpoint, start: int, meter: Meter
) -> list[CachedPage]:
    """Pages down from the id `start` to an empty page.

    A page may be short though more follow (contract 2.2).
    """
    found: list[CachedPage] = []
    cursor = start
    while True:
        name = f"{listing.name}-b{cursor:010d}"
        page = pages.find(name) or await _ask(client, pages, listing, cursor, name)
        if not page.records or page.lowest is None:
            return found
        found.append(page)
        cursor = page.lowest
        meter.advance(page.records, note=f"{len(found):,} pages")


async def _ask(
    client: Client, pages: PageCache, listing: Endpoint, cursor: int, name: str
) -> CachedPage:
    query = {**listing.query, "limit": str(LIMIT), "page": f"b{cursor}"}
    answer = api_models.parse_page(
        await ask(client, listing.path, query), listing.kind, listing.path
    )
    if answer.records and (not answer.ids or min(answer.ids) >= cursor):
        raise BadAnswer(
            f"{listing.path} with page=b{cursor} gave no record below id {cursor:,}: "
            "it would repeat for ever. The "
            "pages before are kept. Run the same command again; if this comes again, "
            "the site's cursors are broken."
        )
    return pages.keep(name, answer, listing.kind)


def rejected(pages: Iterable[CachedPage]) -> list[Row]:
    """Returns the records that could not be read, numbered from 1 over all pages in their order."""
    rows: list[Row] = []
    before = 0
    for page in pages:
        rows += [
            {**one.rejected, "row": before + one.rejected["row"]} for one in page.unread
        ]
        before += page.records
    return rows


def newest(
    pages: Sequence[CachedPage], kind: RecordType, key: str, version: str | None = None
) -> tuple[pl.DataFrame, list[Row]]:
    """Joins pages into one table ordered by `key`.

    Of records with one key the highest `version` is kept.

    The others come back as rows of schemas.SNAPSHOT_REJECTED. Where the highest version
    is a record that cannot be read, none is kept. Without a version the page asked for
    last wins.
    """
    table = read_all(pages, kind)
    order = [key] if version is None else [key, version]
    kept = table.sort(order, maintain_order=True).unique(
        subset=key, keep="last", maintain_order=True
    )
    doubled: list[Any] = (
        table.filter(pl.col(key).is_duplicated())[key].unique().sort().to_list()
    )
    reason = "id given more than once"
    repeated = [
        {"export": kind.export, "row": 0, "reason": reason, "value": str(value)}
        for value in doubled
    ]
    if version is not None:
        lost = latest_unreadable(unread_of(pages), table.select(key, version, AT))
        kept = kept.filter(~pl.col(key).is_in(list(lost)))
    return kept.drop(AT), repeated


def read_all(pages: Sequence[CachedPage], kind: RecordType) -> pl.DataFrame:
    """Returns the rows of all pages, in the order of the pages.

    And in the column AT the place of each one's page.
    """
    tables = [
        parquet.frame([], kind.schema),
        *(parquet.read(page.path) for page in pages),
    ]
    return pl.concat(
        table.with_columns(pl.lit(place, pl.Int64).alias(AT))
        for place, table in enumerate(tables, start=-1)
    )


def unread_of(pages: Sequence[CachedPage]) -> list[tuple[int, UnreadableRecord]]:
    """Returns the records that could not be read, each with the place of its page."""
    return [(place, one) for place, page in enumerate(pages) for one in page.unread]


def latest_unreadable(
    unread: Sequence[tuple[int, UnreadableRecord]], read: pl.DataFrame
) -> dict[int, UnreadableRecord]:
    """Returns, by key, the records that could not be read and are the latest word on what they tell of.

    unread: each with the place of its page, ascending; read: key, version and place of all that could be read. The
    higher version is the later word; of one version, or where that cannot be read either, the later page; on one page
    the record that cannot be read, for what it hides may be that the post is forbidden.
    """
    key, version, at = read.columns
    told = {one.key for _, one in unread if one.key is not None}
    latest = read.filter(pl.col(key).is_in(list(told))).sort(version, at)
    known: dict[int, tuple[int, int]] = {row[0]: row[1:] for row in latest.iter_rows()}
    found: dict[int, UnreadableRecord] = {}
    for place, one in unread:
        if one.key is None:
            continue
        if one.key in known:
            last_version, last_place = known[one.key]
            if (
                last_place > place
                if one.version is None
                else (last_version, last_place) > (one.version, place)
            ):
                continue
        before = found.get(one.key)
        # Of one version what was said first stays: a pin must not change for the words.
        if (
            before is None
            or before.version is None
            or one.version is None
            or one.version > before.version
        ):
            found[one.key] = one
    return found
