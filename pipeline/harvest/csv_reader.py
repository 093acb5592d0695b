"""Reads the gzip CSV exports (contract sections 1.4 and 1.5) and writes the snapshot's tables, chunk by chunk.

Columns are found by name; extra ones are ignored. A record that cannot be read is not lost silently: it is returned
as a row of schemas.SNAPSHOT_REJECTED.
"""

import csv
import re
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from isal import igzip, igzip_lib

from pipeline import files, parquet, progress
from pipeline.errors import BadExport
from pipeline.schemas.snapshot import POSTS as POSTS_SCHEMA
from pipeline.schemas.snapshot import RELATIONS as RELATIONS_SCHEMA
from pipeline.schemas.snapshot import TAGS as TAGS_SCHEMA
from pipeline.schemas.snapshot import UNKNOWN_TAGS

# Bytes of CSV parsed at once; no record may be longer. The contract's limits lead to
# some 400 kB, and an export that holds a longer one, as old rows may be, is read again
# in blocks of LONGEST. pyarrow inflates up to 32 blocks ahead and cannot be told
# otherwise: small ones stay in the processor's caches, with 16 MiB they alone are half
# a gigabyte.
BLOCK, LONGEST = 1 << 20, 4 << 20
# Records converted and written at once, a row group; memory grows with it, and the file
# shrinks
CHUNK = 12_500
# Records; an export with more is not what this version reads, and they would fill the
# memory
MOST_REJECTED = 100_000

# Text inflates 3 to 5 times, the most that deflate can do is 1,032 times. Small exports
# may repeat themselves.
MOST_INFLATED = 100  # times the compressed size
ALWAYS_INFLATED = 256 << 20  # bytes

# The dictionary of a row group's tags; with pyarrow's 1 MiB it falls back to plain
# text, a third larger and slower.
_DICTIONARY = 32 << 20  # bytes
_LONGEST_HEADER = 1 << 20  # bytes
_AHEAD = 2  # chunks; with one, who is fastest at the moment waits for the slowest of it
_TOO_LONG = "straddling"  # what pyarrow says of a record that one block does not hold
_NOT_OF_KIND = re.compile(
    "CSV conversion error to (?!string)"
)  # and of a value that does not fit its column's kind
_ISAL: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub takes it for an instance
_QUOTE, _SPACE = ord('"'), ord(" ")
_MD5 = 32  # hexadecimal digits
_LEAVING = 0.05  # seconds; from being told the end to having left Python
_LONGEST_READ = 2.0  # seconds; after an error only, of a block that is being inflated
_NEXT_READ = 0.3  # seconds; after an error only, until who reads on has begun to

_NAMES = pa.list_(pa.string())

