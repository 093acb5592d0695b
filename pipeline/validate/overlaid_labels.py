"""Compares the labels of the records with the sample's and the applied overlay.

Deliberately not the code of `pipeline/manifest/overlay.py`: what a row of the overlay
adds or removes is computed again, from the snapshot's relations.
"""

from collections.abc import Iterator

import polars as pl

from pipeline import parquet
from pipeline.paths import Paths
from pipeline.schemas.reasons import OverlayOutcome
from pipeline.validate import tag_closure
from pipeline.validate.checks import Check, no_violations
from pipeline.validate.policy_checks import Relations
from pipeline.validate.violations import violations

KEYS = ["post_id", "label_id"]


def checks(records: pl.LazyFrame, posts: pl.LazyFrame, paths: Paths) -> Iterator[Check]:
    """Checks the labels of the records. posts: schemas.SAMPLED_POSTS."""
    overlay = parquet.read(paths.manifest / "overlay.parquet")
    applied = overlay.filter(outcome=OverlayOutcome.APPLIED.value)
    added, removed = (applied.filter(action=action) for action in ("add", "remove"))
    implied = _implied(added, paths)
    counted = int(records.select(pl.len()).collect().item())

    found = _differences(records, posts, "label_ids", implied, removed)
    description = (
        "labels are those of the sample with the applied rows of data/overlay.csv and "
        "what these imply"
    )
    yield no_violations("labels_differ", description, violations(found, counted))

    # A label that is implied by none given any longer counts as given.
    found = _differences(records, posts, "explicit_label_ids", added, removed)
    is_missing = pl.col("label") == "missing"
    found = found.filter(is_missing | ~_is_touched(removed))
    description = (
        "ids as given are those of the sample with the applied rows of data/overlay.csv"
    )
    name = "explicit_labels_differ"
    yield no_violations(name, description, violations(found, counted))


def _is_touched(removed: pl.DataFrame) -> pl.Expr:
    """Returns whether a row of the overlay removed a label of the post."""
    return pl.col("post_id").is_in(removed["post_id"].implode())


def _implied(added: pl.DataFrame, paths: Paths) -> pl.DataFrame:
    """Returns the labels that were added and all that they imply: KEYS."""
    if added.is_empty():
        return added.select(KEYS)
    vocabulary = parquet.read(
        paths.sample / "vocabulary.parquet", columns=["label_id", "name"]
    )
    relations = Relations.read(paths)
    names = tag_closure.names_of_labels(
        vocabulary, relations.aliases, relations.implications
    )
    named = added.select(*KEYS).join(vocabulary, on="label_id")
    return named.drop("label_id").join(names, on="name").select(KEYS).unique()


def _differences(
    records: pl.LazyFrame,
    posts: pl.LazyFrame,
    column: str,
    added: pl.DataFrame,
    removed: pl.DataFrame,
) -> pl.LazyFrame:
    """Returns post_id, label_id and `label`: missing, or not expected.

    column: a list of label ids in records and posts.
    """
    ids = records.select("post_id")
    held = records.select("post_id", label_id=column).explode("label_id").drop_nulls()
    sampled = posts.join(ids, on="post_id", how="semi")
    wanted = sampled.select("post_id", label_id=column).explode("label_id").drop_nulls()
    if not added.is_empty():
        more = added.select(KEYS).lazy().join(ids, on="post_id", how="semi")
        wanted = pl.concat([wanted, more]).unique()
    wanted = wanted.join(removed.select(KEYS).lazy(), on=KEYS, how="anti")
    missing = wanted.join(held, on=KEYS, how="anti")
    extra = held.join(wanted, on=KEYS, how="anti")
    return pl.concat(
        [
            missing.with_columns(label=pl.lit("missing")),
            extra.with_columns(label=pl.lit("not expected")),
        ]
    )
