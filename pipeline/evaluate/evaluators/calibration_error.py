"""Calibration error: how far scores are from the shares of images that have the tag.

The expected calibration error over all pairs of image and tag, in bins of equal width.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.evaluate.case import Case, Finding
from pipeline.metrics import calibration
from pipeline.metrics.bootstrap import Estimate
from pipeline.metrics.calibration import Reliability
from pipeline.metrics.prior import Prior
from pipeline.metrics.tag_scores import TagScores


def evaluate(case: Case, reliability: Reliability) -> Iterator[Finding]:
    """Yields the calibration error. reliability: of each tag."""
    scores = case.split.scores
    total = reliability.total()
    if not total.pairs.sum():
        absent = Estimate(None, absent="there is no image")
        yield Finding("calibration_error", absent, None, None)
        return
    value = float(total.error)
    estimate = Estimate(value, _influence(scores, total, value))
    blind, informed = _of_prior(case.blind), _of_prior(case.informed)
    yield Finding("calibration_error", estimate, blind, informed)


def _influence(scores: TagScores, total: Reliability, value: float) -> np.ndarray:
    """Returns what each image adds: scores less labels, where scores are too high."""
    direction = np.sign(total.score_sums - total.positives)
    summed = np.zeros(scores.images)
    for _, values, positives in scores.rows():
        side = direction[calibration.bins_of(values)]
        summed += side * values
        summed[positives] -= side[positives]
    return summed / scores.tags - value


def _of_prior(model: Prior) -> float:
    """Returns the calibration error of the scores of a prior."""
    positives = model.positives()
    totals = np.broadcast_to(model.images[:, None], positives.shape)
    bins = calibration.bins_of(model.scores).ravel()
    sums = (model.scores * totals).ravel()
    pairs = np.bincount(bins, totals.ravel())
    score_sums = np.bincount(bins, sums)
    return float(
        Reliability(pairs, np.bincount(bins, positives.ravel()), score_sums).error
    )
