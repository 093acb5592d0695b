"""Responses of the API, cached page by page.

A killed run never requests a page again that it has.

Writes      .work/<stage>/pages/<fingerprint>/*.parquet  rows of one response; the
                                                         unreadable records are in the
                                                         metadata
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
# Column: the place of a row's page among the pages, from 0. Records that were known
# before the pages have negative places.
AT = "at"
# The largest id that the site accepts as a cursor: a listing from here starts at its
# newest record.
NEWEST = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that lists records, with the query that selects them.

    The names of its pages begin with `name`.
    """

    name: str
    path: str
    query: Mapping[str, str]
    kind: RecordType


@dataclass(frozen=True, slots=True)
class CachedPage:
    """One page on the disk."""

    path: Path
    records: int  # in the response, including those that could not be read
    lowest: int | None  # id
    change: int  # the highest change_seq, 0 where none has one
    unread: list[UnreadableRecord]


class PageCache:
    """The cached pages of one fingerprint.

    The fingerprint is of everything that decides the responses of the site.
    """

    def __init__(self, folder: Path, *key: object) -> None:
        columns = [
            str(parquet.stored_schema(schema)) for schema in (POSTS, TAGS, RELATIONS)
        ]
        for kind in (CachedPage, UnreadableRecord):
            columns += [field.name for field in fields(kind)]
        text = json.dumps([*key, *columns], sort_keys=True, default=str)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    def prepare(self) -> None:
        """Removes pages of other fingerprints, and unfinished ones of a killed run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files.remove_stale_temps(self.folder)
        for path in sorted(self.folder.parent.iterdir()):
            if path != self.folder:
                shutil.rmtree(path)

    def find(self, name: str) -> CachedPage | None:
        """Returns a cached page, or None."""
        path = self.folder / f"{name}.parquet"
        if not path.exists():
            return None
        note = json.loads(parquet.metadata(path)["page"])
        unread = [UnreadableRecord(**one) for one in note.pop("unread")]
        return CachedPage(path, **note, unread=unread)

    def keep(self, name: str, page: ParsedPage, kind: RecordType) -> CachedPage:
        """Writes a page."""
        path = self.folder / f"{name}.parquet"
        note: dict[str, Any] = {
            "records": page.records,
            "lowest": min(page.ids, default=None),
            "change": max(page.changes, default=0),
        }
        unread = [asdict(one) for one in page.unread]
        metadata = {"page": json.dumps({**note, "unread": unread})}
        parquet.write(path, page.rows, kind.schema, metadata=metadata)
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
    answer = await ask(client, listing.path, query)
    page = api_models.parse_page(answer, listing.kind, listing.path)
    if page.records and (not page.ids or min(page.ids) >= cursor):
        raise BadAnswer(
            f"{listing.path} with page=b{cursor} gave no record below id {cursor:,}: "
            "it would repeat for ever. The pages before are kept. Run the same command "
            "again; if this comes again, the site's cursors are broken."
        )
    return pages.keep(name, page, listing.kind)


def rejected(pages: Iterable[CachedPage]) -> list[Row]:
    """Returns the records that could not be read.

    They are numbered from 1 over all pages in their order.
    """
    rows: list[Row] = []
    before = 0
    for page in pages:
        for one in page.unread:
            row = before + one.rejected["row"]
            rows.append({**one.rejected, "row": row})
        before += page.records
    return rows


def newest(
    pages: Sequence[CachedPage], kind: RecordType, key: str, version: str | None = None
) -> tuple[pl.DataFrame, list[Row]]:
    """Joins pages into one table ordered by `key`.

    Of records with one key the highest `version` is kept; the keys of several records
    are returned as rows of schemas.SNAPSHOT_REJECTED. If the highest version is a
    record that cannot be read, none is kept. Without a version the page requested last
    wins.
    """
    table = read_all(pages, kind)
    order = [key] if version is None else [key, version]
    ordered = table.sort(order, maintain_order=True)
    kept = ordered.unique(subset=key, keep="last", maintain_order=True)
    if version is not None:
        versions = table.select(key, version, AT)
        lost = latest_unreadable(unread_of(pages), versions)
        kept = kept.filter(~pl.col(key).is_in(list(lost)))
    return kept.drop(AT), _repeated(table, kind, key)


def _repeated(table: pl.DataFrame, kind: RecordType, key: str) -> list[Row]:
    """Returns a row of schemas.SNAPSHOT_REJECTED for each key of several records."""
    repeated = table.filter(table[key].is_duplicated())[key]
    row: Row = {"export": kind.export, "row": 0, "reason": "id given more than once"}
    values = repeated.unique().sort()
    return [{**row, "value": str(value)} for value in values]


def read_all(pages: Sequence[CachedPage], kind: RecordType) -> pl.DataFrame:
    """Returns the rows of all pages in order; column AT is the place of the page."""
    tables = [_with_place(parquet.frame([], kind.schema), -1)]
    for place, page in enumerate(pages):
        tables.append(_with_place(parquet.read(page.path), place))
    return pl.concat(tables)


def _with_place(table: pl.DataFrame, place: int) -> pl.DataFrame:
    return table.with_columns(pl.lit(place, pl.Int64).alias(AT))


def unread_of(pages: Sequence[CachedPage]) -> list[tuple[int, UnreadableRecord]]:
    """Returns the records that could not be read, each with the place of its page."""
    return [(place, one) for place, page in enumerate(pages) for one in page.unread]


def latest_unreadable(
    unread: Sequence[tuple[int, UnreadableRecord]], read: pl.DataFrame
) -> dict[int, UnreadableRecord]:
    """Returns, by key, the unreadable records that are the latest record of their key.

    unread: each with the place of its page, ascending.
    read: key, version and place of all records that could be read.
    The record with the higher version is the later one. If the versions are equal, or
    the unreadable record has none, the later page decides. On one page it is the
    unreadable record, because it may hide that the post is forbidden.
    """
    known = _latest_read(unread, read)
    found: dict[int, UnreadableRecord] = {}
    for place, one in unread:
        if one.key is None:
            continue
        if one.key in known and _is_outdated(one, place, known[one.key]):
            continue
        before = found.get(one.key)
        if before is None or _replaces(one, before):
            found[one.key] = one
    return found


def _latest_read(
    unread: Sequence[tuple[int, UnreadableRecord]], read: pl.DataFrame
) -> dict[int, tuple[int, int]]:
    """Returns version and place of the latest readable record of each unread key."""
    key, version, at = read.columns
    keys = {one.key for _, one in unread if one.key is not None}
    latest = read.filter(pl.col(key).is_in(list(keys))).sort(version, at)
    return {row[0]: row[1:] for row in latest.iter_rows()}


def _is_outdated(one: UnreadableRecord, place: int, read: tuple[int, int]) -> bool:
    """Returns whether a readable record (version, place) is later than this one."""
    version, read_place = read
    if one.version is None:
        return read_place > place
    return (version, read_place) > (one.version, place)


def _replaces(one: UnreadableRecord, before: UnreadableRecord) -> bool:
    """Returns whether an unreadable record replaces an earlier one of its key.

    Of one version the first stays: a pin must not change for another wording.
    """
    if before.version is None or one.version is None:
        return True
    return one.version > before.version
