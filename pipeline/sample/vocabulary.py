"""The vocabulary: the commonest tags of the wanted categories that can be learnt and judged."""

from dataclasses import dataclass

import polars as pl

from pipeline.params import Sample
from pipeline.sample.labels import Relations
from pipeline.schemas import LeftOut

FILE_DERIVED = frozenset({
    "hi_res", "absurd_res", "superabsurd_res", "low_res", "thumbnail", "wide_image", "tall_image", "long_image",
    "huge_filesize", "long_playtime", "short_playtime", "animated_gif", "animated_png", "animated_webp", "video",
    "flash", "tagme",
})  # fmt: skip
"""Tags the site derives from the file, which a picture fitted to one size no longer shows (contract section 6)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen: schemas.VOCABULARY without positives, and schemas.LEFT_OUT."""

    vocabulary: pl.DataFrame
    left_out: pl.DataFrame


def choose(
    params: Sample, relations: Relations, tagged: pl.DataFrame, assigned: pl.DataFrame, refused: frozenset[str]
) -> Choice:
    """Returns the vocabulary by falling frequency among candidates, and every other wanted tag with its reason.

    tagged: post_id, name of candidates; assigned: post_id, split; refused: names that the policy forbids.
    """
    wanted = relations.tags.filter(pl.col("category").is_in(params.categories))
    counts = (
        tagged.join(assigned.select("post_id", "split"), on="post_id")
        .group_by("name")
        .agg(
            snapshot_posts=pl.len(),
            train_posts=(pl.col("split") == "train").sum(),
            validation_posts=(pl.col("split") == "validation").sum(),
            test_posts=(pl.col("split") == "test").sum(),
        )
    )
    table = wanted.join(counts, on="name", how="left").with_columns(
        pl.col("snapshot_posts", "train_posts", "validation_posts", "test_posts").fill_null(0).cast(pl.Int64)
    )
    table = table.sort(["snapshot_posts", "name"], descending=[True, False]).with_columns(
        reason=_reason(params, relations, refused)
    )
    rank = pl.col("reason").is_null().cum_sum()
    too_many = pl.col("reason").is_null() & (rank > params.vocabulary_size)
    table = table.with_columns(
        reason=pl.when(too_many).then(pl.lit(LeftOut.BEYOND_VOCABULARY_SIZE.value)).otherwise("reason")
    )
    vocabulary = (
        table.filter(pl.col("reason").is_null())
        .with_row_index("label_id")
        .with_columns(pl.col("label_id").cast(pl.Int32))
    )
    return Choice(
        vocabulary.select("label_id", "tag_id", "name", "category", "snapshot_posts"),
        table.filter(pl.col("reason").is_not_null()).select(
            "name", "category", "snapshot_posts", "train_posts", "reason"
        ),
    )


def with_positives(vocabulary: pl.DataFrame, picked: pl.DataFrame) -> pl.DataFrame:
    """Adds the positives of each split among the picked posts. picked: split, label_ids."""
    each = picked.select("split", label_id="label_ids").explode("label_id").drop_nulls()
    for split in ("train", "validation", "test"):
        counts = each.filter(pl.col("split") == split).group_by("label_id").agg(pl.len().alias(f"{split}_positives"))
        vocabulary = vocabulary.join(counts, on="label_id", how="left")
    return vocabulary.with_columns(pl.col("^.*_positives$").fill_null(0)).sort("label_id")


def _reason(params: Sample, relations: Relations, refused: frozenset[str]) -> pl.Expr:
    too_few_in_training = pl.col("train_posts") < params.min_positives
    too_few_to_judge = pl.min_horizontal("validation_posts", "test_posts") < params.min_eval_positives
    return (
        pl.when(pl.col("name").is_in(sorted(relations.canonical)))
        .then(pl.lit(LeftOut.ALIASED.value))
        .when(pl.col("name").is_in(relations.resolve(params.exclude_tags)))
        .then(pl.lit(LeftOut.EXCLUDED.value))
        .when(pl.col("name").is_in(sorted(refused)))
        .then(pl.lit(LeftOut.POLICY.value))
        .when(pl.col("name").is_in(sorted(FILE_DERIVED)))
        .then(pl.lit(LeftOut.FILE_DERIVED.value))
        .when(too_few_in_training)
        .then(pl.lit(LeftOut.TOO_FEW_POSITIVES.value))
        .when(too_few_to_judge)
        .then(pl.lit(LeftOut.TOO_FEW_EVALUATION_POSITIVES.value))
    )
