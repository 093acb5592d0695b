"""Reads the gzip CSV exports (contract sections 1.4 and 1.5) and writes the snapshot's tables, chunk by chunk.

Columns are found by name; extra ones are ignored. A record that cannot be read is not lost silently: it is returned
as a row of schemas.SNAPSHOT_REJECTED.
"""

import csv
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from isal import igzip

from pipeline import atomic, parquet, progress, schemas
from pipeline.errors import BadExport

# Bytes of CSV parsed at once; no record may be longer. The contract's limits lead to some 400 kB, and an export that
# holds a longer one, as old rows may be, is read again in blocks of LONGEST. pyarrow inflates up to 32 blocks ahead and
# cannot be told otherwise: small ones stay in the processor's caches, with 16 MiB they alone are half a gigabyte.
BLOCK, LONGEST = 1 << 20, 4 << 20
CHUNK = 12_500  # records converted and written at once, a row group; memory grows with it, and the file shrinks
MOST_REJECTED = 100_000  # records; an export with more is not what this version reads, and they would fill the memory

# Text inflates 3 to 5 times, the most that deflate can do is 1,032 times. Small exports may repeat themselves.
MOST_INFLATED = 100  # times the compressed size
ALWAYS_INFLATED = 256 << 20  # bytes

# The dictionary of a row group's tags; with pyarrow's 1 MiB it falls back to plain text, a third larger and slower.
_DICTIONARY = 32 << 20  # bytes
_LONGEST_HEADER = 1 << 20  # bytes
_AHEAD = 2  # chunks; with one, who is fastest at the moment waits for the slowest of it
_TOO_LONG = "straddling"  # what pyarrow says of a record that one block does not hold
_QUOTE = ord('"')
_MD5 = 32  # hexadecimal digits
_COUNTED = 256 << 10  # bytes
_LEAVING = 0.05  # seconds; from being told the end to having left Python
_LONGEST_READ = 2.0  # seconds; after an error only, of a block that is being inflated

