"""Whether a score of 0.8 is right in eight of ten cases, and what makes it so.

A calibration is one increasing map of logits, shared by all tags, fitted to a
validation split by maximum likelihood (the mean binary cross-entropy):

temperature
    logits divided by one number (Guo et al. 2017, arXiv:1706.04599).
isotonic
    linear between KNOTS fixed logits, increasing everywhere. Unlike the steps of
    isotonic regression (Zadrozny and Elkan 2002) it ties no scores, so that rankings
    stay, and it is a few operators of the exported network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy import optimize

from pipeline.metrics.tag_scores import TagScores

BINS = 15  # of the reliability curve, equally wide in score; empty ones are left out
KNOTS = 7  # of the isotonic map
_LOGIT_BINS = 4_096  # pairs within a bin count as one while fitting
# Slopes of the maps: no two logits become one, and scores of a model that is always
# right on validation do not all become 0 and 1.
_FLATTEST, _STEEPEST = 1e-2, 10.0
# How much the isotonic map is held to slopes of 1, against the cross-entropy summed
# over all pairs: nothing with thousands of pairs, all with a few.
_HELD = 10.0


class Method(StrEnum):
    """How scores are calibrated."""

    NONE = "none"
    TEMPERATURE = "temperature"
    ISOTONIC = "isotonic"


@dataclass(frozen=True, slots=True)
class Calibration:
    """offset + slope * logit + the sum of bends * max(0, logit - knots).

    knots, ascending, and bends have the same length; without any, the map is a line.
    """

    method: Method
    slope: float = 1.0
    offset: float = 0.0
    knots: tuple[float, ...] = ()
    bends: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "Calibration":
        """Returns what `dataclasses.asdict` made a tree of.

        Raises KeyError, TypeError or ValueError where it is none.
        """
        return cls(
            method=Method(tree["method"]),
            slope=float(tree["slope"]),
            offset=float(tree["offset"]),
            knots=tuple(float(knot) for knot in tree["knots"]),
            bends=tuple(float(bend) for bend in tree["bends"]),
        )

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Returns calibrated logits, float64, of the same shape."""
        given = logits.astype(np.float64)
        calibrated = self.offset + self.slope * given
        for knot, bend in zip(self.knots, self.bends, strict=True):
            calibrated += bend * np.maximum(given - knot, 0)
        return np.asarray(calibrated)

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Returns calibrated probabilities, float32, of the same shape."""
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-self.apply(logits))), np.float32)


@dataclass(frozen=True, slots=True)
class Reliability:
    """Per bin of the score: pairs, their positives, the sum of their scores.

    Arrays of [bins], or [tags, bins].
    """

    pairs: np.ndarray
    positives: np.ndarray
    score_sums: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """The expected calibration error, over the last axis; NaN without pairs.

        The mean, over all pairs, of how far the mean score of a bin is from its share
        of positives (Naeini et al. 2015).
        """
        gaps = np.abs(self.score_sums - self.positives).sum(axis=-1)
        with np.errstate(invalid="ignore"):
            return np.asarray(gaps / self.pairs.sum(axis=-1))

    def total(self) -> "Reliability":
        """Returns the sums over tags."""
        return Reliability(
            self.pairs.sum(axis=0),
            self.positives.sum(axis=0),
            self.score_sums.sum(axis=0),
        )

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean score and share of positives of the bins that hold a pair."""
        present = self.pairs > 0
        pairs = self.pairs[present]
        return self.score_sums[present] / pairs, self.positives[present] / pairs


def bins_of(scores: np.ndarray) -> np.ndarray:
    """Returns the bin of each score, 0 to BINS - 1."""
    return np.minimum((scores * BINS).astype(np.int64), BINS - 1)


def reliability(
    scores: TagScores, calibration: Calibration | None = None
) -> Reliability:
    """Returns the reliability of each tag: arrays of [tags, bins].

    calibration: scores are logits, of which it makes the scores; None: they are scores.
    """
    shape = (scores.tags, BINS)
    pairs, positives = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    score_sums = np.zeros(shape)
    for tag, given, images in scores.rows():
        values = given if calibration is None else calibration.scores(given)
        bins = bins_of(values)
        pairs[tag] = np.bincount(bins, minlength=BINS)
        score_sums[tag] = np.bincount(bins, values, BINS)
        positives[tag] = np.bincount(bins[images], minlength=BINS)
    return Reliability(pairs, positives, score_sums)


