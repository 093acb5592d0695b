"""Whether a score of 0.8 is right in eight of ten cases."""

import numpy as np
from sklearn.calibration import calibration_curve

BINS = 15  # equally wide in score; empty ones are left out


def reliability_curve(
    labels: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean score and share of positives per bin, float64 [bins] each.

    Over all pairs of image and tag.
    """
    share, score = calibration_curve(labels.ravel(), scores.ravel(), n_bins=BINS)
    return score, share
