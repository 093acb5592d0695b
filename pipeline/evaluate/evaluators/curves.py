"""Curves over all pairs of image and tag, thinned for drawing: curves.parquet."""

from collections.abc import Iterator

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from pipeline.metrics import baselines, calibration

POINTS = 500  # per curve at most; a line of 500 pixels shows no more


def rows(
    labels: np.ndarray, scores: np.ndarray, shares: np.ndarray
) -> Iterator[dict[str, object]]:
    """Yields rows of schemas.CURVES, curve by curve, along x.

    shares: of each tag in training. Nothing where all pairs have the same label.
    """
    truth = labels.ravel()
    if truth.min() == truth.max():
        return
    blind = baselines.blind_scores(shares, len(labels))
    for kind, values in (("micro", scores), ("baseline_micro", blind)):
        flat = values.ravel()
        false_rate, true_rate, _ = roc_curve(truth, flat)
        yield from _curve(f"roc_{kind}", false_rate, true_rate)
        precision, recall, _ = precision_recall_curve(truth, flat)
        yield from _curve(f"pr_{kind}", recall[::-1], precision[::-1])
    score, share = calibration.reliability_curve(labels, scores)
    yield from _curve("calibration", score, share)


def _curve(name: str, x: np.ndarray, y: np.ndarray) -> Iterator[dict[str, object]]:
    count = min(POINTS, len(x))
    positions = np.linspace(0, len(x) - 1, count).round().astype(int)
    for position in np.unique(positions):
        yield {"curve": name, "x": float(x[position]), "y": float(y[position])}
