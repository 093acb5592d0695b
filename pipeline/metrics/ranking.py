"""How well scores rank pictures, tag by tag.

And the number an image-blind score reaches on the same labels.

Tags without positives, or without negatives, have no ranking to judge: they are NaN
here, and left out of means.
"""

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score


def roc_auc_per_tag(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the ROC curve per tag, float64 [tags].

    labels: 0 or 1 [pictures, tags]; scores: any monotone scale.
    """
    return np.array(
        [
            roc_auc_score(labels[:, tag], scores[:, tag]) if rankable else np.nan
            for tag, rankable in enumerate(_rankable(labels))
        ]
    )


def average_precision_per_tag(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Average precision per tag, float64 [tags].

    Precision summed over steps of recall, nothing interpolated.
    """
    return np.array(
        [
            average_precision_score(labels[:, tag], scores[:, tag])
            if rankable
            else np.nan
            for tag, rankable in enumerate(_rankable(labels))
        ]
    )


def prevalence_per_tag(labels: np.ndarray) -> np.ndarray:
    """Share of positives per rankable tag.

    The average precision of a constant score.
    """
    return np.where(_rankable(labels), labels.mean(axis=0), np.nan)


def mean(values: np.ndarray) -> float | None:
    """Mean over the tags that have a value; None where none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Binary cross-entropy in nats, mean over pictures and tags.

    Computed from logits, so that it never overflows.
    """
    return float(np.mean(np.logaddexp(0, logits.astype(np.float64)) - labels * logits))


def _rankable(labels: np.ndarray) -> np.ndarray:
    positives = labels.sum(axis=0, dtype=np.int64)
    return np.asarray((positives > 0) & (positives < len(labels)))
