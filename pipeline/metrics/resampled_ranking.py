"""AUC and average precision of a tag, ranked anew in every resampling of its images.

scikit-learn sorts anew for every resampling; here each tag is sorted once and resampled
by weights. A test holds both to the same numbers.
"""

import numpy as np

BATCH = 20  # resamplings of a tag counted at once; bounds memory only


def bootstrap_ranking(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns AUC and average precision of one tag, float64 [resamplings] each.

    NaN where there is nothing to rank. labels, scores: [images]; weights: how often
    each image was drawn, int64 [resamplings, images].
    """
    order = np.argsort(-scores, kind="stable")
    changes = np.flatnonzero(np.diff(scores[order]))
    last_of_score = np.append(changes, len(order) - 1)
    positive = labels[order].astype(np.int64)
    auc = np.empty(len(weights))
    average = np.empty(len(weights))
    for start in range(0, len(weights), BATCH):
        batch = slice(start, start + BATCH)
        drawn = weights[batch][:, order]
        auc[batch], average[batch] = _rank(drawn, positive, last_of_score)
    return auc, average


def _rank(
    drawn: np.ndarray, positive: np.ndarray, last_of_score: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns AUC and average precision of images in order of falling scores.

    drawn: how often each was drawn, int64 [resamplings, images]; positive: 0 or 1
    [images]; last_of_score: position of the last image of each score.
    """
    true_positives = _cumulative(drawn * positive, last_of_score)
    predicted = _cumulative(drawn, last_of_score)
    false_positives = predicted - true_positives
    new_true = _steps(true_positives)
    new_false = _steps(false_positives)
    precision = _precision(true_positives, predicted)
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = true_positives[:, -1] * false_positives[:, -1]
        auc = ((true_positives - new_true / 2) * new_false).sum(axis=1) / pairs
        average = (precision * new_true).sum(axis=1) / true_positives[:, -1]
    average[~np.isfinite(auc)] = np.nan
    return auc, average


def _cumulative(counts: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.cumsum(counts, axis=1)[:, columns].astype(np.float64)


def _precision(true_positives: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns the share of true positives, 0 where nothing is predicted."""
    ratio = true_positives / np.maximum(predicted, 1)
    return np.where(predicted > 0, ratio, 0.0)


def _steps(cumulative: np.ndarray) -> np.ndarray:
    """Returns how much each column adds to the one before it."""
    zero = np.zeros((len(cumulative), 1))
    return np.diff(cumulative, axis=1, prepend=zero)
