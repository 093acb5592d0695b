"""How well scores rank images, tag by tag.

labels: 0 or 1 [images, tags]; scores: any monotone scale, the same shape. Tags without
positives, or without negatives, have no ranking: they are NaN here, and left out of
means.
"""

from collections.abc import Callable

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score


def roc_auc_per_tag(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns the area under the ROC curve per tag, float64 [tags]."""
    return _per_rankable_tag(roc_auc_score, labels, scores)


def average_precision_per_tag(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns the average precision per tag, float64 [tags].

    Precision summed over steps of recall, nothing interpolated.
    """
    return _per_rankable_tag(average_precision_score, labels, scores)


def prevalence_per_tag(labels: np.ndarray) -> np.ndarray:
    """Returns the share of positives per rankable tag, float64 [tags].

    It is the average precision of a constant score.
    """
    return np.where(_rankable(labels), labels.mean(axis=0), np.nan)


def mean(values: np.ndarray) -> float | None:
    """Returns the mean over the tags that have a value; None where none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Returns the binary cross-entropy in nats, mean over images and tags.

    Computed from logits, so that it never overflows.
    """
    negative_log_likelihood = np.logaddexp(0, logits.astype(np.float64))
    return float(np.mean(negative_log_likelihood - labels * logits))


def _per_rankable_tag(
    metric: Callable[[np.ndarray, np.ndarray], float],
    labels: np.ndarray,
    scores: np.ndarray,
) -> np.ndarray:
    values = np.full(labels.shape[1], np.nan)
    for tag in np.flatnonzero(_rankable(labels)):
        values[tag] = metric(labels[:, tag], scores[:, tag])
    return values


def _rankable(labels: np.ndarray) -> np.ndarray:
    positives = labels.sum(axis=0, dtype=np.int64)
    return np.asarray((positives > 0) & (positives < len(labels)))
