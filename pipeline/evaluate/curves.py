"""Curves of the test split over all (picture, tag) pairs, thinned for drawing."""

from collections.abc import Iterator

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_curve

POINTS = 500  # per curve at most; a line of 500 pixels shows no more
BINS = 15  # of the calibration curve, equally wide in score; empty ones are left out


def rows(
    labels: np.ndarray, scores: np.ndarray, shares: np.ndarray
) -> Iterator[dict[str, object]]:
    """Yields rows of schemas.CURVES, curve by curve, along x.

    shares: of each tag in training.
    """
    truth = labels.ravel()
    if truth.min() == truth.max():
        return
    blind = np.broadcast_to(shares, labels.shape).ravel()
    for kind, values in (("micro", scores.ravel()), ("baseline_micro", blind)):
        false_rate, true_rate, _ = roc_curve(truth, values)
        yield from _curve(f"roc_{kind}", false_rate, true_rate)
        precision, recall, _ = precision_recall_curve(truth, values)
        yield from _curve(f"pr_{kind}", recall[::-1], precision[::-1])
    share, score = calibration_curve(truth, scores.ravel(), n_bins=BINS)
    yield from _curve("calibration", score, share)


def _curve(name: str, x: np.ndarray, y: np.ndarray) -> Iterator[dict[str, object]]:
    kept = np.unique(
        np.linspace(0, len(x) - 1, min(POINTS, len(x))).round().astype(int)
    )
    for position in kept:
        yield {"curve": name, "x": float(x[position]), "y": float(y[position])}
