"""Calibration: fitted maps undo what was done to the logits, and keep the order."""

import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.calibration import calibration_curve

from pipeline.metrics import calibration
from pipeline.metrics.calibration import Calibration, Method
from pipeline.metrics.tag_scores import TagScores
from tests.builders.scores import labels_and_scores


def true_logits(seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels, and logits that are exactly calibrated: [images, tags]."""
    random = np.random.default_rng(seed)
    logits = random.normal(-1, 2, (4_000, 10))
    labels = random.random(logits.shape) < 1 / (1 + np.exp(-logits))
    return labels.astype(np.uint8), logits.astype(np.float32)


def error(labels: np.ndarray, logits: np.ndarray, found: Calibration) -> float:
    scores = TagScores.from_dense(labels, logits)
    return float(calibration.reliability(scores, found).total().error)


@settings(deadline=None)
@given(labels_and_scores())
def test_reliability_curve_is_sklearns(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = case
    found = calibration.reliability(TagScores.from_dense(labels, scores)).total()
    score, share = found.curve()
    gaps = np.abs(score - share) * found.pairs[found.pairs > 0] / labels.size
    assert float(found.error) == pytest.approx(gaps.sum(), abs=1e-6)
    is_on_edge = (scores * calibration.BINS % 1 == 0) & (scores > 0)
    if labels.min() == labels.max() or is_on_edge[scores < 1].any():
        return  # scikit-learn takes no constant labels, and puts edges elsewhere
    expected_share, expected_score = calibration_curve(
        labels.ravel(), scores.ravel(), n_bins=calibration.BINS
    )
    assert score == pytest.approx(expected_score, abs=1e-6)
    assert share == pytest.approx(expected_share)


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_temperature_finds_the_factor_of_the_logits(factor: float) -> None:
    labels, logits = true_logits()
    found = calibration.fit(
        Method.TEMPERATURE, TagScores.from_dense(labels, logits * factor)
    )
    assert found.slope == pytest.approx(1 / factor, rel=0.05)
    assert (found.offset, found.knots, found.bends) == (0.0, (), ())


def test_isotonic_undoes_what_no_temperature_can() -> None:
    labels, logits = true_logits()
    bent = np.where(logits > 0, 3 * logits, logits / 2) + 1
    given_scores = TagScores.from_dense(labels, bent)
    temperature = calibration.fit(Method.TEMPERATURE, given_scores)
    isotonic = calibration.fit(Method.ISOTONIC, given_scores)
    other_labels, other = true_logits(seed=4)
    bent = np.where(other > 0, 3 * other, other / 2) + 1
    assert error(other_labels, bent, isotonic) < 0.01
    assert error(other_labels, bent, temperature) > 0.05


@settings(deadline=None, max_examples=30)
@given(labels_and_scores())
def test_every_map_keeps_the_order_and_ties_nothing(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, scores = case
    logits = 20 * scores - 10
    for method in Method:
        found = calibration.fit(method, TagScores.from_dense(labels, logits))
        line = found.apply(np.linspace(-30, 30, 600))
        assert (np.diff(line) > 0).all()
        assert np.isfinite(line).all()


def test_labels_of_one_kind_calibrate_nothing() -> None:
    logits = np.ones((5, 2), np.float32)
    nothing = TagScores.from_dense(np.zeros((5, 2), np.uint8), logits)
    found = calibration.fit(Method.ISOTONIC, nothing)
    assert found == Calibration(Method.NONE)
    assert found.apply(logits).tolist() == logits.tolist()