Rejected = list[dict[str, Any]]
_T = TypeVar("_T")
_END: Any = object()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: where it comes from and what a value must be."""

    name: str
    source: str
    # How the parser reads the column; as texts, where one value of the export does not
    # fit its kind. It takes blanks around a number and hexadecimal ones, which
    # PostgreSQL never prints. Columns of one source have one kind.
    kind: pa.DataType = pa.string()  # noqa: RUF009
    value: pl.Expr | None = (
        # Over `source` of that kind, null where it is not what it must be; None: as it
        # is
        None
    )
    # The same of values that are all as they should be, else None; no expression, for
    # which Polars wakes its threads.
    quick: Callable[[pa.ChunkedArray], pa.ChunkedArray | None] | None = None
    required: bool = True  # a null is a reason to reject the record


def _column(
    name: str,
    source: str,
    *,
    matching: str,
    quick: Callable[..., pa.ChunkedArray | None],
) -> Column:
    """Returns a column of texts that match a pattern as a whole."""
    value = pl.when(pl.col(source).str.contains(f"^(?:{matching})$")).then(
        pl.col(source)
    )
    return Column(name, source, value=value, quick=quick)


def _name(name: str, source: str) -> Column:
    # The site's rules are stricter, but old rows break them.
    return _column(name, source, matching=r"[^\x00-\x20]+", quick=_quick_name)


def _one_of_few(name: str, source: str, matching: str) -> Column:
    return _column(
        name,
        source,
        matching=matching,
        quick=partial(_quick_one_of_few, re.compile(matching)),
    )


def _names(name: str, source: str) -> Column:
    # NULL and "" both mean none, and old rows hold double spaces.
    names = pl.col(source).fill_null("").str.extract_all("[^ ]+")
    return Column(name, source, value=names, quick=_quick_names, required=False)


def _time(name: str, source: str) -> Column:
    # Trailing zeros of the fraction are trimmed, all of them in some rows; without a
    # zone they are UTC.
    time = pl.col(source).str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f", time_unit="us", time_zone="UTC", strict=False
    )
    return Column(name, source, value=time, quick=_quick_time)


def _quick_time(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    shortest = len("2026-01-02 03:04:05")
    if any((np.diff(_ends(chunk)) < shortest).any() for chunk in texts.chunks):
        return None
    try:
        return pc.cast(texts, pa.timestamp("us"))
    except pa.ArrowInvalid:
        return None


def _quick_md5(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    for chunk in texts.chunks:
        digits = _characters(chunk)
        # Unsigned, so that what lies below wraps around to far above.
        are_digits = (digits - ord("0") < 10) | (digits - ord("a") < 6)
        if not (are_digits.all() and (np.diff(_ends(chunk)) == _MD5).all()):
            return None
    return texts


def _quick_name(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    is_good = (
        (_characters(chunk) > ord(" ")).all() and np.diff(_ends(chunk)).all()
        for chunk in texts.chunks
    )
    return texts if all(is_good) else None


def _quick_one_of_few(
    pattern: re.Pattern[str], texts: pa.ChunkedArray
) -> pa.ChunkedArray | None:
    return texts if all(map(pattern.fullmatch, texts.unique().to_pylist())) else None


def _quick_names(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([_names_of(chunk) for chunk in texts.chunks], _NAMES)


def _names_of(texts: pa.StringArray) -> pa.ListArray:
    """Returns the names in each text.

    What lies between spaces, none where a text is null.

    Where most of the time went: on a processor with AVX-512, with which Polars picks by
    a mask, this takes a third of that of pyarrow.compute.split_pattern, which compares
    byte by byte.
    """
    characters = pl.Series(_characters(texts))
    spaces = (
        _numbers(len(characters).bit_length())[: len(characters)]
        .filter(characters == _SPACE)
        .to_numpy()
    )
    starts = _ends(texts).view(np.uint32) - _ends(texts)[0].view(np.uint32)
    before = np.searchsorted(spaces, starts)  # spaces before each text, and in all
    # The spaces are taken out: each name ends where its space was, or its text, less by
    # the spaces before.
    ends = np.insert(
        spaces - np.arange(len(spaces), dtype=np.uint32),
        before[1:],
        starts[1:] - before[1:],
    )
    names = _array(
        pa.string(),
        _from_zero(ends),
        characters.filter(characters != _SPACE).to_numpy(),
    )
    return _without_nothing(_from_zero(before[1:] + np.arange(1, len(before))), names)


def _without_nothing(ends: np.ndarray, names: pa.StringArray) -> pa.ListArray:
    """Returns lists of names, less the empty ones that a space too many leaves.

    And so does a post without tags.
    """
    is_name = np.diff(_ends(names)) > 0
    if not is_name.all():
        ends = _from_zero(np.cumsum(is_name))[ends]
        names = names.filter(
            pl.Series(is_name).to_arrow()
        )  # not pa.array, which imports pandas: a second of CPU
    return _array(_NAMES, ends, names)


@cache
def _numbers(bits: int) -> pl.Series:
    """Returns all numbers of so many bits, in order.

    Not made for each text: that takes as long as the rest.
    """
    return pl.int_range(1 << bits, dtype=pl.UInt32, eager=True)


def _from_zero(ends: np.ndarray) -> np.ndarray:
    """Returns the offsets of an array of which these are the ends."""
    return np.concatenate([np.zeros(1, np.int32), ends.astype(np.int32)])


def _array(
    kind: pa.DataType, offsets: np.ndarray, content: np.ndarray | pa.Array
) -> pa.Array:
    """Returns an array of texts or lists without nulls, made of their characters or members."""
    count, buffers = len(offsets) - 1, [None, pa.py_buffer(offsets)]
    if isinstance(content, pa.Array):
        return pa.Array.from_buffers(kind, count, buffers, children=[content])
    return pa.Array.from_buffers(kind, count, [*buffers, pa.py_buffer(content)])


def _ends(array: pa.Array) -> np.ndarray:
    """Returns where each text or list of an array ends.

    And before them all where the first one starts.
    """
    if len(array) == 0:
        return np.zeros(1, np.int32)
    return np.frombuffer(array.buffers()[1], np.int32)[
        array.offset : array.offset + len(array) + 1
    ]


def _characters(texts: pa.Array) -> np.ndarray:
    """Returns the bytes of all texts of an array, one after the other."""
    ends = _ends(texts)
    return np.frombuffer(texts.buffers()[2] or b"", np.uint8)[ends[0] : ends[-1]]


POSTS = (
    Column("post_id", "id", pa.int64()),
    Column("change_seq", "change_seq", pa.int64()),
    _time("created_at", "created_at"),
    _column("md5", "md5", matching=f"[0-9a-f]{{{_MD5}}}", quick=_quick_md5),
    _one_of_few("ext", "file_ext", "[a-z0-9]{1,8}"),
    _one_of_few("rating", "rating", "[sqe]"),
    Column("width", "image_width", pa.int32()),
    Column("height", "image_height", pa.int32()),
    Column("file_size", "file_size", pa.int64()),
    Column("duration", "duration", pa.float64(), required=False),
    Column("parent_id", "parent_id", pa.int64(), required=False),
    Column("is_deleted", "is_deleted", pa.bool_()),
    Column("is_pending", "is_pending", pa.bool_()),
    Column("is_flagged", "is_flagged", pa.bool_()),
    Column(
        "is_withheld",
        "is_deleted",
        pa.bool_(),
        value=pl.lit(value=False),
        quick=lambda flag: pc.and_not(flag, flag),
    ),
    Column("score", "score", pa.int32()),
    Column("fav_count", "fav_count", pa.int32()),
    _names("tags", "tag_string"),
    _names("locked_tags", "locked_tags"),
)

TAGS = (
    Column("tag_id", "id", pa.int64()),
    _name("name", "name"),
    Column("category", "category", pa.int8()),
    Column("post_count", "post_count", pa.int64()),
)

RELATIONS = (
    Column("relation_id", "id", pa.int64()),
    _name("antecedent", "antecedent_name"),
    _name("consequent", "consequent_name"),
    Column("status", "status"),
)


@dataclass(frozen=True, slots=True)
class _ParseMode:
    """How an export is read: as most can be, until it is seen that this one cannot."""

    block: int = BLOCK
    # All columns are parsed as texts, since a value does not fit its column's kind
    is_by_text: bool = False

    def other(self, error: Exception) -> "_RetryWithMode | None":
        """Returns the way to take after an error of the parser.

        None where there is no better one.
        """
        if _TOO_LONG in str(error) and self.block < LONGEST:
            return _RetryWithMode(
                replace(self, block=LONGEST),
                f"a record is longer than {self.block >> 20} MiB",
            )
        if _NOT_OF_KIND.search(str(error)) and not self.is_by_text:
            return _RetryWithMode(
                replace(self, is_by_text=True),
                f"{_explained(error)}. Each value is judged by itself",
            )
        return None


class _RetryWithMode(Exception):
    """The export is to be read again, in another way."""

    def __init__(self, way: _ParseMode, why: str) -> None:
        super().__init__(why)
        self.way = way


def write_posts(source: Path, target: Path) -> Rejected:
    """Writes posts.parquet; returns the records that could not be read."""
    return _write("posts", source, target, POSTS, POSTS_SCHEMA)


def write_tags(source: Path, target: Path) -> Rejected:
    """Writes tags.parquet; returns the records that could not be read."""
    return _write("tags", source, target, TAGS, TAGS_SCHEMA)


def write_relations(export: str, source: Path, target: Path) -> Rejected:
    """Writes aliases.parquet or implications.parquet.

    Returns the records that could not be read.
    """
    return _write(export, source, target, RELATIONS, RELATIONS_SCHEMA)


def write_unknown_tags(folder: Path) -> None:
    """Writes unknown_tags.parquet from the posts and tags that lie in the folder.

    And says it where there are any.
    """
    unknown = unknown_tags(folder / "posts.parquet", folder / "tags.parquet")
    parquet.write(folder / "unknown_tags.parquet", unknown, UNKNOWN_TAGS)
    if unknown.height:
        first = unknown.sort("posts", "name", descending=[True, False]).row(
            0, named=True
        )
        progress.log(
            f"{unknown.height:,} tag names of posts are not in the table of tags, "
            "which is of another moment, first "
            f"{first['name']!r} on {first['posts']:,} posts. They are kept, and listed "
            "in unknown_tags.parquet."
        )


def unknown_tags(posts: Path, tags: Path) -> pl.DataFrame:
    """Returns schemas.UNKNOWN_TAGS.

    The names that posts.parquet carries and tags.parquet does not list.
    """
    # Counted first and looked up after: the 240 million names of six million posts are
    # hashed once and never held.
    names = pl.scan_parquet(posts).select(
        name=pl.col("tags").explode(empty_as_null=False)
    )
    listed = pl.scan_parquet(tags).select("name")
    counted = (
        names.group_by("name")
        .agg(posts=pl.len().cast(pl.Int64))
        .join(listed, on="name", how="anti")
    )
    return counted.sort("name").collect(engine="streaming")


def _write(
    export: str,
    source: Path,
    target: Path,
    columns: tuple[Column, ...],
    schema: pa.Schema,
) -> Rejected:
    way = _ParseMode()
    while True:
        try:
            return _write_so(way, export, source, target, columns, schema)
        except _RetryWithMode as other:
            progress.log(f"the export {export} is read once more: {other}.")
            # By the next turn of the loop: in here the error holds what this one had in
            # memory
            way = other.way


def _write_so(
    way: _ParseMode,
    export: str,
    source: Path,
    target: Path,
    columns: tuple[Column, ...],
    schema: pa.Schema,
) -> Rejected:
    """Three things go on at once: inflating, parsing and converting, writing.

    Each some chunks ahead of the next.

    Two cores are busy with that. With a thread more, for parsing alone, they wait for
    each other and are slower.
    """
    key = columns[0].name
    found = _Rejections(export)
    last, ordered = None, True
    parsed = _parsed(way, export, source, columns, found)
    with (
        files.open_atomic(target) as temporary,
        writer(temporary, schema) as file,
        progress.meter(export, unit="records") as meter,
        closing(_ahead(_typed(way, parsed, columns, found, schema))) as tables,
    ):
        for table in tables:
            ids = pl.Series(
                table[key]
            ).to_numpy()  # not pyarrow's own, which imports pandas: a second of CPU
            if len(ids) == 0:
                continue
            ordered = (
                ordered
                and (last is None or ids[0] > last)
                and bool((np.diff(ids) > 0).all())
            )
            last = ids[-1]
            file.write_table(table)
            meter.advance(len(ids))
    if not ordered:
        _put_in_order(target, key, schema, found)
    return found.rows()


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Returns a writer of a table of the snapshot: small.

    And quick where names repeat.
    """
    lists = [field.name for field in schema if pa.types.is_list(field.type)]
    texts = [
        field.name
        for field in schema
        if pa.types.is_string(field.type) and field.name != "md5"
    ]
    whole = [
        field.name
        for field in schema
        if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type)
    ]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        # What differs in each row has no use of it.
        use_dictionary=[*texts, *(f"{name}.list.element" for name in lists)],
        dictionary_pagesize_limit=_DICTIONARY,
        # A fifteenth off the file, and quicker to compress.
        column_encoding=dict.fromkeys(whole, "DELTA_BINARY_PACKED"),
        write_statistics=[
            name for name in schema.names if name not in lists
        ],  # of names: no use, and slow
    )


