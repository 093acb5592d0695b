"""How often a label is missing or wrong, and how likely each one is, from its score.

A tag is true with a probability that rises with the score along a logistic curve; of
the records that it is true of, the share `missing` lack the label, and of the others
the share `wrong` have it. So the share of records with the label runs from `wrong` up
to 1 - `missing`: a logistic curve with two asymptotes, fitted by maximum likelihood to
counts. As all of this kind (Elkan and Noto, KDD 2008), it takes for granted that labels
are missing at random among the records that the tag is true of.

The network has learnt that labels which are missing are absent, so that of training
records too few seem to be missing, by about the same factor for all tags. That factor
is what the other splits show; what remains is fitted on them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit

MIN_POSITIVES = 10  # with fewer there is no estimate

MISSING_PRIOR = (1.0, 15.0)
"""Weight of labels that are missing, and that are not, before any is counted."""

WRONG_PRIOR = (1.0, 1_000.0)
"""Weight of labels that are wrong, and that are not, before any is counted."""

POOLED_WEIGHT = 30.0
"""Records that the estimate from training weighs beside those of the other splits."""

TYPICAL_WEIGHT = 1_000.0
"""Records that the mean of the other tags weighs where a tag is rare."""

MAX_TILT = 3.0
"""Largest change of log-odds that makes the probabilities of training records sum up to
the share that is missing."""

_Z95 = 1.959964  # of a 95 % interval
_STEP = 1e-4  # of the numeric second derivative
_BOUNDS = [(-2.0, 5.0), (-30.0, 30.0), (-9.0, 2.0), (-12.0, -1.0)]
_EDGE = 1e-9

_Loss = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]
"""From parameters to a negative log posterior and its gradient."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A fitted tag.

    slope, offset: of the logistic curve over the scaled score; low, high: the 95 %
    interval of `missing`, not numbers where there is none.
    """

    slope: float
    offset: float
    missing: float
    wrong: float
    low: float
    high: float

    def truth(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the probability that the tag is true, whatever the label is."""
        return expit(self.slope * score + self.offset)

    def labelled(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the probability that the record has the label."""
        span = 1 - self.missing - self.wrong
        found = self.wrong + span * self.truth(score)
        return np.clip(found, _EDGE, 1 - _EDGE)

    def missing_given_absent(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the probability that the tag is true though the label is absent."""
        found = self.missing * self.truth(score) / (1 - self.labelled(score))
        return np.clip(found, _EDGE, 1 - _EDGE)

    def wrong_given_present(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the probability that the tag is untrue though the label is there."""
        found = self.wrong * (1 - self.truth(score)) / self.labelled(score)
        return np.clip(found, _EDGE, 1 - _EDGE)


def fit(
    score: NDArray[np.float64],
    present: NDArray[np.float64],
    absent: NDArray[np.float64],
    missing_prior: tuple[float, float] = MISSING_PRIOR,
) -> Curve:
    """Fits the curve of one tag.

    score: scaled, ascending or not; present, absent: how many records of that score
    have the label and lack it. missing_prior: as MISSING_PRIOR.
    """
    share = (present.sum() + 1) / (present.sum() + absent.sum() + 2)

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        return _loss(theta, score, present, absent, missing_prior)

    start = np.array([0.7, logit(share), logit(0.1), -6.0])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=_BOUNDS)
    best = found.x
    low, high = _interval(best, loss)
    return Curve(
        slope=float(np.exp(best[0])),
        offset=float(best[1]),
        missing=float(expit(best[2])),
        wrong=float(expit(best[3])),
        low=low,
        high=high,
    )


def _loss(
    theta: NDArray[np.float64],
    score: NDArray[np.float64],
    present: NDArray[np.float64],
    absent: NDArray[np.float64],
    missing_prior: tuple[float, float],
) -> tuple[float, NDArray[np.float64]]:
    """Returns the negative log posterior and its gradient.

    theta: log slope, offset, logits of `missing` and of `wrong`.
    """
    slope = np.exp(theta[0])
    missing, wrong = expit(theta[2]), expit(theta[3])
    truth = expit(slope * score + theta[1])
    span = 1 - missing - wrong
    value, by_labelled = _mismatch(wrong + span * truth, present, absent)
    missing_value, missing_slope = _prior(missing, missing_prior)
    wrong_value, wrong_slope = _prior(wrong, WRONG_PRIOR)
    by_logit = by_labelled * span * truth * (1 - truth)
    by_missing = -(by_labelled @ truth) * missing * (1 - missing)
    by_wrong = (by_labelled @ (1 - truth)) * wrong * (1 - wrong)
    gradient = [
        by_logit @ score * slope,
        by_logit.sum(),
        by_missing + missing_slope,
        by_wrong + wrong_slope,
    ]
    return value + missing_value + wrong_value, np.array(gradient)


def _mismatch(
    labelled: NDArray[np.float64],
    present: NDArray[np.float64],
    absent: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """Returns the negative log likelihood, and its derivative by `labelled`."""
    labelled = np.clip(labelled, _EDGE, 1 - _EDGE)
    value = -(present @ np.log(labelled) + absent @ np.log1p(-labelled))
    return float(value), absent / (1 - labelled) - present / labelled


def _prior(rate: float, weights: tuple[float, float]) -> tuple[float, float]:
    """Returns the negative log of the prior, and its derivative by the rate's logit."""
    events, others = weights
    value = -(events * np.log(rate) + others * np.log1p(-rate))
    return float(value), float(others * rate - events * (1 - rate))


def _interval(theta: NDArray[np.float64], loss: _Loss) -> tuple[float, float]:
    """Returns the 95 % interval of `missing`, from the curvature at the optimum."""
    columns = []
    for place in range(len(theta)):
        step = np.zeros(len(theta))
        step[place] = _STEP
        _, above = loss(theta + step)
        _, below = loss(theta - step)
        columns.append((above - below) / (2 * _STEP))
    curvature = np.stack(columns)
    curvature = (curvature + curvature.T) / 2
    try:
        variance = float(np.linalg.inv(curvature)[2, 2])
    except np.linalg.LinAlgError:
        return np.nan, np.nan
    if not variance > 0:
        return np.nan, np.nan
    half = _Z95 * np.sqrt(variance)
    return float(expit(theta[2] - half)), float(expit(theta[2] + half))


def tilt(
    odds: NDArray[np.float64],
    absent: NDArray[np.float64],
    expected: float,
) -> float:
    """Returns by how much log-odds must rise for probabilities to sum up to `expected`.

    That is what a shift of the prior does (Saerens et al., Neural Computation 2002).
    odds: log-odds of `absent` records each.
    """

    def excess(shift: float) -> float:
        return float(absent @ expit(odds + shift) - expected)

    if excess(MAX_TILT) <= 0:
        return MAX_TILT
    if excess(-MAX_TILT) >= 0:
        return -MAX_TILT
    return float(brentq(excess, -MAX_TILT, MAX_TILT))
