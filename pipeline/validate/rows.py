"""Reads Parquet files chunk by chunk for their row-local rules, so that memory is flat in rows.

Of every file only the columns that its suite names are read, besides those that tell which row is meant. A column named
`labels:max` in a suite is a fact about the list column `labels`, computed here: Great Expectations knows no lists.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import parquet
from pipeline.validate.gx_runner import IDENTITY

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

CHUNK = 200_000  # rows judged at once; 20 columns of that are 100 MB as pandas

FACTS: Mapping[str, Callable[[str], pl.Expr]] = {
    "length": lambda name: pl.col(name).list.len().cast(pl.Int64),
    "min": lambda name: pl.col(name).list.min(),
    "max": lambda name: pl.col(name).list.max(),
    "ascending": lambda name: (
        pl.col(name).list.diff(null_behavior="drop").list.min().fill_null(1) > 0
    ),
    "unique": lambda name: pl.col(name).list.n_unique() == pl.col(name).list.len(),
    "blank": lambda name: (
        pl.col(name)
        .list.eval(pl.element().str.contains(r"^$|\s"))
        .list.sum()
        .fill_null(0)
        .cast(pl.Int64)
    ),
    "undefined": lambda name: (
        pl.col(name)
        .list.eval(~pl.element().is_finite())
        .list.sum()
        .fill_null(0)
        .cast(pl.Int64)
    ),
    "foreign": lambda name: (
        pl.col(name).list.set_difference(pl.col("label_ids")).list.len().cast(pl.Int64)
    ),
}
"""Facts about a list column, by the word after the colon."""


def chunks(
    path: Path, expectations: "list[Expectation]", size: int | None = None
) -> Iterator[pl.DataFrame]:
    """Yields the columns that the expectations name, with the facts computed; at least one chunk, even without rows."""
    names = list(
        dict.fromkeys(
            name for expectation in expectations for name in _columns(expectation)
        )
    )
    try:
        with pq.ParquetFile(path) as file:
            declared = file.schema_arrow.names
            bases = {name.partition(":")[0] for name in names} | (
                {"label_ids"} if any(n.endswith(":foreign") for n in names) else set()
            )
            wanted = [name for name in declared if name in bases or name in IDENTITY]
            kept = [
                name for name in declared if name in IDENTITY and name not in names
            ] + names
            empty = True
            for batch in file.iter_batches(batch_size=size or CHUNK, columns=wanted):
                empty = False
                yield _project(pa.Table.from_batches([batch]), kept)
            if empty:
                yield _project(file.schema_arrow.empty_table().select(wanted), kept)
    except (pa.ArrowInvalid, OSError) as error:
        raise parquet.corrupt_file_error(path, error) from error


def _columns(expectation: "Expectation") -> list[str]:
    given = expectation.configuration.kwargs
    return [given[key] for key in ("column", "column_A", "column_B") if given.get(key)]


def _project(table: pa.Table, names: list[str]) -> pl.DataFrame:
    frame = pl.DataFrame(pl.from_arrow(table))
    facts = [
        FACTS[name.partition(":")[2]](name.partition(":")[0]).alias(name)
        for name in names
        if ":" in name
    ]
    return frame.with_columns(facts).select(names)
