"""The area under the ROC curve, computed by the gates."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.validate import roc_auc

TYPES = {"label_ids": pl.List(pl.Int32), "scores": pl.List(pl.Float32)}


def predictions(labels: list[list[int]], scores: list[list[float]]) -> pl.DataFrame:
    return pl.DataFrame({"label_ids": labels, "scores": scores}, schema=TYPES)


def test_auc_is_that_of_scikit_learn_with_tied_scores() -> None:
    generator = np.random.default_rng(7)
    tags = roc_auc.TAGS_AT_ONCE + 3
    truth = generator.random((50, tags)) < 0.3
    scores = generator.integers(0, 8, (50, tags)) / 8
    labels = [np.flatnonzero(row).tolist() for row in truth]
    found = roc_auc.per_tag(predictions(labels, scores.tolist()), tags)

    expected = [
        roc_auc_score(truth[:, column], scores[:, column]) for column in range(tags)
    ]
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_tag_without_positives_or_without_negatives_has_no_auc() -> None:
    table = predictions([[0], [0]], [[0.1, 0.2], [0.3, 0.4]])

    assert roc_auc.per_tag(table, 2) == [None, None]


def test_lists_of_another_length_have_no_auc() -> None:
    table = predictions([[0], []], [[0.9, 0.1], [0.1]])

    assert roc_auc.per_tag(table, 2) == [None, None]


def test_no_predictions_have_no_auc() -> None:
    assert roc_auc.per_tag(predictions([], []), 2) == [None, None]


def test_labels_beyond_the_vocabulary_are_ignored() -> None:
    table = predictions([[0, 7], [-1]], [[0.9, 0.1], [0.1, 0.2]])

    assert roc_auc.per_tag(table, 2) == [1.0, None]
