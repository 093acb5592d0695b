"""Reads the CSV exports into the snapshot's tables, chunk by chunk.

A record that cannot be read is not lost silently: it is returned as a row of
schemas.SNAPSHOT_REJECTED. A chunk in which every value is good takes the fast path of
each column; any other chunk goes through the columns' Polars expressions.
"""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import files, parquet, progress
from pipeline.harvest import csv_columns, csv_parser, snapshot_table
from pipeline.harvest.csv_columns import Column
from pipeline.harvest.csv_parser import ParseMode, RetryWithMode
from pipeline.harvest.csv_rejections import Rejected, Rejections
from pipeline.schemas.snapshot import POSTS, RELATIONS, TAGS, UNKNOWN_TAGS

# Chunks. With one, the step that is fastest at the moment waits for the slowest.
_AHEAD = 2

_T = TypeVar("_T")
_END: Any = object()


def write_posts(source: Path, target: Path) -> Rejected:
    """Writes posts.parquet; returns the records that could not be read."""
    return _write("posts", source, target, csv_columns.POSTS, POSTS)


def write_tags(source: Path, target: Path) -> Rejected:
    """Writes tags.parquet; returns the records that could not be read."""
    return _write("tags", source, target, csv_columns.TAGS, TAGS)


def write_relations(export: str, source: Path, target: Path) -> Rejected:
    """Writes aliases.parquet or implications.parquet.

    Returns the records that could not be read.
    """
    return _write(export, source, target, csv_columns.RELATIONS, RELATIONS)


def write_unknown_tags(folder: Path) -> None:
    """Writes unknown_tags.parquet from the posts and tags in the folder.

    Logs how many unknown tags there are, if any.
    """
    unknown = unknown_tags(folder / "posts.parquet", folder / "tags.parquet")
    parquet.write(folder / "unknown_tags.parquet", unknown, UNKNOWN_TAGS)
    if unknown.is_empty():
        return
    most_used = unknown.sort("posts", "name", descending=[True, False])
    first = most_used.row(0, named=True)
    progress.log(
        f"{unknown.height:,} tag names of posts are not in the table of tags, "
        "which is of another moment, first "
        f"{first['name']!r} on {first['posts']:,} posts. They are kept, and listed "
        "in unknown_tags.parquet."
    )


def unknown_tags(posts: Path, tags: Path) -> pl.DataFrame:
    """Returns schemas.UNKNOWN_TAGS: names on posts that tags.parquet does not list."""
    # Counted first and looked up after: the 240 million names of six million posts are
    # hashed once and never held.
    names = pl.col("tags").explode(empty_as_null=False)
    counted = (
        pl.scan_parquet(posts)
        .select(name=names)
        .group_by("name")
        .agg(posts=pl.len().cast(pl.Int64))
    )
    listed = pl.scan_parquet(tags).select("name")
    unknown = counted.join(listed, on="name", how="anti")
    return unknown.sort("name").collect(engine="streaming")


def _write(
    export: str,
    source: Path,
    target: Path,
    columns: tuple[Column, ...],
    schema: pa.Schema,
) -> Rejected:
    mode = ParseMode()
    while True:
        try:
            return _write_in_mode(mode, export, source, target, columns, schema)
        except RetryWithMode as retry:
            progress.log(f"the export {export} is read once more: {retry}.")
            # The retry is outside this clause: in here the error holds the memory of
            # the first try.
            mode = retry.mode


def _write_in_mode(
    mode: ParseMode,
    export: str,
    source: Path,
    target: Path,
    columns: tuple[Column, ...],
    schema: pa.Schema,
) -> Rejected:
    """Inflates, parses and converts, and writes at once, some chunks ahead each.

    Two cores are busy with that. With one more thread, for parsing alone, the threads
    wait for each other and are slower.
    """
    key = columns[0].name
    found = Rejections(export)
    parsed = csv_parser.parse(mode, export, source, columns, found)
    converted = _converted(mode, parsed, columns, found, schema)
    last_id: int | None = None
    is_ordered = True
    with (
        files.open_atomic(target) as temporary,
        snapshot_table.writer(temporary, schema) as file,
        progress.meter(export, unit="records") as meter,
        closing(_ahead(converted)) as tables,
    ):
        for table in tables:
            # Not pyarrow's own to_numpy, which imports pandas: a second of CPU time.
            ids = pl.Series(table[key]).to_numpy()
            if len(ids) == 0:
                continue
            is_ordered = is_ordered and _follow(last_id, ids)
            last_id = ids[-1]
            file.write_table(table)
            meter.advance(len(ids))
    if not is_ordered:
        snapshot_table.sort_by_key(target, key, schema, found)
    return found.rows()


def _follow(last_id: int | None, ids: np.ndarray) -> bool:
    """Returns whether the ids ascend, each one once, from after `last_id` on."""
    if last_id is not None and ids[0] <= last_id:
        return False
    return bool((np.diff(ids) > 0).all())


