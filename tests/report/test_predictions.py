"""How well each test image was predicted."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score

from pipeline import parquet
from pipeline.paths import Paths
from pipeline.report import predictions
from pipeline.schemas.evaluation import PREDICTIONS
from tests.builders.posts import labels_of
from tests.builders.report_inputs import TEST
from tests.builders.tables import md5, set_value

THRESHOLDS = [0.5, 0.4, 0.3]


def score_at_random(paths: Paths) -> dict[int, list[float]]:
    """Gives the test images random scores; returns them by post."""
    random = np.random.default_rng(621)
    scores = {}
    for post_id in TEST:
        scores[post_id] = random.random(3).astype(np.float32).tolist()
        path = paths.evaluation / "predictions.parquet"
        set_value(path, PREDICTIONS, "post_id", post_id, scores=scores[post_id])
    return scores


@pytest.mark.parametrize("batch", [1, 3, 1_024])
def test_f1_is_that_of_scikit_learn_whatever_is_read_at_once(
    project: Paths, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = score_at_random(project)
    monkeypatch.setattr(predictions, "BATCH", batch)
    found = predictions.test_images(project, THRESHOLDS)
    assert found["post_id"].to_list() == TEST
    for post_id, f1 in found.select("post_id", "f1").iter_rows():
        given = [label in labels_of(post_id) for label in range(3)]
        predicted = np.array(scores[post_id]) >= THRESHOLDS
        if not any(given) and not predicted.any():
            assert f1 is None
        else:
            assert f1 == pytest.approx(f1_score(given, predicted, zero_division=0))


def test_an_image_without_tags_has_no_f1(project: Paths) -> None:
    path = project.evaluation / "predictions.parquet"
    post_id = next(one for one in TEST if not labels_of(one))
    set_value(path, PREDICTIONS, "post_id", post_id, scores=[0.0, 0.0, 0.0])
    found = predictions.test_images(project, THRESHOLDS)
    row = found.filter(pl.col("post_id") == post_id)
    assert row["f1"].to_list() == [None]


def test_scores_are_those_of_the_images_that_are_asked_for(project: Paths) -> None:
    scores = score_at_random(project)
    wanted = [md5(TEST[5]), md5(TEST[0])]
    found = predictions.scores(project, wanted, 3)
    assert found == {md5(one): scores[one] for one in (TEST[0], TEST[5])}


def test_without_test_predictions_there_are_no_images(project: Paths) -> None:
    path = project.evaluation / "predictions.parquet"
    rows = parquet.read(path).filter(pl.col("split") != "test")
    parquet.write(path, rows, PREDICTIONS)
    assert predictions.test_images(project, THRESHOLDS).is_empty()
