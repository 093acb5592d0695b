"""What an image-blind model reaches: one that never looks at the image.

It scores every image with the share that each tag has in training. Where a baseline
needs a choice (which tags to predict always), the choice is made on the evaluated split
itself, so that no image-blind answer does better. labels: 0 or 1 [images, tags].
"""

import numpy as np

MACRO_AUC = 0.5
"""A constant score ranks no image above another."""


def log_odds(positives: np.ndarray, records: int) -> np.ndarray:
    """Returns log(p / (1 - p)) of each tag's share of training, float32 [tags].

    Smoothed as if one more record had the tag and one more had it not.
    """
    share = (positives + 1) / (records + 2)
    return np.log(share / (1 - share)).astype(np.float32)


def blind_scores(shares: np.ndarray, images: int) -> np.ndarray:
    """Returns the same scores for every image, float64 [images, tags].

    shares: of each tag in training, [tags].
    """
    return np.broadcast_to(shares, (images, len(shares)))


def constant_f1(labels: np.ndarray) -> np.ndarray:
    """Returns F1 of always predicting the tag, per tag: 2p / (1 + p).

    Never predicting it has F1 0.
    """
    share = labels.mean(axis=0)
    return np.asarray(2 * share / (1 + share))


def constant_micro_f1(labels: np.ndarray, shares: np.ndarray) -> float:
    """Returns the best micro F1 of predicting the same tags for every image.

    They are the k most frequent tags of training, for the best k.
    """
    by_frequency = np.argsort(-shares, kind="stable")
    positives = labels.sum(axis=0, dtype=np.int64)[by_frequency]
    hits = np.cumsum(positives)
    predicted = len(labels) * np.arange(1, len(positives) + 1)
    return float(np.max(2 * hits / (predicted + positives.sum())))


def constant_accuracy(labels: np.ndarray) -> np.ndarray:
    """Returns the better accuracy per tag of predicting it never or always."""
    share = labels.mean(axis=0)
    return np.asarray(np.maximum(share, 1 - share))
