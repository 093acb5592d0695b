"""Baselines are what scikit-learn says of scores that are the same in each cell."""

import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from pipeline.metrics import baselines, prior
from pipeline.metrics.prior import Prior
from pipeline.metrics.tag_scores import sparse_labels
from tests.builders.scores import labels_and_scores


def in_cells(labels: np.ndarray, cells: int = 3) -> tuple[Prior, np.ndarray]:
    """Returns a prior of a few cells, and its scores of every image, coarse."""
    random = np.random.default_rng(1)
    cell_of = random.integers(0, cells, len(labels))
    scores = random.integers(0, 4, (cells, labels.shape[1])) / 4
    return Prior(cell_of, scores, sparse_labels(labels)), scores[cell_of]


@settings(deadline=None)
@given(labels_and_scores())
def test_rankings_of_cells_are_sklearns(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, _ = case
    model, scores = in_cells(labels)
    for tag, found in prior.ranked_tags(model).items():
        truth, values = labels[:, tag], scores[:, tag]
        assert found.auc == pytest.approx(roc_auc_score(truth, values))
        average = average_precision_score(truth, values)
        assert found.average_precision == pytest.approx(average)
    pairs = prior.ranked_pairs(model)
    if pairs is not None:
        truth, values = labels.ravel(), scores.ravel()
        assert pairs.auc == pytest.approx(roc_auc_score(truth, values))
        average = average_precision_score(truth, values)
        assert pairs.average_precision == pytest.approx(average)
        best = max(f1_score(truth, values >= value) for value in np.unique(values))
        assert pairs.best_f1 == pytest.approx(best)


@settings(deadline=None)
@given(labels_and_scores())
def test_with_one_cell_it_is_the_image_blind_baseline(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, _ = case
    model = prior.blind(labels.mean(axis=0), sparse_labels(labels))
    for tag, found in prior.ranked_tags(model).items():
        assert found.auc == baselines.MACRO_AUC
        assert found.average_precision == pytest.approx(labels[:, tag].mean())
        always = baselines.constant_f1(labels)[tag]
        assert found.best_f1 == pytest.approx(always)
    right = baselines.constant_accuracy(labels).mean()
    assert prior.accuracy(model) == pytest.approx(right)


@settings(deadline=None, max_examples=30)
@given(labels_and_scores())
def test_no_constant_answer_beats_the_micro_f1_baseline(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, _ = case
    model = prior.blind(labels.mean(axis=0), sparse_labels(labels))
    pairs = prior.ranked_pairs(model)
    if pairs is None:
        return
    for answer in range(2 ** labels.shape[1]):
        chosen = [answer >> tag & 1 for tag in range(labels.shape[1])]
        constant = np.broadcast_to(chosen, labels.shape)
        f1 = f1_score(labels.ravel(), constant.ravel(), zero_division=0)
        assert f1 <= pairs.best_f1 + 1e-9


def test_baselines_of_a_hand_computed_example() -> None:
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0]], np.uint8)
    model = prior.blind(np.array([0.7, 0.4, 0.1]), sparse_labels(labels))
    pairs = prior.ranked_pairs(model)
    assert pairs is not None
    # Saying the first tag gives 6/9, the first two 10/13, all three 10/17.
    assert pairs.best_f1 == pytest.approx(10 / 13)
    # Of 5 positive and 7 negative pairs: 0.7 is above 7 - 1 negatives and ties with 1,
    # 0.4 above 4 and ties with 2.
    assert pairs.auc == pytest.approx((3 * 6.5 + 2 * 5) / 35)
    assert prior.accuracy(model) == pytest.approx((0.75 + 0.5 + 1.0) / 3)
    assert prior.first_ranks(model).tolist() == [1, 1, 2, 1]
