"""Means over tags, and the loss of a model."""

import numpy as np
import pytest

from pipeline.metrics import ranking


def test_a_tag_that_no_image_has_is_left_out_not_zero() -> None:
    labels = np.array([[1, 0], [0, 0]], np.uint8)
    scores = np.array([[0.9, 0.2], [0.1, 0.3]], np.float32)
    assert ranking.mean(ranking.roc_auc_per_tag(labels, scores)) == 1.0
    without = ranking.average_precision_per_tag(labels[:, 1:], scores[:, 1:])
    assert ranking.mean(without) is None


def test_cross_entropy_of_large_logits_is_finite() -> None:
    labels = np.array([[1, 0]], np.uint8)
    assert ranking.cross_entropy(
        labels, np.array([[1e4, -1e4]], np.float32)
    ) == pytest.approx(0, abs=1e-9)
    assert ranking.cross_entropy(
        labels, np.array([[0.0, 0.0]], np.float32)
    ) == pytest.approx(np.log(2))
