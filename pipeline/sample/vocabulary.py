"""The vocabulary: the commonest tags of the wanted categories that can be learnt and judged."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import BadParameter
from pipeline.params import Sample
from pipeline.sample.tag_graph import TagGraph
from pipeline.schemas.reasons import TagExclusion

FILE_DERIVED = frozenset({
    "hi_res", "absurd_res", "superabsurd_res", "low_res", "thumbnail", "wide_image",
    "tall_image", "long_image",
    "huge_filesize", "long_playtime", "short_playtime", "animated_gif", "animated_png",
    "animated_webp", "video",
    "flash", "tagme",
})  # fmt: skip
"""Tags the site derives from the file, which a picture fitted to one size no longer shows (contract section 6)."""

COUNTS = (
    "snapshot_posts",
    "candidate_posts",
    "train_posts",
    "validation_posts",
    "test_posts",
)


@dataclass(frozen=True, slots=True)
class VocabularyResult:
    """What was chosen: schemas.VOCABULARY without positives.

    And schemas.EXCLUDED_TAGS.
    """

    vocabulary: pl.DataFrame
    left_out: pl.DataFrame


def choose_vocabulary(
    params: Sample,
    relations: TagGraph,
    counts: NDArray[np.int64],
    names: "BlockedTags",
    listed: frozenset[str] | None,
) -> VocabularyResult:
    """Returns the vocabulary by falling frequency among candidates.

    And every other wanted tag with its reason.

    counts: [5, codes], posts with each tag, then those of them that are candidates,
    then the candidates in train, validation and test; listed: names of
    params.tags_file.
    """
    meant = None if listed is None else frozenset(relations.resolve(listed))
    table = relations.tags.with_columns(
        pl.Series(name, counts[row, : relations.tags.height])
        for row, name in enumerate(COUNTS)
    )
    asked = pl.col("category").is_in(params.categories)
    if listed is not None and meant is not None:
        asked |= pl.col("name").is_in(sorted(listed | meant))
    table = table.filter(asked).sort(
        ["candidate_posts", "name"], descending=[True, False]
    )
    table = table.with_columns(
        reason=_reason(params, relations, names, table["name"], meant)
    )
    rank = pl.col("reason").is_null().cum_sum()
    too_many = pl.col("reason").is_null() & (rank > params.vocabulary_size)
    table = table.with_columns(
        reason=pl.when(too_many)
        .then(pl.lit(TagExclusion.BEYOND_VOCABULARY_SIZE.value))
        .otherwise("reason")
    )
    vocabulary = table.filter(pl.col("reason").is_null()).with_row_index("label_id")
    left_out = table.filter(pl.col("reason").is_not_null())
    unknown = _unknown(
        sorted(
            (listed or frozenset())
            - set(relations.tags["name"])
            - set(relations.canonical)
        ),
        left_out,
    )
    return VocabularyResult(
        vocabulary.select(
            pl.col("label_id").cast(pl.Int32),
            "tag_id",
            "name",
            "category",
            "snapshot_posts",
            "candidate_posts",
        ),
        pl.concat([left_out, unknown]).select("name", "category", *COUNTS, "reason"),
    )


def listed_names(path: Path) -> frozenset[str]:
    """Returns the names of a file of wanted tags.

    One a line, # begins a comment, spaces stand for underscores.
    """
    try:
        lines = path.read_text(
            encoding="utf-8-sig"
        ).splitlines()  # Windows editors begin with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise BadParameter(
            f"sample.tags_file {path} cannot be read: {error}. Name a text file with a "
            "tag per line, or set it to null."
        ) from error
    # Without a space before it, # belongs to the name: old names may hold it.
    names = {
        "_".join(re.split(r"\s#", line)[0].split()).lower()
        for line in lines
        if not line.lstrip().startswith("#")
    }
    if not names - {""}:
        raise BadParameter(
            f"sample.tags_file {path} lists no tag. Write a tag per line, or set it to "
            "null."
        )
    return frozenset(names - {""})


@dataclass(frozen=True, slots=True)
class BlockedTags:
    """Names that must not be learnt: those the policy refuses.

    And those that the snapshot gives two categories.
    """

    policy: frozenset[str]
    two_categories: frozenset[str]


def with_positives(
    vocabulary: pl.DataFrame, positives: NDArray[np.int64]
) -> pl.DataFrame:
    """Adds the positives [judged splits, labels] of the sampled posts."""
    return vocabulary.with_columns(
        pl.Series(f"{split}_positives", positives[row], dtype=pl.Int64)
        for row, split in enumerate(("train", "validation", "test"))
    )


def _unknown(names: list[str], like: pl.DataFrame) -> pl.DataFrame:
    table = pl.DataFrame({"name": names}, schema={"name": pl.String})
    zeros = [pl.lit(0, dtype=pl.Int64).alias(name) for name in COUNTS]
    return table.with_columns(
        *zeros,
        tag_id=pl.lit(0, pl.Int64),
        category=pl.lit("unknown"),
        reason=pl.lit(TagExclusion.UNKNOWN.value),
    ).select(like.columns)


def _reason(
    params: Sample,
    relations: TagGraph,
    names: BlockedTags,
    every: pl.Series,
    meant: frozenset[str] | None,
) -> pl.Expr:
    """Returns the first reason that holds, in this order. every: the names to judge."""
    by_pattern = [
        one
        for one in every
        if any(fnmatchcase(one, pattern) for pattern in params.exclude_patterns)
    ]
    name = pl.col("name")
    reasons = [
        (name.is_in(sorted(relations.canonical)), TagExclusion.ALIASED),
        (name.is_in(sorted(names.two_categories)), TagExclusion.TWO_CATEGORIES),
        (pl.col("category") == "invalid", TagExclusion.INVALID),
        (
            pl.lit(meant is not None) & ~name.is_in(sorted(meant or ())),
            TagExclusion.NOT_LISTED,
        ),
        (~pl.col("category").is_in(params.categories), TagExclusion.OTHER_CATEGORY),
        (name.is_in(relations.resolve(params.exclude_tags)), TagExclusion.EXCLUDED),
        (name.is_in(by_pattern), TagExclusion.PATTERN),
        (name.is_in(sorted(names.policy)), TagExclusion.POLICY),
        (name.is_in(sorted(FILE_DERIVED)), TagExclusion.FILE_DERIVED),
        (pl.col("train_posts") < params.min_positives, TagExclusion.TOO_FEW_POSITIVES),
        (
            pl.min_horizontal("validation_posts", "test_posts")
            < params.min_eval_positives,
            TagExclusion.TOO_FEW_EVALUATION_POSITIVES,
        ),
    ]
    return pl.coalesce(
        pl.when(holds).then(pl.lit(reason.value)) for holds, reason in reasons
    )
