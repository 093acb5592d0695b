"""Metrics of all pairs are scikit-learn's, whatever the size of the chunks."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    roc_auc_score,
)

from pipeline.metrics import (
    calibration,
    micro,
    score_histogram,
    tag_scores,
    thresholded,
)
from pipeline.metrics.tag_scores import TagScores
from tests.builders.scores import example, labels_and_scores


@settings(deadline=None)
@given(labels_and_scores())
def test_ranking_of_all_pairs_is_sklearns(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = case
    found = micro.rank(TagScores.from_dense(labels, scores))
    if labels.min() == labels.max():
        assert found is None
        return
    assert found is not None
    expected = roc_auc_score(labels.ravel(), scores.ravel())
    assert found.auc == pytest.approx(expected, abs=1e-9)
    expected = average_precision_score(labels.ravel(), scores.ravel())
    assert found.average_precision == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(labels_and_scores())
def test_f1_and_accuracy_are_sklearns(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = case
    given_scores = TagScores.from_dense(labels, scores)
    half = np.full(labels.shape[1], 0.5)
    pairs = thresholded.predict(given_scores, half)
    counts = thresholded.count(given_scores.labels, pairs)
    truth, answers = labels.ravel(), (scores >= 0.5).ravel()
    if labels.any():
        expected = f1_score(truth, answers, zero_division=0)
        assert thresholded.micro_f1(counts).value == pytest.approx(expected)
        present = labels.any(axis=0)
        per_tag = f1_score(labels, scores >= 0.5, average=None, zero_division=0)
        if labels.shape[1] > 1:
            macro = per_tag[present].mean()
            assert thresholded.macro_f1(counts).value == pytest.approx(macro)
    else:
        assert thresholded.micro_f1(counts).absent is not None
        assert thresholded.macro_f1(counts).value is None
    accuracy = accuracy_score(truth, answers)
    assert thresholded.accuracy(counts).value == pytest.approx(accuracy)


@pytest.mark.parametrize("chunk", [1, 700, 1_000_000])
def test_chunks_of_any_size_give_the_same_numbers(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tag_scores, "CHUNK", chunk)
    labels, scores = example()
    found = micro.rank(TagScores.from_dense(labels, scores))
    assert found is not None
    expected = roc_auc_score(labels.ravel(), scores.ravel())
    assert found.auc == pytest.approx(expected, abs=1e-12)
    counts = score_histogram.count(TagScores.from_dense(labels, scores))
    assert counts.positives.sum() == labels.sum()
    assert counts.negatives.sum() == (labels == 0).sum()


def test_influences_are_the_change_by_more_weight() -> None:
    """Of all pairs of an image, as far as bins tell scores apart."""
    labels, scores = example(200, 6, 0.2)
    given_scores = TagScores.from_dense(labels, scores)
    ranking = micro.rank(given_scores)
    assert ranking is not None
    found = micro.influence(given_scores, ranking)
    metrics = (
        (roc_auc_score, found.auc),
        (average_precision_score, found.average_precision),
    )
    for metric, influence in metrics:
        assert influence.mean() == pytest.approx(0, abs=1e-3)
        for image in range(0, 200, 23):
            weights = np.ones(labels.shape)
            weights[image] += 1e-3
            flat = weights.ravel()
            more = metric(labels.ravel(), scores.ravel(), sample_weight=flat)
            change = (more - metric(labels.ravel(), scores.ravel())) / 1e-3
            assert change == pytest.approx(influence[image] / 200, abs=2e-4)


def test_memory_does_not_grow_with_pairs() -> None:
    images, tags = 20_000, 400
    random = np.random.default_rng(1)
    labels = random.random((images, tags), np.float32) < 0.04
    scores = TagScores.from_dense(labels, random.random((images, tags), np.float32))
    tracemalloc.start()
    found = micro.rank(scores)
    assert found is not None
    micro.influence(scores, found)
    calibration.fit(calibration.Method.ISOTONIC, scores)
    calibration.reliability(scores)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Chunks of a million pairs take 40 MB; a byte a pair more is 8 MB.
    assert peak < 8 * images * tags