def _ahead(things: Generator[_T, None, None]) -> Generator[_T, None, None]:
    """Yields the things, making the next ones in a thread while the caller is busy with the last."""
    with closing(things), ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(next, things, _END) for _ in range(_AHEAD))
        while (thing := coming.popleft().result()) is not _END:
            coming.append(thread.submit(next, things, _END))
            yield thing


class _Rejections:
    """The records of one export that could not be read.

    The parser adds to it, and who converts what it parsed.
    """

    def __init__(self, export: str) -> None:
        self.export = export
        # By the parser: their row is their place in the export
        self._skipped: Rejected = []
        # By the converter: their row is their place among those that were parsed
        self._wrong: Rejected = []
        self._doubled: Rejected = []

    def skip(self, bad: pa_csv.InvalidRow) -> str:
        """Notes a record with too few or too many columns.

        Tells pyarrow to go on, or to stop after too many.
        """
        reason = f"{bad.actual_columns} columns instead of {bad.expected_columns}"
        self._skipped.append(self._row(bad.number or 0, reason, bad.text or ""))
        return (
            "skip" if len(self._skipped) <= MOST_REJECTED else "error"
        )  # what is raised here would be printed

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
                    f"more than {MOST_REJECTED:,} records of the export {self.export} "
                    "cannot be read, first row "
                    f"{rows[0]['row']}: {rows[0]['reason']} "
                    f"({rows[0]['value'][:60]!r}). Nothing was written. "
                    "The site changed its exports: this version of e6tag cannot read "
                    "them."
                )

    def _row(self, row: int, reason: str, value: str) -> dict[str, Any]:
        return {
            "export": self.export,
            "row": row,
            "reason": reason,
            "value": value[:200],
        }

    def rows(self) -> Rejected:
        """Returns all in the order of the export."""
        skipped = np.sort(np.array([row["row"] for row in self._skipped], np.int64))
        before = skipped - np.arange(
            1, len(skipped) + 1
        )  # records parsed before each one that was skipped
        moved = [
            {**row, "row": row["row"] + int(np.searchsorted(before, row["row"]))}
            for row in self._wrong
        ]
        return (
            sorted([*self._skipped, *moved], key=lambda row: row["row"]) + self._doubled
        )


