"""Bins keep the order of scores, and are fine where models are sure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics import score_histogram
from pipeline.metrics.tag_scores import TagScores

SCORES = st.floats(0, 1, width=32)


@given(st.lists(SCORES, min_size=2))
def test_a_higher_score_has_no_lower_bin(values: list[float]) -> None:
    bins = score_histogram.bins_of(np.sort(np.array(values, np.float32)))
    assert (np.diff(bins) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < score_histogram.BINS


@pytest.mark.parametrize(
    "score", [1e-6, 0.001, 0.1, 0.3, 0.4999, 0.5, 0.7, 0.99, 0.999]
)
def test_scores_whose_odds_differ_by_1_in_256_have_bins_of_their_own(
    score: float,
) -> None:
    odds = score / (1 - score) * (1 + 1 / 256)
    pair = np.array([score, odds / (1 + odds)], np.float32)
    low, high = score_histogram.bins_of(pair)
    assert low < high


def test_counts_from_an_edge_on_are_exact() -> None:
    labels = np.array([[1, 0, 1], [0, 1, 0]], np.uint8)
    scores = np.array([[0.9, 0.9, 0.2], [0.0, 1.0, 0.2]], np.float32)
    found = score_histogram.count(TagScores.from_dense(labels, scores)).cumulative()
    assert found.true_positives.tolist() == [1, 2, 3, 3]
    assert found.false_positives.tolist() == [0, 1, 2, 3]
    for edge, hits in zip(found.edges, found.true_positives, strict=True):
        assert labels[scores >= edge].sum() == hits


@given(st.lists(SCORES, min_size=1))
def test_a_score_is_between_the_edges_of_its_bin(values: list[float]) -> None:
    scores = np.array(values, np.float32)
    edges = score_histogram.lower_edges()
    bins = score_histogram.bins_of(scores)
    assert (scores >= edges[bins]).all()
    above = bins + 1 < score_histogram.BINS
    assert (scores[above] < edges[bins[above] + 1]).all()
