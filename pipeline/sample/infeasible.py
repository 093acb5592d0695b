"""What cannot be had: which tags fall short, by how much, and what would help."""

import fnmatch
from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import ImpossibleSample
from pipeline.params.sample import CATEGORIES, RATINGS, Sample
from pipeline.paths import SPLITS
from pipeline.sample.label_matrix import TARGET_SPLITS
from pipeline.sample.strategies import largest_minimum, targets, with_reserve
from pipeline.sample.vocabulary import VocabularyResult
from pipeline.schemas.reasons import TagExclusion
from pipeline.tag_graph import TagGraph

NAMED = 5  # tags that a line names
TOO_FEW = (
    TagExclusion.TOO_FEW_POSITIVES.value,
    TagExclusion.TOO_FEW_EVALUATION_POSITIVES.value,
    TagExclusion.LACKS_RESERVE.value,
)
_NOT_WANTED = (TagExclusion.NOT_LISTED.value, TagExclusion.ALIASED.value)
_LEAST_TAGS = 2  # of a vocabulary


def empty_vocabulary_error(
    params: Sample, chosen: VocabularyResult
) -> ImpossibleSample:
    """Returns the error for a vocabulary of fewer than two tags."""
    named = chosen.excluded_tags.filter(~pl.col("reason").is_in(_NOT_WANTED))
    most = "there is none"
    if named.height:
        best = named.sort("train_posts", descending=True)
        most = f"the commonest, {best['name'][0]}, has {best['train_posts'][0]:,}"
    remedies = [*_lower_minimums(params, chosen), *_wider_choice(params)]
    return ImpossibleSample(
        f"{chosen.vocabulary.height} tags are left with sample.min_positives "
        f"{params.min_positives:,} in the training "
        f"split and min_eval_positives {params.min_eval_positives:,} in validation and "
        f"test, and sample.reserve {params.reserve:g} beyond them; {most}, and "
        f"{_LEAST_TAGS} are needed. {_sentence(remedies)}"
    )


def _lower_minimums(params: Sample, chosen: VocabularyResult) -> Iterable[str]:
    """Yields the minimums with which there are enough tags, if there are such."""
    missing = _LEAST_TAGS - chosen.vocabulary.height
    rare = chosen.excluded_tags.filter(pl.col("reason").is_in(TOO_FEW))
    fewest_evaluated = pl.min_horizontal("validation_posts", "test_posts")
    rare = rare.with_columns(evaluation_posts=fewest_evaluated)
    # A minimum of 0 asks for no evaluation image, and the next gate for one.
    least = with_reserve(params, min(1, params.min_eval_positives))
    usable = rare.filter(pl.col("evaluation_posts") >= least)
    usable = usable.filter(pl.col("train_posts") >= with_reserve(params, 1))
    if usable.height < missing:
        return
    best = usable.sort("train_posts", "name", descending=[True, False]).head(missing)
    train, evaluation = best.select(
        pl.col("train_posts", "evaluation_posts").min()
    ).row(0)
    minimum = min(params.min_positives, largest_minimum(params, train))
    few = min(params.min_eval_positives, largest_minimum(params, evaluation))
    yield (
        f"lower sample.min_positives to {minimum:,} and min_eval_positives to {few:,}"
    )


def _wider_choice(params: Sample) -> Iterable[str]:
    """Yields what may bring other tags, or more posts with them."""
    if params.tags_file:
        yield "list others in sample.tags_file"
    if len(params.categories) < len(CATEGORIES):
        yield "widen sample.categories"
    if len(params.ratings) < len(RATINGS):
        yield "widen sample.ratings"


def _sentence(remedies: list[str]) -> str:
    """Returns the remedies as a sentence."""
    if not remedies:
        return "The snapshot has no such tags: harvest more posts."
    text = ", or ".join(remedies)
    return f"{text[0].upper()}{text[1:]}."


def raise_if_short(
    params: Sample, vocabulary: pl.DataFrame, positives: NDArray[np.int64]
) -> None:
    """Raises ImpossibleSample where the posts selected leave tags short.

    The strategies quota and natural do not look at every tag.

    positives: [target splits, labels] among the posts selected.
    """
    wanted = targets(params)
    shortage = (wanted[:, None] - positives).max(axis=0)
    short = np.flatnonzero(shortage > 0)
    if not len(short):
        return
    worst = short[np.argsort(-shortage[short], kind="stable")][:NAMED]
    examples = []
    for tag in worst.tolist():
        counts = _describe_shortage(positives[:, tag].tolist(), wanted.tolist())
        examples.append(f"{vocabulary['name'][tag]} ({counts})")
    remedies = _more_posts(params, int(short.min()))
    raise ImpossibleSample(
        f"strategy {params.strategy} leaves {len(short):,} of {vocabulary.height:,} "
        f"tags short of their positives and the reserve: {', '.join(examples)}. "
        f"{_sentence(list(remedies))}"
    )


def _more_posts(params: Sample, served: int) -> Iterable[str]:
    """Yields what gives every tag its positives.

    served: how many of the commonest tags have them.
    """
    yield "set sample.strategy to cover"
    if params.strategy != "natural" or params.size is None:
        # The quota counts the labels of a post: with fewer tags it takes other posts.
        return
    yield "sample.size to null, which takes as many posts as the tags need"
    if served >= _LEAST_TAGS:
        yield f"lower sample.vocabulary_size to {served:,}"


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
            "candidates and all of them are taken. Lower sample.size to that; a wider "
            "sample.ratings or a lower sample.min_tags may bring more"
        )


def _smaller_vocabulary(
    params: Sample, chosen: VocabularyResult, listed: frozenset[str] | None
) -> Iterable[str]:
    wanted = params.vocabulary_size
    if listed is not None:
        wanted = len(listed)
    too_few = chosen.excluded_tags.filter(pl.col("reason").is_in(TOO_FEW))
    if not too_few.height or chosen.vocabulary.height >= wanted:
        return
    minimum = targets(params).tolist()
    columns = ("name", "train_posts", "validation_posts", "test_posts")
    examples = []
    for name, *posts in too_few.head(NAMED).select(columns).iter_rows():
        examples.append(f"{name} ({_describe_shortage(posts, minimum)})")
    yield (
        f"{chosen.vocabulary.height:,} tags instead of {wanted:,}: "
        f"{too_few.height:,} have too few posts, such as {', '.join(examples)}. "
        "Lower sample.min_positives, sample.min_eval_positives or sample.reserve"
    )


def _unusable_listed_names(chosen: VocabularyResult) -> Iterable[str]:
    expected = [*TOO_FEW, *_NOT_WANTED]
    unusable = chosen.excluded_tags.filter(~pl.col("reason").is_in(expected))
    for (reason,), part in unusable.group_by("reason", maintain_order=True):
        names = ", ".join(part["name"].head(NAMED))
        yield (
            f"{part.height:,} names of sample.tags_file are left out ({reason}): "
            f"{names}; see excluded_tags.parquet"
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


def _describe_shortage(counts: Iterable[int], minimum: Iterable[int]) -> str:
    """Returns in words where the counts of train, validation and test fall short."""
    parts = []
    for split, count, wanted in zip(TARGET_SPLITS, counts, minimum, strict=True):
        if count < wanted:
            parts.append(f"{count:,} of {wanted:,} in {split}")
    return ", ".join(parts)
