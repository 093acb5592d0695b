"""How good the tags are that a threshold per tag predicts.

labels: 0 or 1, uint8 [images, tags]; predicted: bool, the same shape.
"""

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    precision_recall_curve,
    precision_recall_fscore_support,
)

from pipeline.metrics.ranking import mean

# Of tags without positives in validation: there is nothing to choose a threshold by.
FALLBACK_THRESHOLD = 0.5
# Of thresholds, rounded down, so that the image that gave the threshold still reaches
# it.
_DECIMALS = 6


def choose_thresholds(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns, per tag, the score of the best F1, float64 [tags].

    Of equally good scores the highest.
    """
    thresholds = np.empty(labels.shape[1])
    for tag in range(len(thresholds)):
        thresholds[tag] = _choose_threshold(labels[:, tag], scores[:, tag])
    return thresholds


def _choose_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    if not labels.any():
        return FALLBACK_THRESHOLD
    precision, recall, candidates = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    f1 = f1[:-1]  # the last point, recall 0, belongs to no threshold
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)[-1]
    scale = 10**_DECIMALS
    return float(np.floor(float(candidates[best]) * scale) / scale)


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float | None:
    """Returns the mean F1 over the tags with positives; None where no tag has one."""
    present = np.flatnonzero(labels.any(axis=0))
    if not present.size:
        return None
    values = np.empty(len(present))
    for position, tag in enumerate(present):
        values[position] = f1_score(labels[:, tag], predicted[:, tag], zero_division=0)
    return mean(values)


def micro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Returns F1 over all pairs of image and tag."""
    return float(f1_score(labels.ravel(), predicted.ravel(), zero_division=0))


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Returns the share of pairs of image and tag that are predicted correctly."""
    return float(accuracy_score(labels.ravel(), predicted.ravel()))


def per_tag(labels: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Returns precision, recall, f1 and accuracy, float64 [tags] each."""
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels,
        predicted.astype(np.uint8),
        average=None,
        zero_division=0,
        labels=range(labels.shape[1]),
    )
    correct = (predicted == labels).mean(axis=0)
    return {"f1": f1, "precision": precision, "recall": recall, "accuracy": correct}
