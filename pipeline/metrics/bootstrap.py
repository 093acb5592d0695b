"""How far macro AUC and macro mAP would move on other images of the same kind.

A bootstrap over images. scikit-learn sorts anew for every resampling; here each tag is
sorted once and resampled by weights: 200 resamplings of 55 tags take tenths of a second
instead of a quarter of a minute. A test holds both to the same numbers.
"""

import numpy as np

from pipeline.metrics import ranking

LEVEL = 0.95  # share of resamplings inside the interval


def intervals(
    labels: np.ndarray, scores: np.ndarray, *, resamplings: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Returns (low, high) of macro_auc and macro_map.

    A tag that has no positives in a resampling is left out there.
    """
    images, tags = labels.shape
    equal = np.full(images, 1 / images)
    random = np.random.default_rng(seed)
    weights = random.multinomial(images, equal, size=resamplings)
    auc = np.empty((tags, resamplings))
    precision = np.empty((tags, resamplings))
    for tag in range(tags):
        auc[tag], precision[tag] = bootstrap_ranking(
            labels[:, tag], scores[:, tag], weights
        )
    found = {}
    for name, values in (("macro_auc", auc), ("macro_map", precision)):
        means = _means(values)
        if means.size:
            found[name] = _interval(means)
    return found


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
    drawn = weights[:, order]
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


def _means(values: np.ndarray) -> np.ndarray:
    """Returns means over tags, float64 [resamplings with any tag].

    values: [tags, resamplings].
    """
    means = []
    for column in values.T:
        mean = ranking.mean(column)
        if mean is not None:
            means.append(mean)
    return np.array(means)


def _interval(means: np.ndarray) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail]).tolist()
    return low, high
