"""Computes labels again from the snapshot's tags; compares them with the sample."""

from collections.abc import Iterator

import polars as pl

from pipeline.validate import tag_closure
from pipeline.validate.checks import Check, no_violations
from pipeline.validate.policy_checks import Relations
from pipeline.validate.violations import Violations, violations


def checks(
    posts: pl.LazyFrame,
    source: pl.LazyFrame,
    vocabulary: pl.DataFrame,
    relations: Relations,
    checked: int,
) -> Iterator[Check]:
    """Checks label_ids and explicit_label_ids of the sampled posts.

    posts: schemas.SAMPLED_POSTS; source: the posts of the snapshot with the same ids;
    vocabulary: label_id, name; checked: the number of sampled posts.
    """
    names = tag_closure.names_of_labels(
        vocabulary, relations.aliases, relations.implications
    )
    computed = _computed_labels(source, names)
    all_labels = computed.select("post_id", "label_id")
    found = _differences(posts, "label_ids", all_labels, checked)
    description = (
        "labels are what the post's tags, aliases and implications lead to, "
        "computed again"
    )
    yield no_violations("labels_differ", description, found)

    given = computed.filter("given").select("post_id", "label_id")
    found = _differences(posts, "explicit_label_ids", given, checked)
    description = (
        "ids as given are what the post's tags and aliases lead to, computed again"
    )
    yield no_violations("explicit_label_ids_differ", description, found)


def _computed_labels(source: pl.LazyFrame, names: pl.DataFrame) -> pl.LazyFrame:
    """Returns post_id, label_id, given of every label that a post must have."""
    tags = source.select("post_id", name="tags").explode("name")
    labels = tags.join(names.lazy(), on="name").group_by("post_id", "label_id")
    return labels.agg(pl.col("given").any())


def _differences(
    posts: pl.LazyFrame, column: str, wanted: pl.LazyFrame, checked: int
) -> Violations:
    """Counts labels that a post lacks, or has without a tag that yields them.

    column: label_ids or explicit_label_ids; wanted: post_id, label_id.
    """
    keys = ["post_id", "label_id"]
    held = posts.select("post_id", label_id=column).explode("label_id").drop_nulls()
    missing = wanted.join(held, on=keys, how="anti")
    missing = missing.with_columns(label=pl.lit("missing"))
    extra = held.join(wanted, on=keys, how="anti")
    extra = extra.with_columns(label=pl.lit("without a tag"))
    return violations(pl.concat([missing, extra]), checked)
