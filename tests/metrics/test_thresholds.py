"""Thresholds: the best F1 of each tag, drawn to the one of all where images are few."""

import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.metrics import f1_score, precision_score, recall_score

from pipeline.metrics import thresholds
from pipeline.metrics.tag_scores import TagScores
from tests.builders.scores import example, labels_and_scores, tag_scores


@settings(deadline=None, max_examples=30)
@given(labels_and_scores())
def test_without_support_no_threshold_beats_the_chosen_one(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, scores = case
    found = thresholds.choose(TagScores.from_dense(labels, scores), support=0)
    for tag, threshold in enumerate(found.per_tag):
        if not labels[:, tag].any():
            assert threshold == found.shared
            continue
        chosen = f1_score(labels[:, tag], scores[:, tag] >= threshold)
        others = {}
        for value in np.unique(scores[:, tag]):
            others[value] = f1_score(labels[:, tag], scores[:, tag] >= value)
        assert chosen == pytest.approx(max(others.values()))
        best = max(value for value, f1 in others.items() if f1 >= chosen - 1e-9)
        assert threshold == pytest.approx(best, abs=2e-6)


def test_the_shared_threshold_has_the_best_f1_of_all_pairs() -> None:
    labels, scores = example(2_000, 20)
    found = thresholds.choose(TagScores.from_dense(labels, scores), support=10)
    truth, flat = labels.ravel(), scores.ravel()
    shared = f1_score(truth, flat >= found.shared)
    for other in np.linspace(0.02, 0.98, 49):
        assert f1_score(truth, flat >= other) <= shared + 1e-9


def test_precision_equals_recall_at_the_break_even_threshold() -> None:
    labels, scores = example(2_000, 20)
    found = thresholds.choose(TagScores.from_dense(labels, scores), support=10)
    predicted = (scores >= found.break_even).ravel()
    precision = precision_score(labels.ravel(), predicted)
    recall = recall_score(labels.ravel(), predicted)
    assert precision == pytest.approx(recall, abs=0.005)


def test_a_tag_of_as_many_images_as_the_support_is_drawn_half_way() -> None:
    scores = tag_scores()
    own = thresholds.choose(scores, support=0)
    count = int(scores.positives[2])
    drawn = thresholds.choose(scores, support=count)
    ends = np.array([own.per_tag[2], own.shared])
    middle = np.log(ends / (1 - ends)).mean()
    assert drawn.per_tag[2] == pytest.approx(1 / (1 + np.exp(-middle)), abs=2e-6)


def test_a_threshold_of_one_lucky_image_is_drawn_up() -> None:
    labels, scores = example(300, 7)
    labels[:, 0] = 0
    labels[3, 0] = 1
    scores[:, 0] = 0.01
    scores[3, 0] = 0.02
    found = thresholds.choose(TagScores.from_dense(labels, scores), support=40)
    assert found.per_tag[0] > 0.8 * found.shared


def test_least_precision_raises_thresholds_and_names_tags_that_lack_it() -> None:
    labels, scores = example(2_000, 6, 0.2)
    scores[:, 5] = 0.5  # ranks nothing
    given_scores = TagScores.from_dense(labels, scores)
    plain = thresholds.choose(given_scores, support=10)
    found = thresholds.choose(given_scores, support=10, min_precision=0.95)
    assert found.unmet == (5,)
    for tag in range(5):
        predicted = scores[:, tag] >= found.per_tag[tag]
        assert precision_score(labels[:, tag], predicted) >= 0.95
        assert found.per_tag[tag] >= plain.per_tag[tag] - 1e-6
    assert (scores[:, 5] >= found.per_tag[5]).all()


@pytest.mark.parametrize("high", [3e-7, 0.9999997])
def test_thresholds_tell_images_apart_near_0_and_1(high: float) -> None:
    labels = np.zeros((40, 2), np.uint8)
    labels[:4] = 1
    scores = np.full((40, 2), high * (1 - 2e-7), np.float32)
    scores[:4] = high
    assert (scores[0] > scores[5]).all()
    given_scores = TagScores.from_dense(labels, scores)
    for least in (None, 1.0):
        found = thresholds.choose(given_scores, support=0, min_precision=least)
        assert found.unmet == ()
        assert ((scores >= found.per_tag) == labels).all()


def test_without_any_label_every_threshold_is_one_half() -> None:
    nothing = TagScores.from_dense(np.zeros((4, 2), np.uint8), np.ones((4, 2)) / 3)
    found = thresholds.choose(nothing, support=40)
    assert found.per_tag.tolist() == [0.5, 0.5]