@dataclass(frozen=True, slots=True)
class _Binned:
    """Pairs by their logit: mean logit, pairs and positives per bin that has any."""

    logits: np.ndarray
    pairs: np.ndarray
    positives: np.ndarray

    def quantiles(self, count: int) -> np.ndarray:
        """Returns logits between which pairs weigh the same, float64 [count].

        A pair weighs what it says of the map near its logit: p (1 - p) of its score.
        """
        with np.errstate(over="ignore"):
            scores = 1 / (1 + np.exp(-self.logits))
        below = np.cumsum(self.pairs * scores * (1 - scores))
        shares = np.arange(1, count + 1) / (count + 1)
        return self.logits[np.searchsorted(below, shares * below[-1])]


def fit(method: Method, logits: TagScores) -> Calibration:
    """Returns the calibration. logits: in the place of scores."""
    binned = _bin(logits)
    total = int(binned.positives.sum())
    if method is Method.NONE or total in (0, int(binned.pairs.sum())):
        return Calibration(Method.NONE)
    if method is Method.TEMPERATURE:
        return _fit_temperature(binned)
    return _fit_isotonic(binned)


def _bin(logits: TagScores) -> _Binned:
    low, high = float(logits.values.min()), float(logits.values.max())
    scale = (_LOGIT_BINS - 1) / max(high - low, 1e-9)
    pairs, positives = np.zeros(_LOGIT_BINS), np.zeros(_LOGIT_BINS)
    sums = np.zeros(_LOGIT_BINS)
    for labels, some in logits.chunks():
        bins = ((some - low) * scale).astype(np.int64)
        flat = bins.ravel()
        pairs += np.bincount(flat, minlength=_LOGIT_BINS)
        sums += np.bincount(flat, some.ravel(), _LOGIT_BINS)
        positives += np.bincount(bins[labels], minlength=_LOGIT_BINS)
    present = pairs > 0
    return _Binned(sums[present] / pairs[present], pairs[present], positives[present])


def _fit_temperature(binned: _Binned) -> Calibration:
    def loss(log_slope: float) -> float:
        return _cross_entropy(binned, np.exp(log_slope) * binned.logits)

    bounds = (np.log(_FLATTEST), np.log(_STEEPEST))
    found = optimize.minimize_scalar(loss, bounds=bounds, method="bounded")
    return Calibration(Method.TEMPERATURE, slope=float(np.exp(found.x)))


def _fit_isotonic(binned: _Binned) -> Calibration:
    """Fits the slopes between knots, a convex problem with bounds."""
    knots = np.unique(binned.quantiles(KNOTS))
    at_first, *slopes = _most_likely(binned, _segments(binned.logits, knots), knots[0])
    return Calibration(
        Method.ISOTONIC,
        slope=slopes[0],
        offset=at_first - slopes[0] * float(knots[0]),
        knots=tuple(knots.tolist()),
        bends=tuple(np.diff(slopes).tolist()),
    )


def _most_likely(binned: _Binned, segments: np.ndarray, start: float) -> list[float]:
    """Returns the value at the first knot and the slope of each segment.

    start: the first knot.
    """

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        return _held_loss(binned, segments, values)

    count = segments.shape[1]
    first = np.concatenate([[start], np.ones(count)])
    bounds = [(None, None), *[(_FLATTEST, _STEEPEST)] * count]
    found = optimize.minimize(loss, first, jac=True, bounds=bounds, method="L-BFGS-B")
    values: list[float] = found.x.tolist()
    return values


def _held_loss(
    binned: _Binned, segments: np.ndarray, values: np.ndarray
) -> tuple[float, np.ndarray]:
    """Returns the loss of a map, held to slopes of 1, and its gradient.

    values: at the first knot, and the slope of each segment.
    """
    calibrated = values[0] + segments @ values[1:]
    with np.errstate(over="ignore"):
        expected = binned.pairs / (1 + np.exp(-calibrated))
    wrong = expected - binned.positives
    total = float(binned.pairs.sum())
    away = values[1:] - 1
    gradient = np.concatenate([[wrong.sum()], segments.T @ wrong + _HELD * away])
    held = _HELD / 2 * float(away @ away)
    return _cross_entropy(binned, calibrated) + held / total, gradient / total


def _segments(logits: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Returns how far each logit goes into each segment, float64 [n, knots + 1].

    The first is below the first knot, and counts down from there. The map of a logit is
    its value at the first knot and the sum of these times the slopes.
    """
    below = np.minimum(logits - knots[0], 0)
    beyond = np.maximum(logits[:, None] - knots, 0)
    lengths = np.append(np.diff(knots), np.inf)
    return np.column_stack([below, np.minimum(beyond, lengths)])


def _cross_entropy(binned: _Binned, logits: np.ndarray) -> float:
    """Returns the mean over the pairs, in nats."""
    of_pairs = binned.pairs * np.logaddexp(0, logits) - binned.positives * logits
    return float(of_pairs.sum() / binned.pairs.sum())