def _put_in_order(path: Path, key: str, schema: pa.Schema, found: _Rejections) -> None:
    """Sorts a table whose export was not ordered by id.

    Of records with one id the last is kept, as on the site.

    Holds the ids and one row group of output. Reads a row group once for each part of
    the output that takes rows from it: twice or so where few records are misplaced, but
    all of them each time where six million are shuffled.
    """
    ids = parquet.read(path, [key]).with_row_index("at")
    for value in ids.filter(pl.col(key).is_duplicated())[key].unique().sort():
        found.doubled(value)
    order = ids.unique(key, keep="last").sort(key)["at"].to_numpy()
    with (
        pq.ParquetFile(path) as unordered,
        files.open_atomic(path) as temporary,
        writer(temporary, schema) as file,
    ):
        sizes = [
            unordered.metadata.row_group(group).num_rows
            for group in range(unordered.num_row_groups)
        ]
        starts = np.cumsum([0, *sizes])
        for at in range(0, len(order), parquet.ROW_GROUP):
            rows = order[at : at + parquet.ROW_GROUP]
            groups = np.searchsorted(starts, rows, side="right") - 1
            taken = [
                unordered.read_row_group(group).take(
                    rows[groups == group] - starts[group]
                )
                for group in np.unique(groups)
            ]
            file.write_table(pa.concat_tables(taken).sort_by(key).cast(schema))


