"""Counts the positives of every tag in every split."""

import polars as pl

COUNTED_SPLITS = ("train", "validation", "test")
"""Splits for which a number of positives is promised; `fresh` has no promise."""


def count_positives(posts: pl.LazyFrame) -> pl.DataFrame:
    """Returns label_id and its number of posts in each counted split, unordered.

    posts: split, label_ids.
    """
    labels = posts.select("split", label_id="label_ids").explode("label_id")
    counts = []
    for split in COUNTED_SPLITS:
        is_in_split = pl.col("split") == split
        counts.append(is_in_split.sum().cast(pl.Int64).alias(split))
    counted = labels.drop_nulls().group_by("label_id").agg(counts)
    return counted.collect(engine="streaming")


def rename_splits(counted: pl.DataFrame, pattern: str) -> pl.DataFrame:
    """Renames the columns of splits; `{}` in the pattern stands for the split."""
    names = {split: pattern.format(split) for split in COUNTED_SPLITS}
    return counted.rename(names)


def with_counts(tags: pl.DataFrame, counted: pl.DataFrame) -> pl.DataFrame:
    """Joins counts to tags by label_id; a tag that was not counted has 0.

    Returns the tags ordered by label_id, with all counts as int64.
    """
    joined = tags.join(counted, on="label_id", how="left").sort("label_id")
    numbers = pl.exclude("label_id", "name")
    return joined.with_columns(numbers.fill_null(0).cast(pl.Int64))
