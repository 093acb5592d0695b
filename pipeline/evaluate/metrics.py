"""What the stage says of one split.

Pure functions of labels and scores, each number with its image-blind baseline.

labels: 0 or 1, uint8 [pictures, tags]; scores: probabilities, float32 of the same
shape; thresholds: float64 [tags]. The image-blind model scores every picture with the
share that each tag has in training. Where a baseline needs a choice (which tags to say
always), it is made on the judged split itself, so no image-blind answer does better.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
)

from pipeline.metrics import ranking

FALLBACK_THRESHOLD = (
    0.5  # of tags without positives in validation: nothing there to choose by
)
# Of thresholds, rounded down, so that the picture that gave the threshold still reaches
# it
_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric beside what a model that never looks at the picture reaches on the same pictures."""

    value: float | None
    baseline: float | None
    low: float | None = (
        None  # 95 % interval over resampled pictures, where it was asked for
    )
    high: float | None = None


def thresholds(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Score from which each tag is said.

    Best F1, the highest of equals, float64 [tags].
    """
    return np.array(
        [_threshold(labels[:, tag], scores[:, tag]) for tag in range(labels.shape[1])]
    )


def _threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    if not labels.any():
        return FALLBACK_THRESHOLD
    precision, recall, candidates = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    f1 = f1[:-1]  # the last point, recall 0, belongs to no threshold
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)[-1]
    return float(np.floor(float(candidates[best]) * 10**_DECIMALS) / 10**_DECIMALS)


def compute_metrics(
    labels: np.ndarray, scores: np.ndarray, said: np.ndarray, shares: np.ndarray
) -> dict[str, Metric]:
    """Returns the metrics of a split by name.

    said: bool [pictures, tags]; shares: of each tag in training, [tags].

    Macro means leave out tags without positives, and rankings also tags without
    negatives.
    """
    present = labels.any(axis=0)
    return {
        "macro_auc": Metric(ranking.mean(ranking.roc_auc_per_tag(labels, scores)), 0.5),
        "macro_map": Metric(
            ranking.mean(ranking.average_precision_per_tag(labels, scores)),
            ranking.mean(ranking.prevalence_per_tag(labels))
        ),
        "micro_auc": Metric(micro_auc(labels, scores), micro_auc(labels,
        np.broadcast_to(shares, labels.shape))),
        "macro_f1": Metric(_macro_f1(labels[:, present], said[:, present]),
        ranking.mean(constant_f1(labels)[present])),
        "micro_f1": Metric(
            float(f1_score(labels.ravel(), said.ravel(), zero_division=0)),
            constant_micro_f1(labels, shares)
        ),
        "accuracy": Metric(
            float(accuracy_score(labels.ravel(), said.ravel())),
            float(constant_accuracy(labels).mean())
        ),
    }  # fmt: skip


def micro_auc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve of all (picture, tag) pairs ranked together.

    None where all pairs are alike.
    """
    if labels.min() == labels.max():
        return None
    return float(roc_auc_score(labels.ravel(), scores.ravel()))


def constant_f1(labels: np.ndarray) -> np.ndarray:
    """F1 of always saying the tag, per tag: 2p / (1 + p). Never saying it scores 0."""
    share = labels.mean(axis=0)
    return np.asarray(2 * share / (1 + share))


def constant_micro_f1(labels: np.ndarray, shares: np.ndarray) -> float:
    """Best micro F1 of giving every picture the same answer.

    The k tags commonest in training, for the best k.
    """
    positives = labels.sum(axis=0, dtype=np.int64)[np.argsort(-shares, kind="stable")]
    hits = np.cumsum(positives)
    said = len(labels) * np.arange(1, len(positives) + 1)
    return float(np.max(2 * hits / (said + positives.sum())))


def constant_accuracy(labels: np.ndarray) -> np.ndarray:
    """Accuracy of never saying the tag, or of always saying it where that is better, per tag."""
    share = labels.mean(axis=0)
    return np.asarray(np.maximum(share, 1 - share))


def _macro_f1(labels: np.ndarray, said: np.ndarray) -> float | None:
    if not labels.shape[1]:
        return None
    return ranking.mean(np.array([
        f1_score(labels[:, tag], said[:, tag],
        zero_division=0) for tag in range(labels.shape[1])
    ]))  # fmt: skip