def _typed(
    way: _ParseMode,
    parsed: Generator[pa.Table, None, None],
    columns: tuple[Column, ...],
    found: _Rejections,
    schema: pa.Schema,
) -> Generator[pa.Table, None, None]:
    """Yields the good records as tables of the schema, noting the others."""
    row = 0
    with closing(parsed):
        for records in parsed:
            table = None if way.is_by_text else _spotless(records, columns)
            if table is None:
                table = _judged(way, pl.DataFrame(records), columns, found, row)
            row += len(records)
            yield parquet.cast(table, schema)


def _spotless(records: pa.Table, columns: tuple[Column, ...]) -> pa.Table | None:
    """Returns the records with their values, if all of them are good."""
    taken = []
    for one in columns:
        values = records[one.source]
        if one.required and values.null_count:
            return None
        if one.quick is not None:
            values = one.quick(values)
        if values is None:
            return None
        taken.append(values)
    return pa.Table.from_arrays(taken, [one.name for one in columns])


def _judged(
    way: _ParseMode,
    records: pl.DataFrame,
    columns: tuple[Column, ...],
    found: _Rejections,
    before: int,
) -> pl.DataFrame:
    """Returns the good records with their values, noting the others.

    before: records that were parsed before these.
    """
    texts = {
        one.source: one.kind
        for one in columns
        if way.is_by_text and one.kind != pa.string()
    }
    read = records.with_columns(
        _from_text(source, kind) for source, kind in texts.items()
    )
    typed = read.select(
        (pl.col(one.source) if one.value is None else one.value).alias(one.name)
        for one in columns
    ).with_columns(
        reason=pl.coalesce(
            pl.when(pl.col(one.name).is_null()).then(
                pl.lit(f"{one.source} is missing or not valid")
            )
            for one in columns
            if one.required
        )
    )
    for at, why in (
        typed.select(pl.int_range(pl.len()), "reason")
        .filter(pl.col("reason").is_not_null())
        .rows()
    ):
        record = records.row(at, named=True)
        found.wrong(
            before + at + 1, why, f"id {record['id']}: {record[why.split(' ', 1)[0]]!r}"
        )
    return typed.filter(pl.col("reason").is_null())