Rejected = list[dict[str, Any]]
_T = TypeVar("_T")
_END: Any = object()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: where it comes from and what a value must be."""

    name: str
    source: str
    value: pl.Expr  # over the text column `source`, null where the text is not what it must be
    required: bool = True  # a null is a reason to reject the record
    # The same for texts of which all are as they should be, else None; three times as fast where most of the time goes.
    quick: Callable[[pa.ChunkedArray], pa.ChunkedArray | None] | None = None


def _name(name: str) -> pl.Expr:
    return _matching(name, r"^[^\x00-\x20]+$")  # the site's are stricter, but old rows break its rules


def _integer(name: str, kind: type[pl.DataType] = pl.Int64) -> pl.Expr:
    return pl.col(name).cast(kind, strict=False)


def _boolean(name: str) -> pl.Expr:
    return pl.when(pl.col(name) == "t").then(statement=True).when(pl.col(name) == "f").then(statement=False)


def _time(name: str) -> pl.Expr:
    # Trailing zeros of the fraction are trimmed, all of them in some rows; without a zone they are UTC.
    return pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", time_zone="UTC", strict=False)


def _matching(name: str, pattern: str) -> pl.Expr:
    return pl.when(pl.col(name).str.contains(pattern)).then(pl.col(name))


def _names(name: str) -> pl.Expr:
    # NULL and "" both mean none, and old rows hold double spaces.
    return pl.col(name).fill_null("").str.extract_all("[^ ]+")


def _quick_time(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    if texts.null_count or pc.min(pc.binary_length(texts)).as_py() < len("2026-01-02 03:04:05"):
        return None
    try:
        return pc.cast(texts, pa.timestamp("us"))
    except pa.ArrowInvalid:
        return None


def _quick_md5(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    if texts.null_count or not pc.all(pc.equal(pc.binary_length(texts), _MD5)).as_py():
        return None
    for chunk in filter(len, texts.chunks):
        _, ends, characters = chunk.buffers()
        start = np.frombuffer(ends, np.int32)[chunk.offset]
        digits = np.frombuffer(characters, np.uint8)[start : start + _MD5 * len(chunk)]
        # Unsigned, so that what lies below wraps around to far above.
        if not ((digits - ord("0") < 10) | (digits - ord("a") < 6)).all():
            return None
    return texts


def _quick_names(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    if texts.null_count:
        return None
    lists = pc.split_pattern(texts, " ")
    # A space too many leaves a name of no bytes; so does a post without tags.
    shortest = (pc.min(pc.binary_length(chunk.values)).as_py() for chunk in lists.chunks if len(chunk))
    return None if any(length == 0 for length in shortest) else lists


POSTS = (
    Column("post_id", "id", _integer("id")),
    Column("change_seq", "change_seq", _integer("change_seq")),
    Column("created_at", "created_at", _time("created_at"), quick=_quick_time),
    Column("md5", "md5", _matching("md5", "^[0-9a-f]{32}$"), quick=_quick_md5),
    Column("ext", "file_ext", _matching("file_ext", "^[a-z0-9]{1,8}$")),
    Column("rating", "rating", _matching("rating", "^[sqe]$")),
    Column("width", "image_width", _integer("image_width", pl.Int32)),
    Column("height", "image_height", _integer("image_height", pl.Int32)),
    Column("file_size", "file_size", _integer("file_size")),
    Column("duration", "duration", pl.col("duration").cast(pl.Float64, strict=False), required=False),
    Column("parent_id", "parent_id", _integer("parent_id"), required=False),
    Column("is_deleted", "is_deleted", _boolean("is_deleted")),
    Column("is_pending", "is_pending", _boolean("is_pending")),
    Column("is_flagged", "is_flagged", _boolean("is_flagged")),
    Column("is_withheld", "is_deleted", pl.lit(value=False)),
    Column("score", "score", _integer("score", pl.Int32)),
    Column("fav_count", "fav_count", _integer("fav_count", pl.Int32)),
    Column("tags", "tag_string", _names("tag_string"), quick=_quick_names),
    Column("locked_tags", "locked_tags", _names("locked_tags")),
)

TAGS = (
    Column("tag_id", "id", _integer("id")),
    Column("name", "name", _name("name")),
    Column("category", "category", _integer("category", pl.Int8)),
    Column("post_count", "post_count", _integer("post_count")),
)

RELATIONS = (
    Column("relation_id", "id", _integer("id")),
    Column("antecedent", "antecedent_name", _name("antecedent_name")),
    Column("consequent", "consequent_name", _name("consequent_name")),
    Column("status", "status", pl.col("status")),
)


def write_posts(source: Path, target: Path) -> Rejected:
    """Writes posts.parquet; returns the records that could not be read."""
    return _write("posts", source, target, POSTS, schemas.POSTS)


def write_tags(source: Path, target: Path) -> Rejected:
    """Writes tags.parquet; returns the records that could not be read."""
    return _write("tags", source, target, TAGS, schemas.TAGS)


def write_relations(export: str, source: Path, target: Path) -> Rejected:
    """Writes aliases.parquet or implications.parquet; returns the records that could not be read."""
    return _write(export, source, target, RELATIONS, schemas.RELATIONS)


def write_unknown_tags(folder: Path) -> None:
    """Writes unknown_tags.parquet from the posts and tags that lie in the folder, and says it where there are any."""
    unknown = unknown_tags(folder / "posts.parquet", folder / "tags.parquet")
    parquet.write(folder / "unknown_tags.parquet", unknown, schemas.UNKNOWN_TAGS)
    if unknown.height:
        first = unknown.sort("posts", "name", descending=[True, False]).row(0, named=True)
        progress.say(
            f"{unknown.height:,} tag names of posts are not in the table of tags, which is of another moment, first "
            f"{first['name']!r} on {first['posts']:,} posts. They are kept, and listed in unknown_tags.parquet."
        )


def unknown_tags(posts: Path, tags: Path) -> pl.DataFrame:
    """Returns schemas.UNKNOWN_TAGS: the names that posts.parquet carries and tags.parquet does not list."""
    # Counted first and looked up after: the 240 million names of six million posts are hashed once and never held.
    names = pl.scan_parquet(posts).select(name=pl.col("tags").explode(empty_as_null=False))
    listed = pl.scan_parquet(tags).select("name")
    counted = names.group_by("name").agg(posts=pl.len().cast(pl.Int64)).join(listed, on="name", how="anti")
    return counted.sort("name").collect(engine="streaming")


def _write(export: str, source: Path, target: Path, columns: tuple[Column, ...], schema: pa.Schema) -> Rejected:
    with suppress(_LongRecordError):
        return _write_in_blocks(BLOCK, export, source, target, columns, schema)
    # Not while the error is handled: it holds what the first attempt had in memory.
    return _write_in_blocks(LONGEST, export, source, target, columns, schema)


def _write_in_blocks(
    block: int, export: str, source: Path, target: Path, columns: tuple[Column, ...], schema: pa.Schema
) -> Rejected:
    """Three things go on at once: inflating and parsing, converting, writing; each at most two chunks ahead."""
    key = columns[0].name
    found = _Rejections(export)
    last, ordered = None, True
    texts = _ahead(_text(block, export, source, columns, found))
    with (
        atomic.writing(target) as temporary,
        writer(temporary, schema) as file,
        progress.meter(export, unit="records") as meter,
        closing(_ahead(_typed(texts, columns, found, schema))) as tables,
    ):
        for table in tables:
            ids = pl.Series(table[key]).to_numpy()  # not pyarrow's own, which imports pandas: a second of CPU
            if len(ids) == 0:
                continue
            ordered = ordered and (last is None or ids[0] > last) and bool((np.diff(ids) > 0).all())
            last = ids[-1]
            file.write_table(table)
            meter.advance(len(ids))
    if not ordered:
        _put_in_order(target, key, schema, found)
    return found.rows()


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Returns a writer of a table of the snapshot: small, and quick where names repeat."""
    lists = [field.name for field in schema if pa.types.is_list(field.type)]
    texts = [field.name for field in schema if pa.types.is_string(field.type) and field.name != "md5"]
    whole = [field.name for field in schema if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type)]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=[
            *texts,
            *(f"{name}.list.element" for name in lists),
        ],  # what differs in each row has no use of it
        dictionary_pagesize_limit=_DICTIONARY,
        column_encoding=dict.fromkeys(
            whole, "DELTA_BINARY_PACKED"
        ),  # a fifteenth off the file, and quicker to compress
        write_statistics=[name for name in schema.names if name not in lists],  # of names: no use, and slow
    )


