"""Measures the global rules of a dataset with Polars: small tables that Great Expectations then judges.

A rule that takes more than one row to see becomes a `Finding`: how many rows were looked at, how many break the rule,
and the first few of those. Everything is lazy and streamed, so that memory follows what is found, not what is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.params import Params
from pipeline.paths import Paths

FINDINGS = "findings"
"""The table with a column per rule that takes more than one row or file to see."""

SHOWN = (
    20  # offending rows kept per rule: five are printed, all of them stand on the page
)


@dataclass(frozen=True, slots=True)
class Violations:
    """Rows that break one rule."""

    checked: int
    count: int
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was measured: `tables` by name, and the findings, which are one more table with a column each."""

    findings: Mapping[str, Violations] = field(default_factory=dict)
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    def frames(self) -> dict[str, pl.DataFrame]:
        """Returns all tables, the findings as one row of counts."""
        counts = {name: [finding.count] for name, finding in self.findings.items()}
        return {**({FINDINGS: pl.DataFrame(counts)} if counts else {}), **self.tables}


def measure(dataset: str, params: Params, paths: Paths) -> Measurements:
    """Measures one dataset. Its files and those beside it must be as declared (`files.states`)."""
    from pipeline.validate import products, tables

    measures = {
        "snapshot": tables.snapshot,
        "sample": tables.sample,
        "manifest": tables.manifest,
        "shards": products.shards,
        "evaluation": products.evaluation,
        "bundle": products.bundle,
    }
    return measures[dataset](params, paths)


def violations(rows: pl.LazyFrame | pl.DataFrame, checked: int) -> Violations:
    """Returns the finding that these rows break a rule; the first few in the order of their columns are kept."""
    lazy = rows.lazy()
    columns = [
        name
        for name, kind in lazy.collect_schema().items()
        if not isinstance(kind, pl.List)
    ]
    count, shown = pl.collect_all(
        [lazy.select(pl.len()), lazy.sort(columns).head(SHOWN)], engine="streaming"
    )
    return Violations(checked, int(count.item()), shown.to_dicts())


def duplicates(rows: pl.LazyFrame, key: str, shown: str, checked: int) -> Violations:
    """Returns the values of `key` that stand in more than one row, with two of the values of `shown`."""
    twice = rows.group_by(key).agg(
        pl.len().alias("times"),
        pl.col(shown).min().alias(f"first_{shown}"),
        pl.col(shown).max().alias(f"last_{shown}"),
    )
    return violations(twice.filter(pl.col("times") > 1), checked)


def in_several_splits(rows: pl.LazyFrame, key: str, checked: int) -> Violations:
    """Returns the values of `key` that stand in more than one split, with the splits and two of the posts."""
    spread = rows.group_by(key).agg(
        pl.col("split").unique().sort().str.join(" and ").alias("splits"),
        pl.col("split").n_unique().alias("count"),
        pl.col("post_id").min().alias("first_post_id"),
        pl.col("post_id").max().alias("last_post_id"),
    )
    return violations(spread.filter(pl.col("count") > 1).drop("count"), checked)


def out_of_order(rows: pl.LazyFrame, key: str, checked: int) -> Violations:
    """Returns the rows that do not come after the one before them."""
    after = rows.select(key, previous=pl.col(key).shift()).filter(
        pl.col(key) <= pl.col("previous")
    )
    return violations(after, checked)
