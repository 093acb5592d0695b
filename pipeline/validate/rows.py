"""Reads Parquet files chunk by chunk, so that memory does not grow with their rows.

Of every file only the columns that its checks name are read, and those that identify a
row. A column named `labels:max` in a check is a fact about the list column `labels`,
computed here: Great Expectations does not know lists.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import parquet
from pipeline.validate.checks import Check

CHUNK = 200_000  # rows checked at once; 20 columns of that are 100 MB as pandas

IDENTITY = (
    "post_id",
    "md5",
    "label_id",
    "tag_id",
    "relation_id",
    "name",
    "shard",
    "split",
    "export",
    "row",
    "file",
    "metric",
)
"""Columns that identify a row: those that a table has are shown beside the value."""


def _length(name: str) -> pl.Expr:
    return pl.col(name).list.len().cast(pl.Int64)


def _min(name: str) -> pl.Expr:
    return pl.col(name).list.min()


def _max(name: str) -> pl.Expr:
    return pl.col(name).list.max()


def _ascending(name: str) -> pl.Expr:
    steps = pl.col(name).list.diff(null_behavior="drop")
    return steps.list.min().fill_null(1) > 0


def _unique(name: str) -> pl.Expr:
    column = pl.col(name)
    return column.list.n_unique() == column.list.len()


def _blank(name: str) -> pl.Expr:
    is_blank = pl.element().str.contains("^$| ")
    return _count(name, is_blank)


def _undefined(name: str) -> pl.Expr:
    return _count(name, ~pl.element().is_finite())


def _foreign(name: str) -> pl.Expr:
    others = pl.col(name).list.set_difference(pl.col("label_ids"))
    return others.list.len().cast(pl.Int64)


def _count(name: str, condition: pl.Expr) -> pl.Expr:
    """Counts the elements of a list for which the condition holds."""
    flags = pl.col(name).list.eval(condition)
    return flags.list.sum().fill_null(0).cast(pl.Int64)


FACTS: Mapping[str, Callable[[str], pl.Expr]] = {
    "length": _length,
    "min": _min,
    "max": _max,
    "ascending": _ascending,
    "unique": _unique,
    "blank": _blank,
    "undefined": _undefined,
    "foreign": _foreign,
}
"""Facts about a list column, by the word after the colon."""


def chunks(
    path: Path, checks: list[Check], size: int | None = None
) -> Iterator[pl.DataFrame]:
    """Yields the columns that the checks name, with facts about lists computed.

    Yields at least one chunk, also of a file without rows. size: rows in a chunk.
    Raises CorruptFile.
    """
    checked = _checked_columns(checks)
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            stored = _stored_columns(checked, schema.names)
            shown = _identity_columns(checked, schema.names) + checked
            is_empty = True
            for batch in file.iter_batches(size or CHUNK, columns=stored):
                is_empty = False
                yield _select(pa.Table.from_batches([batch]), shown)
            if is_empty:
                yield _select(schema.empty_table().select(stored), shown)
    except (pa.ArrowInvalid, OSError) as error:
        raise parquet.corrupt_file_error(path, error) from error


def _checked_columns(checks: list[Check]) -> list[str]:
    """Returns the names of all columns and facts that are checked, each once."""
    names: dict[str, None] = {}
    for check in checks:
        names |= dict.fromkeys(check.columns)
    return list(names)


def _stored_columns(checked: list[str], declared: list[str]) -> list[str]:
    """Returns the columns of the file that must be read."""
    needed = set(IDENTITY)
    for name in checked:
        column, _, fact = name.partition(":")
        needed.add(column)
        if fact == "foreign":
            needed.add("label_ids")
    return [name for name in declared if name in needed]


def _identity_columns(checked: list[str], declared: list[str]) -> list[str]:
    """Returns the columns of the file that identify a row and are not checked."""
    identifying = set(IDENTITY) - set(checked)
    return [name for name in declared if name in identifying]


def _select(table: pa.Table, names: list[str]) -> pl.DataFrame:
    """Returns the columns of these names; those with a colon are computed."""
    frame = pl.DataFrame(pl.from_arrow(table))
    facts = []
    for name in names:
        column, _, fact = name.partition(":")
        if fact:
            facts.append(FACTS[fact](column).alias(name))
    return frame.with_columns(facts).select(names)