def _ahead(things: Generator[_T, None, None]) -> Generator[_T, None, None]:
    """Yields the things, making the next ones in a thread while the caller is busy with the last."""
    with closing(things), ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(next, things, _END) for _ in range(_AHEAD))
        while (thing := coming.popleft().result()) is not _END:
            coming.append(thread.submit(next, things, _END))
            yield thing


class _Rejections:
    """The records of one export that could not be read. The parser and the converter add to it, each in its thread."""

    def __init__(self, export: str) -> None:
        self.export = export
        self._skipped: Rejected = []  # by the parser: their row is their place in the export
        self._wrong: Rejected = []  # by the converter: their row is their place among those that were parsed
        self._doubled: Rejected = []

    def skip(self, bad: pa_csv.InvalidRow) -> str:
        """Notes a record with too few or too many columns; tells pyarrow to go on, or to stop after too many."""
        reason = f"{bad.actual_columns} columns instead of {bad.expected_columns}"
        self._skipped.append(self._row(bad.number or 0, reason, bad.text or ""))
        return "skip" if len(self._skipped) <= MOST_REJECTED else "error"  # what is raised here would be printed

    def wrong(self, row: int, reason: str, value: str) -> None:
        """Notes the record that is the `row`-th of those that were parsed."""
        self._wrong.append(self._row(row, reason, value))
        self.judge()

    def doubled(self, value: int) -> None:
        """Notes an id that more than one record has."""
        self._doubled.append(self._row(0, "id given more than once", str(value)))
        self.judge()

    def judge(self) -> None:
        """Raises BadExport where more records were refused than can be listed."""
        for rows in (self._skipped, self._wrong, self._doubled):
            if len(rows) > MOST_REJECTED:
                raise BadExport(
                    f"more than {MOST_REJECTED:,} records of the export {self.export} cannot be read, first row "
                    f"{rows[0]['row']}: {rows[0]['reason']} ({rows[0]['value'][:60]!r}). Nothing was written. "
                    "The site changed its exports: this version of e6tag cannot read them."
                )

    def _row(self, row: int, reason: str, value: str) -> dict[str, Any]:
        return {"export": self.export, "row": row, "reason": reason, "value": value[:200]}

    def rows(self) -> Rejected:
        """Returns all in the order of the export, whichever thread was first."""
        skipped = np.sort(np.array([row["row"] for row in self._skipped], np.int64))
        before = skipped - np.arange(1, len(skipped) + 1)  # records parsed before each one that was skipped
        moved = [{**row, "row": row["row"] + int(np.searchsorted(before, row["row"]))} for row in self._wrong]
        return sorted([*self._skipped, *moved], key=lambda row: row["row"]) + self._doubled


