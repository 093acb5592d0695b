"""Ranking: AUC and average precision, which need no threshold.

Macro: the mean over the tags that can be ranked. Micro: all pairs of image and tag are
ranked together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluate.case import NO_RANKING, Case, Finding
from pipeline.evaluate.groups import Groups
from pipeline.metrics import micro, prior, ranking, tag_ranking
from pipeline.metrics.bootstrap import Estimate
from pipeline.metrics.prior import Prior
from pipeline.metrics.tag_scores import TagScores


@dataclass(frozen=True, slots=True)
class RankedTags:
    """The ranking of every tag.

    auc, average_precision: float64 [tags], NaN of tags that cannot be ranked. sums:
    what each image adds to the average precisions of the tags of each group, summed, by
    kind: float64 [groups, images].
    """

    auc: np.ndarray
    average_precision: np.ndarray
    macro_auc: Estimate
    macro_map: Estimate
    sums: Mapping[str, np.ndarray]


def rank_tags(scores: TagScores, groups: Sequence[Groups] = ()) -> RankedTags:
    """Ranks the images of every tag. groups: of tags, kinds of slices."""
    auc, average = np.full((2, scores.tags), np.nan)
    auc_influence, average_influence = np.zeros((2, scores.images))
    sums = {}
    for kind in groups:
        sums[kind.kind] = np.zeros((len(kind.values), scores.images))
    for tag, values, positives in scores.rows():
        ranked = tag_ranking.rank(tag_ranking.order(values, positives))
        if ranked is not None:
            auc[tag], average[tag] = ranked.auc, ranked.average_precision
            auc_influence[ranked.images] += ranked.auc_influence()
            influence = np.empty(scores.images)
            influence[ranked.images] = ranked.average_precision_influence()
            average_influence += influence
            for kind in groups:
                sums[kind.kind][kind.place_of[tag]] += influence
    return RankedTags(
        auc=auc,
        average_precision=average,
        macro_auc=_mean(auc, auc_influence),
        macro_map=_mean(average, average_influence),
        sums=sums,
    )


def _mean(values: np.ndarray, influence: np.ndarray) -> Estimate:
    """Returns the mean over the tags. influence: summed over them."""
    known = int(np.count_nonzero(~np.isnan(values)))
    if not known:
        return Estimate(None, absent=NO_RANKING)
    return Estimate(ranking.mean(values), influence / known)


def evaluate(case: Case, ranked: RankedTags) -> Iterator[Finding]:
    """Yields macro and micro AUC and mAP."""
    blind, informed = _macro(case.blind), _macro(case.informed)
    yield Finding("macro_auc", ranked.macro_auc, blind[0], informed[0])
    yield Finding("macro_map", ranked.macro_map, blind[1], informed[1])
    yield from _micro(case)


def _micro(case: Case) -> Iterator[Finding]:
    scores = case.split.scores
    found = micro.rank(scores)
    blind, informed = (prior.ranked_pairs(one) for one in (case.blind, case.informed))
    if found is None or blind is None or informed is None:
        absent = Estimate(None, absent="all pairs of image and tag have the same label")
        yield Finding("micro_auc", absent, None, None)
        yield Finding("micro_map", absent, None, None)
        return
    adds = micro.influence(scores, found)
    estimate = Estimate(found.auc, adds.auc)
    yield Finding("micro_auc", estimate, blind.auc, informed.auc)
    estimate = Estimate(found.average_precision, adds.average_precision)
    of_blind, of_informed = blind.average_precision, informed.average_precision
    yield Finding("micro_map", estimate, of_blind, of_informed)


def _macro(model: Prior) -> tuple[float | None, float | None]:
    """Returns the means over the tags of AUC and average precision of a prior."""
    tags = prior.ranked_tags(model).values()
    auc = [ranked.auc for ranked in tags]
    average = [ranked.average_precision for ranked in tags]
    return ranking.mean(np.array(auc)), ranking.mean(np.array(average))
