"""Counts the rows that break a rule which takes more than one row or file to check.

Everything is lazy and streamed, so that memory grows with the rows found and not with
the rows read.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

Row = dict[str, Any]
"""A row of a table, by its columns; of files, what is wrong with one."""

SAMPLES = 20
"""Offending rows kept per rule: five are printed, all of them are on the page."""


@dataclass(frozen=True, slots=True)
class Violations:
    """The rows that break one rule."""

    checked: int
    count: int
    rows: list[Row]  # the first SAMPLES of them


NONE = Violations(0, 0, [])
"""The result of a rule that does not apply."""


def violations(rows: pl.LazyFrame | pl.DataFrame, checked: int) -> Violations:
    """Counts rows that break a rule; keeps the first few in the order of their columns.

    checked: the number of rows that were compared with the rule.
    """
    lazy = rows.lazy()
    sortable = []
    for name, kind in lazy.collect_schema().items():
        if not isinstance(kind, pl.List):
            sortable.append(name)
    total = lazy.select(pl.len())
    first = lazy.sort(sortable).head(SAMPLES)
    count, samples = pl.collect_all([total, first], engine="streaming")
    return Violations(checked, int(count.item()), samples.to_dicts())


def listed(rows: list[dict[str, Any]], checked: int) -> Violations:
    """Counts rows that were found without Polars."""
    return Violations(checked, len(rows), rows[:SAMPLES])


def duplicates(rows: pl.LazyFrame, key: str, sample: str, checked: int) -> Violations:
    """Counts the values of `key` that occur in more than one row.

    sample: a column of which the lowest and the highest value are shown.
    """
    repeated = rows.group_by(key).agg(
        pl.len().alias("times"),
        pl.col(sample).min().alias(f"first_{sample}"),
        pl.col(sample).max().alias(f"last_{sample}"),
    )
    return violations(repeated.filter(pl.col("times") > 1), checked)


def in_several_splits(rows: pl.LazyFrame, key: str, checked: int) -> Violations:
    """Counts the values of `key` that occur in more than one split.

    The splits and two of the posts are shown. rows: key, split, post_id.
    """
    split = pl.col("split")
    per_key = rows.group_by(key).agg(
        split.unique().sort().str.join(" and ").alias("splits"),
        split.n_unique().alias("count"),
        pl.col("post_id").min().alias("first_post_id"),
        pl.col("post_id").max().alias("last_post_id"),
    )
    return violations(per_key.filter(pl.col("count") > 1).drop("count"), checked)


def with_previous(rows: pl.LazyFrame, key: str, *columns: str) -> pl.LazyFrame:
    """Returns the columns and the key with the key of the row before, `previous`."""
    return rows.select(*columns, key, previous=pl.col(key).shift())


def out_of_order(rows: pl.LazyFrame, key: str, checked: int) -> Violations:
    """Counts the rows whose key is not greater than the key of the row before."""
    pairs = with_previous(rows, key)
    return violations(pairs.filter(pl.col(key) <= pl.col("previous")), checked)
