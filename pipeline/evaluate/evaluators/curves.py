"""Curves over all pairs of image and tag, thinned for drawing: curves.parquet.

Every point but the first lies on the exact curve: it is that of a threshold between two
bins of metrics.score_histogram.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.metrics import prior, score_histogram
from pipeline.metrics.calibration import Reliability
from pipeline.metrics.prior import Prior
from pipeline.metrics.tag_scores import TagScores

POINTS = 500  # per curve at most; a line of 500 pixels shows no more


def rows(
    scores: TagScores, blind: Prior, reliability: dict[str, Reliability]
) -> Iterator[dict[str, object]]:
    """Yields rows of schemas.CURVES, curve by curve, along x.

    reliability: of all tags together, by the name of the curve. Nothing where all pairs
    have the same label.
    """
    of_blind = prior.ranked_pairs(blind)
    if of_blind is None:
        return
    counts = score_histogram.count(scores).cumulative()
    yield from _ranked("micro", counts.true_positives, counts.false_positives)
    yield from _ranked("baseline_micro", of_blind.found, of_blind.false)
    for name, found in reliability.items():
        score, share = found.curve()
        yield from _curve(name, score, share, along=score)


def _ranked(
    kind: str, found: np.ndarray, false: np.ndarray
) -> Iterator[dict[str, object]]:
    """Yields the ROC curve and that of precision and recall.

    found, false: pairs from the highest score on.
    """
    false_rate = np.append(0, false / false[-1])
    true_rate = np.append(0, found / found[-1])
    along = false_rate + true_rate
    yield from _curve(f"roc_{kind}", false_rate, true_rate, along)
    # As scikit-learn draws it, where nothing is predicted precision is 1.
    precision = np.append(1, found / (found + false))
    yield from _curve(f"pr_{kind}", true_rate, precision, along=true_rate)


def _curve(
    name: str, x: np.ndarray, y: np.ndarray, along: np.ndarray
) -> Iterator[dict[str, object]]:
    """Yields points at equal steps of `along`, which rises, with both ends."""
    steps = np.linspace(along[0], along[-1], POINTS - 1)
    positions = np.append(np.searchsorted(along, steps), len(along) - 1)
    for position in np.unique(positions):
        yield {"curve": name, "x": float(x[position]), "y": float(y[position])}
