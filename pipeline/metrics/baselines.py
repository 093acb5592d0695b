"""What an image-blind model reaches: one that never looks at the image.

It scores every image with the share that each tag has in training. Where a baseline
needs a choice (whether to predict a tag always), the choice is made on the evaluated
split itself, so that no image-blind answer does better. labels: 0 or 1 [images, tags].
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


def constant_accuracy(labels: np.ndarray) -> np.ndarray:
    """Returns the better accuracy per tag of predicting it never or always."""
    share = labels.mean(axis=0)
    return np.asarray(np.maximum(share, 1 - share))
