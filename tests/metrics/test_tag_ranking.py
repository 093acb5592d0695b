"""The ranking of a tag is scikit-learn's, and influences say what weights do."""

import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from pipeline.metrics import tag_ranking
from pipeline.metrics.tag_ranking import Ranking
from tests.builders.scores import example, labels_and_scores


def rank(scores: np.ndarray, labels: np.ndarray) -> Ranking | None:
    return tag_ranking.rank(tag_ranking.order(scores, np.flatnonzero(labels)))


@settings(deadline=None)
@given(labels_and_scores())
def test_auc_and_average_precision_are_sklearns(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, scores = case[0][:, 0], case[1][:, 0]
    found = rank(scores, labels)
    if labels.min() == labels.max():
        assert found is None
        return
    assert found is not None
    assert found.auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-9)
    average = average_precision_score(labels, scores)
    assert found.average_precision == pytest.approx(average, abs=1e-9)
    assert found.auc_influence().mean() == pytest.approx(0, abs=1e-9)
    assert found.average_precision_influence().mean() == pytest.approx(0, abs=1e-9)


@settings(deadline=None)
@given(labels_and_scores())
def test_f1_of_every_step_is_sklearns(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = case[0][:, 0], case[1][:, 0]
    if labels.any():
        at = tag_ranking.steps(scores, np.flatnonzero(labels))
        expected = [f1_score(labels, scores >= value) for value in at.values]
        assert at.f1.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("levels", [4, 1_000_000])
def test_influences_are_the_change_by_a_little_more_weight(levels: int) -> None:
    labels, scores = (part[:60, 0] for part in example(60, 1, 0.3))
    scores = (np.round(scores * levels) / levels).astype(np.float32)
    found = rank(scores, labels)
    assert found is not None
    place_of = np.argsort(found.images)
    for image in range(0, 60, 7):
        weights = np.ones(60)
        weights[image] += 1e-6
        metrics = (
            (roc_auc_score, found.auc_influence()),
            (average_precision_score, found.average_precision_influence()),
        )
        for metric, influence in metrics:
            more = metric(labels, scores, sample_weight=weights)
            change = (more - metric(labels, scores)) / 1e-6
            assert change == pytest.approx(influence[place_of[image]] / 60, abs=1e-5)
