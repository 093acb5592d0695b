"""What cannot be had: which tags fall short, by how much, and what would help."""

import fnmatch
from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import ImpossibleSample
from pipeline.params import Sample
from pipeline.paths import SPLITS
from pipeline.sample.label_matrix import TARGET_SPLITS
from pipeline.sample.strategies import minimum_positives
from pipeline.sample.tag_graph import TagGraph
from pipeline.sample.vocabulary import VocabularyResult
from pipeline.schemas.reasons import TagExclusion

NAMED = 5  # tags that a line names
TOO_FEW = (
    TagExclusion.TOO_FEW_POSITIVES.value,
    TagExclusion.TOO_FEW_EVALUATION_POSITIVES.value,
)
_NOT_WANTED = (TagExclusion.NOT_LISTED.value, TagExclusion.ALIASED.value)


def empty_vocabulary_error(
    params: Sample, chosen: VocabularyResult
) -> ImpossibleSample:
    """Returns the error for a vocabulary of fewer than two tags."""
    named = chosen.left_out.filter(~pl.col("reason").is_in(_NOT_WANTED))
    most = "there is none"
    if named.height:
        best = named.sort("train_posts", descending=True)
        most = f"the commonest, {best['name'][0]}, has {best['train_posts'][0]:,}"
    remedy = "widen sample.categories or"
    if params.tags_file:
        remedy = "list others in sample.tags_file or widen"
    return ImpossibleSample(
        f"{chosen.vocabulary.height} tags are left with sample.min_positives "
        f"{params.min_positives:,} in the training "
        f"split and min_eval_positives {params.min_eval_positives:,} in validation and "
        f"test; {most}, and 2 are needed. "
        f"Lower sample.min_positives or sample.min_eval_positives, or {remedy} "
        "sample.ratings."
    )


def raise_if_short(
    params: Sample, vocabulary: pl.DataFrame, positives: NDArray[np.int64]
) -> None:
    """Raises ImpossibleSample where the posts selected leave tags short.

    The strategies quota and natural do not look at every tag.

    positives: [target splits, labels] among the posts selected.
    """
    minimum = minimum_positives(params)
    shortage = (np.array(minimum)[:, None] - positives).max(axis=0)
    short = np.flatnonzero(shortage > 0)
    if not len(short):
        return
    worst = short[np.argsort(-shortage[short], kind="stable")][:NAMED]
    examples = []
    for tag in worst.tolist():
        counts = _describe_shortage(positives[:, tag].tolist(), minimum)
        examples.append(f"{vocabulary['name'][tag]} ({counts})")
    remedy = "set sample.strategy to cover"
    if params.strategy == "natural" and params.size:
        remedy = "raise sample.size"
    lower = _describe_lower_limits(int(short.min()), positives)
    raise ImpossibleSample(
        f"strategy {params.strategy} leaves {len(short):,} of {vocabulary.height:,} "
        f"tags short: {', '.join(examples)}. {lower}{remedy}."
    )


def warnings(
    params: Sample,
    chosen: VocabularyResult,
    listed: frozenset[str] | None,
    relations: TagGraph,
    policed: frozenset[str],
    counts: NDArray[np.int64],
) -> Iterable[str]:
    """Yields a line for every request that could not be met in full.

    policed: names that the policy knows, whether the snapshot lists them or not;
    counts: [splits, 2], candidates of each split, and those of them that were chosen.
    """
    yield from _smaller_vocabulary(params, chosen, listed)
    if listed is not None:
        yield from _unusable_listed_names(chosen)
    yield from _exclusions_without_effect(params, relations, policed)
    yield from _empty_splits(counts)
    candidates = int(counts[:, 0].sum())
    if params.size is not None and params.size > candidates:
        yield (
            f"sample.size asks for {params.size:,} posts, {candidates:,} are "
            "candidates and all of them are taken. "
            "Widen sample.ratings or lower sample.min_tags"
        )


def _smaller_vocabulary(
    params: Sample, chosen: VocabularyResult, listed: frozenset[str] | None
) -> Iterable[str]:
    wanted = params.vocabulary_size
    if listed is not None:
        wanted = len(listed)
    too_few = chosen.left_out.filter(pl.col("reason").is_in(TOO_FEW))
    if not too_few.height or chosen.vocabulary.height >= wanted:
        return
    minimum = minimum_positives(params)
    columns = ("name", "train_posts", "validation_posts", "test_posts")
    examples = []
    for name, *posts in too_few.head(NAMED).select(columns).iter_rows():
        examples.append(f"{name} ({_describe_shortage(posts, minimum)})")
    yield (
        f"{chosen.vocabulary.height:,} tags instead of {wanted:,}: "
        f"{too_few.height:,} have too few posts, such as {', '.join(examples)}. "
        "Lower sample.min_positives or sample.min_eval_positives"
    )


def _unusable_listed_names(chosen: VocabularyResult) -> Iterable[str]:
    expected = [*TOO_FEW, *_NOT_WANTED]
    unusable = chosen.left_out.filter(~pl.col("reason").is_in(expected))
    for (reason,), part in unusable.group_by("reason", maintain_order=True):
        names = ", ".join(part["name"].head(NAMED))
        yield (
            f"{part.height:,} names of sample.tags_file are left out ({reason}): "
            f"{names}; see left_out.parquet"
        )


def _exclusions_without_effect(
    params: Sample, relations: TagGraph, policed: frozenset[str]
) -> Iterable[str]:
    no_effect = "which is no tag of the snapshot: it leaves nothing out"
    known_anywhere = relations.code.keys() | policed
    for name in params.exclude_tags:
        if known_anywhere.isdisjoint(relations.resolve([name])):
            yield f"sample.exclude_tags has {name}, {no_effect}"
    names = frozenset(relations.tags["name"])
    for pattern in params.exclude_patterns:
        if not fnmatch.filter(names, pattern):
            yield f"sample.exclude_patterns has {pattern}, {no_effect}"


def _empty_splits(counts: NDArray[np.int64]) -> Iterable[str]:
    for split, (candidates, taken) in zip(SPLITS, counts.tolist(), strict=True):
        if split in TARGET_SPLITS and candidates and not taken:
            yield (
                f"none of {candidates:,} candidates of {split} was chosen, which the "
                "next gate refuses: set sample.min_eval_positives to 1 or more, or "
                "sample.size so that others are taken too"
            )


def _describe_lower_limits(vocabulary_size: int, positives: NDArray[np.int64]) -> str:
    """Returns the parameters that could be lowered and to what, in words.

    vocabulary_size: how many tags would all be served; positives: [target splits,
    labels].
    """
    ways = []
    if vocabulary_size >= 2:
        ways.append(f"sample.vocabulary_size to {vocabulary_size:,}")
    fewest = int(positives[0].min())
    if fewest >= 1:
        fewest_evaluated = int(positives[1:].min())
        ways.append(
            f"sample.min_positives to {fewest:,} and min_eval_positives to "
            f"{fewest_evaluated:,}"
        )
    if not ways:
        return "No lower limit is possible: "
    return f"Lower {' or '.join(ways)}, or "


def _describe_shortage(counts: Iterable[int], minimum: Iterable[int]) -> str:
    """Returns in words where the counts of train, validation and test fall short."""
    parts = []
    for split, count, wanted in zip(TARGET_SPLITS, counts, minimum, strict=True):
        if count < wanted:
            parts.append(f"{count:,} of {wanted:,} in {split}")
    return ", ".join(parts)
