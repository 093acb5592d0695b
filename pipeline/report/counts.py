"""Counts that several sections show."""

import polars as pl

from pipeline.paths import SPLITS
from pipeline.report.inputs import Inputs


def snapshot_posts(inputs: Inputs) -> int:
    """Returns how many posts the snapshot holds, as its gate counted them."""
    rows = inputs.verdicts["snapshot"]["rows"]
    return int(rows.get("posts.parquet", 0))


def records(inputs: Inputs) -> dict[str, int]:
    """Returns the records in each split's shards, without splits that have none."""
    sums = inputs.shards.group_by("split").agg(pl.col("records").sum())
    by_split = dict(sums.iter_rows())
    return {split: by_split[split] for split in SPLITS if by_split.get(split)}


def excluded_posts(inputs: Inputs) -> dict[str, int]:
    """Returns the posts of the snapshot that are not candidates, by reason."""
    return dict(inputs.excluded_posts.iter_rows())


def humanize(reason: str) -> str:
    """Returns a reason as words: not_found is 'not found'."""
    return reason.replace("_", " ")