def _from_text(source: str, kind: pa.DataType) -> pl.Expr:
    """Returns a column of texts as values of a kind, null where a text is none."""
    if pa.types.is_boolean(kind):
        text = pl.col(source)
        return (
            pl.when(text == "t")
            .then(statement=True)
            .when(text == "f")
            .then(statement=False)
            .alias(source)
        )
    return pl.col(source).cast(
        pl.Schema(pa.schema([(source, kind)]))[source], strict=False
    )


def _parsed(
    way: _ParseMode,
    export: str,
    source: Path,
    columns: tuple[Column, ...],
    found: _Rejections,
) -> Generator[pa.Table, None, None]:
    """Yields the wanted columns, of the kind that the way has them.

    NULL is null, "" of a text is empty.
    """
    kinds = {one.source: pa.string() if way.is_by_text else one.kind for one in columns}
    row = 0
    try:
        with _Inflating(export, source) as file:
            header = file.readline(_LONGEST_HEADER)  # type: ignore[no-untyped-call]
            names = next(csv.reader([header.decode("utf-8-sig")]), [])
            if missing := [name for name in kinds if name not in names]:
                raise BadExport(
                    f"the export {export} has no column {', '.join(missing)} (it has "
                    f"{', '.join(names)[:500]}). "
                    "Nothing was written. The site changed its exports: this version "
                    "of e6tag cannot read them."
                )
            for table in _tables(way.block, file, names, kinds, found):
                row += len(table)
                yield table
            if file.quotes % 2:
                raise ValueError(
                    "a quote is never closed, so that no record after it can be trusted"
                )
    except (
        pa.ArrowException,
        OSError,
        EOFError,
        zlib.error,
        _ISAL,
        csv.Error,
        ValueError,
    ) as error:
        if (other := way.other(error)) is not None:
            raise other from error
        found.judge()
        raise BadExport(
            f"the export {export} cannot be read after record {row:,}: "
            f"{_explained(error)}. Nothing was written. "
            "Run e6tag refresh when the site has made a new one."
        ) from error


