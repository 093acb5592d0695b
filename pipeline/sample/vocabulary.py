"""The vocabulary: the commonest wanted tags that can be learnt and evaluated."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline import os_errors
from pipeline.errors import BadParameter
from pipeline.params.sample import Sample
from pipeline.sample.label_matrix import TARGET_SPLITS
from pipeline.sample.strategies import targets
from pipeline.schemas.reasons import TagExclusion
from pipeline.tag_graph import TagGraph

# fmt: off
FILE_DERIVED = frozenset({
    "hi_res", "absurd_res", "superabsurd_res", "low_res", "thumbnail", "wide_image",
    "tall_image", "long_image",
    "huge_filesize", "long_playtime", "short_playtime", "animated_gif", "animated_png",
    "animated_webp", "video",
    "flash", "tagme",
})
# fmt: on
"""Tags that the site derives from the file (contract section 6).

An image fitted to one size no longer shows them.
"""

COUNTS = (
    "snapshot_posts",
    "candidate_posts",
    "train_posts",
    "validation_posts",
    "test_posts",
)


@dataclass(frozen=True, slots=True)
class VocabularyResult:
    """The tags chosen and the tags left out."""

    vocabulary: pl.DataFrame  # schemas.VOCABULARY without positives
    excluded_tags: pl.DataFrame  # schemas.EXCLUDED_TAGS


@dataclass(frozen=True, slots=True)
class BlockedTags:
    """Names that must not be learnt."""

    policy: frozenset[str]  # refused by the policy
    two_categories: frozenset[str]  # in two categories in the snapshot


def choose_vocabulary(
    params: Sample,
    relations: TagGraph,
    counts: NDArray[np.int64],
    blocked: BlockedTags,
    listed: frozenset[str] | None,
) -> VocabularyResult:
    """Returns the vocabulary by falling frequency, and the other tags with reasons.

    counts: [5, codes], posts with each tag, in the order of COUNTS; listed: names of
    params.tags_file.
    """
    meant = None
    named = listed or frozenset()
    if listed is not None:
        meant = frozenset(relations.resolve(listed))
        named |= meant
    table = _wanted_tags(params, relations, counts, named)
    reason = _first_reason(params, relations, blocked, table["name"].to_list(), meant)
    table = _limit_size(table.with_columns(reason=reason), params.vocabulary_size)
    is_chosen = pl.col("reason").is_null()
    chosen = table.filter(is_chosen).with_row_index("label_id")
    vocabulary = chosen.select(
        pl.col("label_id").cast(pl.Int32),
        "tag_id",
        "name",
        "category",
        "snapshot_posts",
        "candidate_posts",
    )
    columns = ("name", "category", *COUNTS, "reason")
    known = table.filter(~is_chosen).select(columns)
    unknown = _unknown_names(relations, listed or frozenset()).select(columns)
    return VocabularyResult(vocabulary, pl.concat([known, unknown]))


def _limit_size(table: pl.DataFrame, size: int) -> pl.DataFrame:
    """Excludes the tags without a reason that come after the first `size` of them."""
    is_usable = pl.col("reason").is_null()
    is_beyond = is_usable & (is_usable.cum_sum() > size)
    reason = pl.lit(TagExclusion.BEYOND_VOCABULARY_SIZE.value)
    beyond = pl.when(is_beyond).then(reason)
    return table.with_columns(reason=pl.coalesce("reason", beyond))


def _wanted_tags(
    params: Sample,
    relations: TagGraph,
    counts: NDArray[np.int64],
    named: frozenset[str],
) -> pl.DataFrame:
    """Returns tags of the wanted categories and those named, commonest first."""
    known = relations.tags.height
    columns = [pl.Series(name, counts[row, :known]) for row, name in enumerate(COUNTS)]
    in_category = pl.col("category").is_in(params.categories)
    is_named = pl.col("name").is_in(sorted(named))
    table = relations.tags.with_columns(columns).filter(in_category | is_named)
    return table.sort(["candidate_posts", "name"], descending=[True, False])


def listed_names(path: Path) -> frozenset[str]:
    """Returns the names of a file of wanted tags; raises BadParameter.

    One a line, # begins a comment, spaces stand for underscores.
    """
    try:
        # utf-8-sig: editors on Windows begin a file with a byte order mark.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        os_errors.raise_for_machine(error, path)
        raise BadParameter(
            f"sample.tags_file {path} cannot be read: {error}. Name a text file with a "
            "tag per line, or set it to null."
        ) from error
    names = set()
    for line in lines:
        if line.lstrip().startswith("#"):
            continue
        # Without a space before it, # belongs to the name: old names may contain it.
        before_comment = re.split(r"\s#", line)[0]
        names.add("_".join(before_comment.split()).lower())
    names.discard("")
    if not names:
        raise BadParameter(
            f"sample.tags_file {path} lists no tag. Write a tag per line, or set it to "
            "null."
        )
    return frozenset(names)


def with_positives(
    vocabulary: pl.DataFrame, positives: NDArray[np.int64]
) -> pl.DataFrame:
    """Adds the positives [target splits, labels] of the sampled posts."""
    columns = []
    for row, split in enumerate(TARGET_SPLITS):
        name = f"{split}_positives"
        columns.append(pl.Series(name, positives[row], dtype=pl.Int64))
    return vocabulary.with_columns(columns)


def _unknown_names(relations: TagGraph, listed: frozenset[str]) -> pl.DataFrame:
    """Returns rows for the listed names that the snapshot does not know."""
    names = listed - set(relations.tags["name"]) - set(relations.canonical)
    table = pl.DataFrame({"name": sorted(names)}, schema={"name": pl.String})
    zeros = [pl.lit(0, dtype=pl.Int64).alias(name) for name in COUNTS]
    return table.with_columns(
        *zeros,
        category=pl.lit("unknown"),
        reason=pl.lit(TagExclusion.UNKNOWN.value),
    )


def _first_reason(
    params: Sample,
    relations: TagGraph,
    blocked: BlockedTags,
    candidates: Collection[str],
    meant: frozenset[str] | None,
) -> pl.Expr:
    """Returns the first reason that holds, in this order.

    candidates: the names examined; meant: the names listed, aliases resolved.
    """
    reasons = [
        *_reasons_by_name(params, relations, blocked, candidates, meant),
        *_reasons_by_count(params),
    ]
    return pl.coalesce(
        pl.when(holds).then(pl.lit(reason.value)) for reason, holds in reasons
    )


def _reasons_by_name(
    params: Sample,
    relations: TagGraph,
    blocked: BlockedTags,
    candidates: Collection[str],
    meant: frozenset[str] | None,
) -> Iterable[tuple[TagExclusion, pl.Expr]]:
    name = pl.col("name")
    category = pl.col("category")
    yield TagExclusion.ALIASED, name.is_in(sorted(relations.canonical))
    yield TagExclusion.TWO_CATEGORIES, name.is_in(sorted(blocked.two_categories))
    yield TagExclusion.INVALID, category == "invalid"
    if meant is not None:
        yield TagExclusion.NOT_LISTED, ~name.is_in(sorted(meant))
    yield TagExclusion.OTHER_CATEGORY, ~category.is_in(params.categories)
    excluded = relations.resolve(params.exclude_tags)
    yield TagExclusion.EXCLUDED, name.is_in(excluded)
    matching = _matching(candidates, params.exclude_patterns)
    yield TagExclusion.PATTERN, name.is_in(matching)
    yield TagExclusion.POLICY, name.is_in(sorted(blocked.policy))
    yield TagExclusion.FILE_DERIVED, name.is_in(sorted(FILE_DERIVED))


def _reasons_by_count(params: Sample) -> Iterable[tuple[TagExclusion, pl.Expr]]:
    is_rare = pl.col("train_posts") < params.min_positives
    yield TagExclusion.TOO_FEW_POSITIVES, is_rare
    evaluation_posts = pl.min_horizontal("validation_posts", "test_posts")
    is_rare = evaluation_posts < params.min_eval_positives
    yield TagExclusion.TOO_FEW_EVALUATION_POSITIVES, is_rare
    # Else the first image that is lost would leave the tag below its minimum, and no
    # parameter would bring another one.
    is_short = []
    for split, target in zip(TARGET_SPLITS, targets(params).tolist(), strict=True):
        is_short.append(pl.col(f"{split}_posts") < target)
    yield TagExclusion.LACKS_RESERVE, pl.any_horizontal(is_short)


def _matching(names: Collection[str], patterns: Iterable[str]) -> list[str]:
    """Returns the names that match any of the patterns, case-sensitively."""
    matching: set[str] = set()
    for pattern in patterns:
        matching.update(name for name in names if fnmatchcase(name, pattern))
    return sorted(matching)