def _put_in_order(path: Path, key: str, schema: pa.Schema, found: _Rejections) -> None:
    """Sorts a table whose export was not ordered by id; of records with one id the last is kept, as on the site.

    Holds the ids and one row group of output. Reads a row group once for each part of the output that takes rows from
    it: twice or so where few records are misplaced, but all of them each time where six million are shuffled.
    """
    ids = parquet.read(path, [key]).with_row_index("at")
    for value in ids.filter(pl.col(key).is_duplicated())[key].unique().sort():
        found.doubled(value)
    order = ids.unique(key, keep="last").sort(key)["at"].to_numpy()
    with pq.ParquetFile(path) as unordered, atomic.writing(path) as temporary, writer(temporary, schema) as file:
        sizes = [unordered.metadata.row_group(group).num_rows for group in range(unordered.num_row_groups)]
        starts = np.cumsum([0, *sizes])
        for at in range(0, len(order), parquet.ROW_GROUP):
            rows = order[at : at + parquet.ROW_GROUP]
            groups = np.searchsorted(starts, rows, side="right") - 1
            taken = [
                unordered.read_row_group(group).take(rows[groups == group] - starts[group])
                for group in np.unique(groups)
            ]
            file.write_table(pa.concat_tables(taken).sort_by(key).cast(schema))


def _typed(
    texts: Generator[pa.Table, None, None], columns: tuple[Column, ...], found: _Rejections, schema: pa.Schema
) -> Generator[pa.Table, None, None]:
    """Yields the good records as tables of the schema, noting the others."""
    row = 0
    for text in texts:
        table = _spotless(text, columns)
        if table is None:
            table = _judged(pl.DataFrame(text), columns, found, row)
        row += len(text)
        yield parquet.cast(table, schema)


def _spotless(text: pa.Table, columns: tuple[Column, ...]) -> pa.Table | None:
    """Returns the records with their values, if all of them are good."""
    quick = {one.name: one.quick(text[one.source]) for one in columns if one.quick is not None}
    if any(values is None for values in quick.values()):
        return None
    others = [one for one in columns if one.name not in quick]
    sources = list(dict.fromkeys(one.source for one in others))
    # In one piece each: Polars takes over a column at half the cost of its seventeen pieces.
    table = pl.DataFrame(text.select(sources).combine_chunks()).select(one.value.alias(one.name) for one in others)
    if any(table[one.name].null_count() for one in others if one.required):
        return None
    whole = table.to_arrow()
    for name, values in quick.items():
        whole = whole.append_column(name, values)
    return whole


def _judged(text: pl.DataFrame, columns: tuple[Column, ...], found: _Rejections, before: int) -> pl.DataFrame:
    """Returns the good records with their values, noting the others. before: records that were parsed before these."""
    reason = pl.coalesce(
        pl.when(pl.col(one.name).is_null()).then(pl.lit(f"{one.source} is missing or not valid"))
        for one in columns
        if one.required
    )
    typed = text.select(one.value.alias(one.name) for one in columns).with_columns(reason=reason)
    for at, why in typed.select(pl.int_range(pl.len()), "reason").filter(pl.col("reason").is_not_null()).rows():
        record = text.row(at, named=True)
        found.wrong(before + at + 1, why, f"id {record['id']}: {record[why.split(' ', 1)[0]]!r}")
    return typed.filter(pl.col("reason").is_null())


class _LongRecordError(Exception):
    """A record is longer than a block, and larger blocks may be tried."""