def _ahead(items: Generator[_T, None, None]) -> Generator[_T, None, None]:
    """Yields the items, making the next ones in a thread while the caller is busy."""
    with closing(items), ThreadPoolExecutor(1) as thread:
        pending = deque(thread.submit(next, items, _END) for _ in range(_AHEAD))
        while True:
            item = pending.popleft().result()
            if item is _END:
                return
            pending.append(thread.submit(next, items, _END))
            yield item


def _converted(
    mode: ParseMode,
    parsed: Generator[pa.Table, None, None],
    columns: tuple[Column, ...],
    found: Rejections,
    schema: pa.Schema,
) -> Generator[pa.Table, None, None]:
    """Yields the good records as tables of the schema; adds the others to `found`."""
    before = 0
    with closing(parsed):
        for records in parsed:
            table = None
            if not mode.is_by_text:
                table = _convert_good(records, columns)
            if table is None:
                frame = pl.DataFrame(records)
                table = _convert_each(mode, frame, columns, found, before)
            before += len(records)
            yield parquet.cast(table, schema)


def _convert_good(records: pa.Table, columns: tuple[Column, ...]) -> pa.Table | None:
    """Returns the converted records if all of them are good (the fast path)."""
    converted = []
    for column in columns:
        values = records[column.source]
        if column.required and values.null_count and not _may_lack(records, column):
            return None
        if column.quick is not None:
            values = column.quick(values)
        if values is None:
            return None
        converted.append(values)
    names = [column.name for column in columns]
    return pa.Table.from_arrays(converted, names)


def _may_lack(records: pa.Table, column: Column) -> bool:
    """Returns whether all records without a value of the column may lack it."""
    if column.optional_if is None:
        return False
    is_null = pc.is_null(records[column.source])
    flags = records[column.optional_if].filter(is_null)
    return bool(pc.all(flags, skip_nulls=False).as_py())


def _convert_each(
    mode: ParseMode,
    records: pl.DataFrame,
    columns: tuple[Column, ...],
    found: Rejections,
    before: int,
) -> pl.DataFrame:
    """Returns the good records, converted; adds the others to `found` (the slow path).

    before: number of records that were parsed before these.
    """
    typed = records
    if mode.is_by_text:
        typed = _from_texts(records, columns)
    checked = _checked(typed, columns)
    is_bad = checked["reason"].is_not_null()
    for at in is_bad.arg_true():
        reason = checked["reason"][at]
        record = records.row(at, named=True)
        source = reason.split(" ", 1)[0]
        value = f"id {record['id']}: {record[source]!r}"
        found.add_invalid(before + at + 1, reason, value)
    return checked.filter(~is_bad)


def _checked(records: pl.DataFrame, columns: tuple[Column, ...]) -> pl.DataFrame:
    """Returns the values of the columns, and `reason`."""
    values = [column.expression for column in columns]
    table = records.select(*values, *_permitted_gaps(columns))
    return table.with_columns(reason=_reason(columns))


def _permitted_gaps(columns: tuple[Column, ...]) -> Iterator[pl.Expr]:
    """Yields for each column with `optional_if` whether its value may be null."""
    for column in columns:
        if column.optional_if is not None:
            is_empty = pl.col(column.source).fill_null("") == ""
            is_permitted = is_empty & pl.col(column.optional_if)
            yield is_permitted.alias(_gap(column))


def _gap(column: Column) -> str:
    return f"{column.name} may be null"


def _reason(columns: tuple[Column, ...]) -> pl.Expr:
    """Returns why a record is rejected, null for a good one."""
    reasons = []
    for column in columns:
        if not column.required:
            continue
        is_lacking = pl.col(column.name).is_null()
        if column.optional_if is not None:
            is_lacking &= ~pl.col(_gap(column))
        reason = pl.lit(f"{column.source} is missing or not valid")
        reasons.append(pl.when(is_lacking).then(reason))
    return pl.coalesce(reasons)


def _from_texts(records: pl.DataFrame, columns: tuple[Column, ...]) -> pl.DataFrame:
    """Returns records of texts with each source in the kind of its column."""
    kinds = {column.source: column.kind for column in columns}
    values = []
    for source, kind in kinds.items():
        if kind != pa.string():
            values.append(_from_text(source, kind))
    return records.with_columns(values)


def _from_text(source: str, kind: pa.DataType) -> pl.Expr:
    """Returns a column of texts as values of a kind, null where a text is none."""
    text = pl.col(source)
    if pa.types.is_boolean(kind):
        true = pl.when(text == "t").then(statement=True)
        return true.when(text == "f").then(statement=False).alias(source)
    dtype = pl.Schema(pa.schema([(source, kind)]))[source]
    return text.cast(dtype, strict=False)
