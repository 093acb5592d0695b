"""The metrics of parts of a split: slices.parquet.

Parts of the tags (by frequency in training, by category), of which all images count,
and parts of the images (by rating, year, shape, size, blackness), of which all tags
count that can be ranked there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.evaluate.case import NO_RANKING, Case
from pipeline.evaluate.evaluators.ranking import RankedTags
from pipeline.evaluate.groups import Groups
from pipeline.metrics import prior, tag_ranking, thresholded
from pipeline.metrics.bootstrap import Resampling
from pipeline.metrics.prior import Prior
from pipeline.metrics.tag_ranking import Ordered
from pipeline.metrics.thresholded import Counts


@dataclass(slots=True)
class _Summed:
    """Sums over the tags that can be ranked in a slice.

    images: numbers of its images; influence: float64, one of each.
    """

    images: np.ndarray
    influence: np.ndarray
    precisions: list[float] = field(default_factory=list)
    aucs: list[float] = field(default_factory=list)
    prevalences: list[float] = field(default_factory=list)


class _Kind:
    """The sums of all slices of the images of one kind.

    Images are ordered by a tag's scores once, and by slice with a stable sort of small
    numbers: so each slice has its images in the order of their scores.
    """

    def __init__(self, groups: Groups, images: int) -> None:
        places = range(len(groups.values))
        self._place_of = groups.place_of.astype(np.uint8)
        self._influence = np.zeros(images)
        self._sums = [_Summed(groups.members(place), np.zeros(0)) for place in places]

    def add(self, ordered: Ordered) -> None:
        """Adds a tag: all images in the order of its scores."""
        by_slice = np.argsort(self._place_of[ordered.images], kind="stable")
        sorted_within = ordered.take(by_slice)
        start = 0
        for sums in self._sums:
            part = sorted_within.part(slice(start, start + len(sums.images)))
            start += len(sums.images)
            ranked = tag_ranking.rank(part)
            if ranked is not None:
                sums.precisions.append(ranked.average_precision)
                sums.aucs.append(ranked.auc)
                sums.prevalences.append(float(part.labels.mean()))
                influence = ranked.average_precision_influence()
                self._influence[ranked.images] += influence

    def sums(self) -> list[_Summed]:
        """Returns the sums of the slices, in their order."""
        for sums in self._sums:
            sums.influence = self._influence[sums.images]
        return self._sums


def rows(
    case: Case,
    ranked: RankedTags,
    tags: Sequence[Groups],
    images: Sequence[Groups],
    resampling: Resampling,
) -> Iterator[dict[str, Any]]:
    """Yields rows of schemas.SLICES, kind by kind, in the order of the groups.

    ranked: the tags, with the sums of the groups of `tags`.
    """
    for groups in tags:
        for place, influence in enumerate(ranked.sums[groups.kind]):
            members = groups.members(place)
            sums = _of_ranked(case, ranked, members, influence)
            part = _of_tags(case, members)
            yield _row(case, groups, place) | _metrics(sums, *part, resampling)
    summed = _sum(case, images)
    for groups in images:
        for place, sums in enumerate(summed[groups.kind]):
            part = _of_images(case, sums.images)
            yield _row(case, groups, place) | _metrics(sums, *part, resampling)


def _of_ranked(
    case: Case, ranked: RankedTags, tags: np.ndarray, influence: np.ndarray
) -> _Summed:
    """Returns the sums over some tags, whose images are all images."""
    scores = case.split.scores
    known = tags[~np.isnan(ranked.average_precision[tags])]
    return _Summed(
        images=np.arange(scores.images),
        influence=influence,
        precisions=ranked.average_precision[known].tolist(),
        aucs=ranked.auc[known].tolist(),
        prevalences=(scores.positives[known] / scores.images).tolist(),
    )


def _sum(case: Case, images: Sequence[Groups]) -> dict[str, list[_Summed]]:
    """Ranks every tag on the images of every group; returns sums by kind."""
    scores = case.split.scores
    kinds = {groups.kind: _Kind(groups, scores.images) for groups in images}
    for _, values, positives in scores.rows():
        ordered = tag_ranking.order(values, positives)
        for kind in kinds.values():
            kind.add(ordered)
    return {name: kind.sums() for name, kind in kinds.items()}


def _of_tags(case: Case, tags: np.ndarray) -> tuple[Counts, Prior]:
    """Returns what is predicted of some tags, and their image-blind baseline."""
    counts = case.own.of_tags(tags)
    return counts, prior.blind(case.shares[tags], counts.true)


def _of_images(case: Case, images: np.ndarray) -> tuple[Counts, Prior]:
    """Returns what is predicted of some images, and their image-blind baseline."""
    counts = case.own.of_images(images)
    return counts, prior.blind(case.shares, counts.true)


def _row(case: Case, groups: Groups, place: int) -> dict[str, Any]:
    return {
        "split": case.split.name,
        "slice": groups.kind,
        "value": groups.values[place],
        "position": place,
    }


def _metrics(
    summed: _Summed, counts: Counts, blind: Prior, resampling: Resampling
) -> dict[str, Any]:
    """Returns the columns of SLICES that are counted or computed."""
    found: dict[str, Any] = {
        "records": len(summed.images),
        "tags": len(summed.precisions),
        "positives": int(counts.true.sum()),
        "absent": _absent(summed),
    }
    if summed.precisions:
        value = float(np.mean(summed.precisions))
        found["macro_map"] = value
        found["macro_map_baseline"] = float(np.mean(summed.prevalences))
        found["macro_auc"] = float(np.mean(summed.aucs))
        mean_influence = summed.influence / len(summed.precisions)
        bounds = resampling.interval(value, mean_influence, summed.images)
        if bounds is not None:
            found["macro_map_low"], found["macro_map_high"] = bounds
    f1 = thresholded.micro_f1(counts)
    if f1.value is not None:
        found["micro_f1"] = f1.value
        found["micro_f1_baseline"] = prior.best_micro_f1(blind)
    return found


def _absent(summed: _Summed) -> str | None:
    """Returns why there is no ranking in the slice."""
    if not len(summed.images):
        return "no image"
    return None if summed.precisions else NO_RANKING
