"""Intervals lie around their value and are as wide as those of ranking anew."""

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from pipeline.evaluate.evaluators import ranking
from pipeline.metrics import thresholded
from pipeline.metrics.bootstrap import Estimate, Resampling
from pipeline.metrics.tag_scores import TagScores
from tests.builders.scores import example


def interval(estimate: Estimate, resamplings: int = 400) -> tuple[float, float]:
    assert estimate.value is not None
    assert estimate.influence is not None
    images = len(estimate.influence)
    drawn = Resampling(images, resamplings=resamplings, seed=1)
    found = drawn.interval(estimate.value, estimate.influence)
    assert found is not None
    return found


def test_an_interval_of_macro_map_is_as_wide_as_that_of_ranking_anew() -> None:
    labels, scores = example(250, 12, 0.1)
    found = ranking.rank_tags(TagScores.from_dense(labels, scores)).macro_map
    low, high = interval(found)
    random = np.random.default_rng(2)
    anew = []
    for _ in range(100):
        drawn = random.integers(0, 250, 250)
        some = [
            average_precision_score(labels[drawn, tag], scores[drawn, tag])
            for tag in range(12)
        ]
        anew.append(np.mean(some))
    expected = np.diff(np.quantile(anew, [0.025, 0.975]))[0]
    assert high - low == pytest.approx(expected, rel=0.3)
    assert (low + high) / 2 == pytest.approx(found.value, abs=0.005)


def test_an_interval_narrows_with_images() -> None:
    labels, scores = example(2_000, 3, 0.3)
    few = TagScores.from_dense(labels[:100], scores[:100])
    many = TagScores.from_dense(labels, scores)
    widths = []
    for some in (few, many):
        low, high = interval(ranking.rank_tags(some).macro_auc)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_an_interval_lies_around_its_value_where_tags_are_rare() -> None:
    """Resamplings by themselves lie 0.04 above the value of 0.25 here."""
    random = np.random.default_rng(5)
    labels = np.zeros((120, 30), np.uint8)
    for tag in range(30):
        labels[random.choice(120, 3, replace=False), tag] = 1
    scores = (labels + random.normal(size=labels.shape)).astype(np.float32)
    found = ranking.rank_tags(TagScores.from_dense(labels, scores)).macro_map
    low, high = interval(found)
    assert (low + high) / 2 == pytest.approx(found.value, abs=0.01)
    assert 0.05 < high - low < 0.3


@pytest.mark.parametrize(
    "metric", [thresholded.macro_f1, thresholded.micro_f1, thresholded.accuracy]
)
def test_influences_of_predicted_tags_are_the_change_by_an_image_more(
    metric: "type[thresholded.macro_f1]",
) -> None:
    labels, scores = example(400, 5, 0.2)

    def value(images: np.ndarray) -> Estimate:
        some = TagScores.from_dense(labels[images], scores[images])
        pairs = thresholded.predict(some, np.full(5, 0.3))
        return metric(thresholded.count(some.labels, pairs))

    everything = np.arange(400)
    whole = value(everything)
    assert whole.value is not None
    assert whole.influence is not None
    assert whole.influence.mean() == pytest.approx(0, abs=1e-9)
    for image in range(0, 400, 61):
        more = value(np.append(everything, image)).value
        expected = whole.influence[image] / 400
        assert more - whole.value == pytest.approx(expected, abs=2e-5)


def test_no_resamplings_give_no_interval() -> None:
    drawn = Resampling(10, resamplings=0, seed=1)
    assert drawn.interval(0.5, np.zeros(10)) is None


def test_an_interval_of_some_images_is_of_their_influence() -> None:
    drawn = Resampling(1_000, resamplings=500, seed=1)
    images = np.arange(0, 1_000, 10)
    random = np.random.default_rng(1)
    influence = random.normal(size=100) / 4
    found = drawn.interval(0.5, influence - influence.mean(), images)
    assert found is not None
    # The mean of 100 numbers with a deviation of 0.25.
    assert found[1] - found[0] == pytest.approx(2 * 1.96 * 0.025, rel=0.25)


def test_resamplings_take_a_byte_an_image() -> None:
    images, resamplings = 2_000, 500
    tracemalloc.start()
    try:
        Resampling(images, resamplings=resamplings, seed=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * images * resamplings
