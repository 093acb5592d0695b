"""Resampled AUC and average precision are scikit-learn's with weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.metrics import resampled_ranking

IMAGES = 12
# Few different scores, so that many images tie.
SCORES = npst.arrays(np.float32, IMAGES, elements=st.sampled_from([0.1, 0.4, 0.5, 0.9]))
LABELS = npst.arrays(np.uint8, IMAGES, elements=st.integers(0, 1))


def drawn(seed: int) -> np.ndarray:
    equal = np.full(IMAGES, 1 / IMAGES)
    return np.random.default_rng(seed).multinomial(IMAGES, equal, size=4)


@settings(deadline=None)
@given(LABELS, SCORES, st.integers(0, 2**32))
def test_resampled_metrics_are_those_of_scikit_learn(
    labels: np.ndarray, scores: np.ndarray, seed: int
) -> None:
    weights = drawn(seed)
    areas, averages = resampled_ranking.bootstrap_ranking(labels, scores, weights)
    for area, average, weight in zip(areas, averages, weights, strict=True):
        if len(np.unique(labels[weight > 0])) < 2:
            assert np.isnan(area)
            assert np.isnan(average)
            continue
        expected = roc_auc_score(labels, scores, sample_weight=weight)
        assert area == pytest.approx(expected)
        expected = average_precision_score(labels, scores, sample_weight=weight)
        assert average == pytest.approx(expected)


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, IMAGES).astype(np.uint8)
    scores = random.random(IMAGES)
    whole = resampled_ranking.bootstrap_ranking(labels, scores, drawn(1))
    monkeypatch.setattr(resampled_ranking, "BATCH", 1)
    single = resampled_ranking.bootstrap_ranking(labels, scores, drawn(1))
    np.testing.assert_array_equal(whole, single)