class _Inflating(igzip.IGzipFile):
    """A gzip export of one or more members, as it inflates.

    With zlib, 4 times slower, all else would wait for it.
    """

    def __init__(self, export: str, source: Path) -> None:
        super().__init__(source, "rb")  # type: ignore[no-untyped-call]
        self._export, self._inflated = export, 0
        self.is_read_ahead = False  # by pyarrow, in a thread of its own
        self._is_over, self._told_end, self._is_idle = (
            False,
            threading.Event(),
            threading.Event(),
        )
        # PostgreSQL writes them in pairs: an odd number is a field that does not end
        # where it should
        self.quotes = 0
        self._most = max(ALWAYS_INFLATED, MOST_INFLATED * source.stat().st_size)

    def read(self, size: int | None = -1) -> bytes:
        """As of any file; raises BadExport where the export inflates without end."""
        self._is_idle.clear()
        try:
            return self._read(size)
        finally:
            self._is_idle.set()

    def _read(self, size: int | None) -> bytes:
        piece: bytes = b"" if self._is_over else super().read(size)
        if not piece:
            self._told_end.set()  # last of all: who waits for it may end Python
            return piece
        self._inflated += len(piece)
        # By Polars in a sixth of the time of bytes.count.
        self.quotes += int((pl.Series(np.frombuffer(piece, np.uint8)) == _QUOTE).sum())
        if self._inflated > self._most:
            raise BadExport(
                f"the export {self._export} inflates to more than {MOST_INFLATED} "
                "times its size (stopped at "
                f"{self._inflated / 1e6:,.0f} MB): no table of the site does. Nothing "
                "was written. Run e6tag refresh "
                "when the site has made a new one."
            )
        return piece

    def close(self) -> None:
        """Tells a reader that is ahead the end and waits until it heard.

        One that reads on while Python ends aborts.
        """
        is_cut_short = self.is_read_ahead and not self._told_end.is_set()
        self._is_over = True
        if is_cut_short:
            self._is_idle.wait(_LONGEST_READ)
            self._told_end.wait(
                _NEXT_READ
            )  # in vain where it is as far ahead as it goes, and reads no more
            time.sleep(_LEAVING)
        super().close()


def _tables(
    block: int,
    file: _Inflating,
    names: list[str],
    kinds: dict[str, pa.DataType],
    found: _Rejections,
) -> Iterator[pa.Table]:
    """Yields CHUNK or a few more parsed records at a time.

    Of each the wanted columns, in that order.
    """
    if not file.peek(1):
        return
    file.is_read_ahead = True
    batches = pa_csv.open_csv(
        file,
        # Records are numbered only where one thread parses; the blocks are inflated in
        # another.
        read_options=pa_csv.ReadOptions(
            block_size=block, use_threads=False, column_names=names
        ),
        parse_options=pa_csv.ParseOptions(
            newlines_in_values=True, invalid_row_handler=found.skip
        ),
        convert_options=pa_csv.ConvertOptions(
            include_columns=list(kinds),
            column_types=kinds,
            null_values=[""],
            true_values=["t"],
            false_values=["f"],
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
        return (
            f"a record is longer than {LONGEST >> 20} MiB, or a quote is never closed"
        )
    return what
