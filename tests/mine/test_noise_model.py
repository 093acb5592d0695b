"""The estimators, on records whose truth is known."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from threadpoolctl import threadpool_limits

from pipeline.mine import noise_model
from pipeline.mine.noise_model import fit


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """As the stage has it: threads slow tiny steps down."""
    with threadpool_limits(1, user_api="blas"):
        yield


def drawn(
    missing: float, wrong: float, seed: int, records: int = 4_000
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns scores, truth and labels of records."""
    random = np.random.default_rng(seed)
    score = random.normal(size=records) * 1.5
    truth = random.random(records) < expit(4 * score - 3)
    draw = random.random(records)
    labels = np.where(truth, draw >= missing, draw < wrong)
    return score, truth, labels


def fitted(score: NDArray[np.float64], labels: NDArray[np.bool_]) -> noise_model.Curve:
    present = labels.astype(np.float64)
    return fit(score, present, 1 - present, (1e-3, 1e-3))


def test_share_of_missing_labels_is_within_its_interval() -> None:
    inside = 0
    for seed in range(20):
        score, truth, labels = drawn(0.15, 0.002, seed)
        curve = fitted(score, labels)
        share = (truth & ~labels).sum() / truth.sum()
        inside += curve.low <= 0.15 <= curve.high
        assert curve.missing == pytest.approx(share, abs=0.06)
    assert inside >= 16


def test_tags_are_ranked_by_what_is_missing() -> None:
    shares = [0.02, 0.1, 0.2, 0.35]
    found = [fitted(*drawn(share, 0.0, 1)[::2]).missing for share in shares]
    assert found == sorted(found)


def test_probabilities_of_missing_labels_are_calibrated() -> None:
    score, truth, labels = drawn(0.2, 0.002, 3, records=20_000)
    curve = fitted(score, labels)
    probability = curve.missing_given_absent(score)
    for low, high in ((0.05, 0.3), (0.3, 0.7), (0.7, 1)):
        chosen = ~labels & (probability >= low) & (probability < high)
        assert chosen.sum() > 50
        assert truth[chosen].mean() == pytest.approx(
            probability[chosen].mean(), abs=0.08
        )


def test_wrong_labels_are_those_with_low_scores() -> None:
    score, truth, labels = drawn(0.02, 0.02, 4)
    curve = fitted(score, labels)
    probability = curve.wrong_given_present(score)
    likely = labels & (probability > 0.5)
    assert likely.sum() > 10
    assert (~truth[likely]).mean() > 0.7


def test_tilted_probabilities_sum_up_to_what_is_missing() -> None:
    odds = np.linspace(-8, 1, 50)
    absent = np.full(50, 10.0)
    shift = noise_model.tilt(odds, absent, 120.0)
    assert absent @ expit(odds + shift) == pytest.approx(120.0)
    assert noise_model.tilt(odds, absent, 1e9) == noise_model.MAX_TILT
    assert noise_model.tilt(odds, absent, 0.0) == -noise_model.MAX_TILT
