"""Says what cannot be had: which tags fail, by how much, and what would mend it."""

import fnmatch
from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import ImpossibleSample
from pipeline.params import Sample
from pipeline.paths import SPLITS
from pipeline.sample.label_matrix import JUDGED
from pipeline.sample.tag_graph import TagGraph
from pipeline.sample.vocabulary import VocabularyResult
from pipeline.schemas.reasons import TagExclusion

NAMED = 5  # tags that a line names
TOO_FEW = (
    TagExclusion.TOO_FEW_POSITIVES.value,
    TagExclusion.TOO_FEW_EVALUATION_POSITIVES.value,
)


def empty_vocabulary_error(
    params: Sample, chosen: VocabularyResult
) -> ImpossibleSample:
    """Returns the error for a vocabulary of fewer than two tags."""
    named = chosen.left_out.filter(
        ~pl.col("reason").is_in(
            [TagExclusion.NOT_LISTED.value, TagExclusion.ALIASED.value]
        )
    )
    best = named.sort("train_posts", descending=True).head(1)
    most = (
        f"the commonest, {best['name'][0]}, has {best['train_posts'][0]:,}"
        if best.height
        else "there is none"
    )
    wider = (
        "list others in sample.tags_file or widen"
        if params.tags_file
        else "widen sample.categories or"
    )
    return ImpossibleSample(
        f"{chosen.vocabulary.height} tags are left with sample.min_positives "
        f"{params.min_positives:,} in the training "
        f"split and min_eval_positives {params.min_eval_positives:,} in validation and "
        f"test; {most}, and 2 are needed. "
        f"Lower sample.min_positives or sample.min_eval_positives, or {wider} "
        "sample.ratings."
    )


def raise_if_short(
    params: Sample, vocabulary: pl.DataFrame, positives: NDArray[np.int64]
) -> None:
    """Raises ImpossibleSample where the posts picked leave tags short.

    Quota and natural do not look at every tag.

    positives: [judged splits, labels] among the posts picked.
    """
    least = np.array(
        [params.min_positives, params.min_eval_positives, params.min_eval_positives]
    )[:, None]
    lacking = (least - positives).max(axis=0)
    short = np.flatnonzero(lacking > 0)
    if not len(short):
        return
    worst = short[np.argsort(-lacking[short], kind="stable")][:NAMED]
    names = vocabulary["name"]
    told = ", ".join(
        f"{names[int(tag)]} ({_split_counts(positives[:, tag], least)})"
        for tag in worst
    )
    more = (
        "raise sample.size"
        if params.strategy == "natural" and params.size
        else "set sample.strategy to cover"
    )
    raise ImpossibleSample(
        f"strategy {params.strategy} leaves {len(short):,} of {vocabulary.height:,} "
        f"tags short: {told}. "
        f"{_lower(int(short.min()), int(positives[0].min()), int(positives[1:].min()))}{more}."
    )


def warnings(
    params: Sample,
    chosen: VocabularyResult,
    listed: frozenset[str] | None,
    relations: TagGraph,
    policed: frozenset[str],
    counts: NDArray[np.int64],
) -> Iterable[str]:
    """Yields a line for every wish that could not be granted in full.

    policed: names that the policy knows, whether the snapshot lists them or not;
    counts: [splits, 2], candidates of each split, and those of them that were chosen.
    """
    too_few = chosen.left_out.filter(pl.col("reason").is_in(TOO_FEW))
    asked = params.vocabulary_size if listed is None else len(listed)
    if too_few.height and chosen.vocabulary.height < asked:
        yield (
            f"{chosen.vocabulary.height:,} tags instead of {asked:,}: "
            f"{too_few.height:,} have too few "
            f"posts, such as {_told(params, too_few)}. Lower sample.min_positives or "
            "sample.min_eval_positives"
        )
    if listed is not None:
        odd = chosen.left_out.filter(
            ~pl.col("reason").is_in(
                [*TOO_FEW, TagExclusion.NOT_LISTED.value, TagExclusion.ALIASED.value]
            )
        )
        for (reason,), part in odd.group_by("reason", maintain_order=True):
            names = ", ".join(part["name"].head(NAMED))
            yield f"{part.height:,} names of sample.tags_file are left out ({reason}): {names}; see left_out.parquet"
    known, coded = frozenset(relations.tags["name"]), relations.code.keys() | policed
    for parameter, name in (
        *(
            ("exclude_tags", name)
            for name in params.exclude_tags
            if coded.isdisjoint(relations.resolve([name]))
        ),
        *(
            ("exclude_patterns", one)
            for one in params.exclude_patterns
            if not fnmatch.filter(known, one)
        ),
    ):
        yield f"sample.{parameter} has {name}, which is no tag of the snapshot: it leaves nothing out"
    for split, (there, taken) in zip(SPLITS, counts.tolist(), strict=True):
        if split in JUDGED and there and not taken:
            yield (
                f"none of {there:,} candidates of {split} was chosen, which the next "
                "gate refuses: set "
                "sample.min_eval_positives to 1 or more, or sample.size so that others "
                "are taken too"
            )
    candidates = int(counts[:, 0].sum())
    if params.size is not None and params.size > candidates:
        yield (
            f"sample.size asks for {params.size:,} posts, {candidates:,} are "
            "candidates and all of them are taken. "
            "Widen sample.ratings or lower sample.min_tags"
        )


def _lower(vocabulary_size: int, positives: int, evaluated: int) -> str:
    """Returns the parameters that could be lowered and to what, in words.

    Nothing where none may be that low.
    """
    ways = (
        [f"sample.vocabulary_size to {vocabulary_size:,}"]
        if vocabulary_size >= 2
        else []
    )
    if positives >= 1:
        ways.append(
            f"sample.min_positives to {positives:,} and min_eval_positives to "
            f"{evaluated:,}"
        )
    return f"Lower {' or '.join(ways)}, or " if ways else "No lower wish is possible: "


def _told(params: Sample, too_few: pl.DataFrame) -> str:
    least = np.array(
        [params.min_positives, params.min_eval_positives, params.min_eval_positives]
    )[:, None]
    rows = (
        too_few.head(NAMED)
        .select("name", "train_posts", "validation_posts", "test_posts")
        .iter_rows()
    )
    return ", ".join(
        f"{name} ({_split_counts(np.array(counts), least)})" for name, *counts in rows
    )


def _split_counts(counts: NDArray[np.int64], least: NDArray[np.int64]) -> str:
    """Returns in words where the counts of train, validation and test fall short."""
    return ", ".join(
        f"{count:,} of {wanted:,} in {split}"
        for split, count, wanted in zip(
            ("train", "validation", "test"), counts, least.ravel(), strict=True
        )
        if count < wanted
    )