def _text(
    block: int, export: str, source: Path, columns: tuple[Column, ...], found: _Rejections
) -> Generator[pa.Table, None, None]:
    """Yields the wanted columns as text: NULL is null, "" is empty."""
    wanted = list(dict.fromkeys(column.source for column in columns))
    row = 0
    try:
        with _Inflating(export, source) as file:
            header = file.readline(_LONGEST_HEADER)  # type: ignore[no-untyped-call]
            names = next(csv.reader([header.decode("utf-8-sig")]), [])
            if missing := [name for name in wanted if name not in names]:
                raise BadExport(
                    f"the export {export} has no column {', '.join(missing)} (it has {', '.join(names)[:500]}). "
                    "Nothing was written. The site changed its exports: this version of e6tag cannot read them."
                )
            for table in _tables(block, file, names, wanted, found):
                row += len(table)
                yield table
            if file.quotes % 2:
                raise ValueError("a quote is never closed, so that no record after it can be trusted")  # noqa: TRY301
    except (pa.ArrowException, OSError, EOFError, zlib.error, csv.Error, ValueError) as error:
        if block < LONGEST and _TOO_LONG in str(error):
            raise _LongRecordError from error
        found.judge()
        raise BadExport(
            f"the export {export} cannot be read after record {row:,}: {_explained(error)}. Nothing was written. "
            "Run e6tag refresh when the site has made a new one."
        ) from error


class _Inflating(igzip.IGzipFile):
    """A gzip export of one or more members, as it inflates. With zlib, 4 times slower, all else would wait for it."""

    def __init__(self, export: str, source: Path) -> None:
        super().__init__(source, "rb")  # type: ignore[no-untyped-call]
        self._export, self._inflated = export, 0
        self.is_read_ahead = False  # by pyarrow, in a thread of its own
        self._is_over, self._told_end = False, threading.Event()
        self.quotes = 0  # PostgreSQL writes them in pairs: an odd number is a field that does not end where it should
        self._is_quote = np.empty(_COUNTED, bool)  # one for all: new memory costs more than the counting
        self._most = max(ALWAYS_INFLATED, MOST_INFLATED * source.stat().st_size)

    def read(self, size: int | None = -1) -> bytes:
        """As of any file; raises BadExport where the export inflates without end."""
        piece: bytes = b"" if self._is_over else super().read(size)
        if not piece:
            self._told_end.set()  # last of all: who waits for it may end Python
            return piece
        self._inflated += len(piece)
        # A sixth of the time of bytes.count, in slices that stay in the processor's caches.
        text = np.frombuffer(piece, np.uint8)
        for at in range(0, len(text), _COUNTED):
            some = text[at : at + _COUNTED]
            self.quotes += int(np.count_nonzero(np.equal(some, _QUOTE, out=self._is_quote[: len(some)])))
        if self._inflated > self._most:
            raise BadExport(
                f"the export {self._export} inflates to more than {MOST_INFLATED} times its size (stopped at "
                f"{self._inflated / 1e6:,.0f} MB): no table of the site does. Nothing was written. Run e6tag refresh "
                "when the site has made a new one."
            )
        return piece

    def close(self) -> None:
        """Tells a reader that is ahead the end and waits until it heard: one that reads on while Python ends aborts."""
        is_cut_short = self.is_read_ahead and not self._told_end.is_set()
        self._is_over = True
        if is_cut_short:
            self._told_end.wait(_LONGEST_READ)
            time.sleep(_LEAVING)
        super().close()


def _tables(
    block: int, file: _Inflating, names: list[str], wanted: list[str], found: _Rejections
) -> Iterator[pa.Table]:
    """Yields CHUNK or a few more parsed records at a time; of each the wanted columns, in that order."""
    if not file.peek(1):
        return
    file.is_read_ahead = True
    batches = pa_csv.open_csv(
        file,
        # Records are numbered only where one thread parses; the blocks are inflated in another.
        read_options=pa_csv.ReadOptions(block_size=block, use_threads=False, column_names=names),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=found.skip),
        convert_options=pa_csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict.fromkeys(wanted, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    kept: list[pa.RecordBatch] = []
    for batch in batches:
        kept.append(batch)
        if sum(map(len, kept)) >= CHUNK:
            yield pa.Table.from_batches(kept)
            kept = []
    if kept:
        yield pa.Table.from_batches(kept)


def _explained(error: Exception) -> str:
    what = " ".join(str(error).split())[:200]
    if _TOO_LONG in what:
        return f"a record is longer than {LONGEST >> 20} MiB, or a quote is never closed"
    return what
