"""The judging stage: baselines are what an image-blind model reaches.

And numbers are scikit-learn's.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from pipeline import parquet
from pipeline.errors import BadInput, CorruptFile
from pipeline.evaluate import run
from pipeline.evaluate.evaluators import curves
from pipeline.evaluate.evaluators import ranking as ranking_evaluator
from pipeline.evaluate.evaluators import thresholded as thresholded_evaluator
from pipeline.metrics import baselines, bootstrap, ranking, thresholded
from pipeline.metrics.catalogue import Metric
from pipeline.params import Evaluate
from pipeline.paths import Paths
from pipeline.schemas.evaluation import PER_TAG
from tests.builders import toy_shards

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

PARAMS = Evaluate(bootstrap=50)


@pytest.fixture(scope="module")
def evaluated(toy_trained: Paths, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The trained toy project, evaluated."""
    root = tmp_path_factory.mktemp("evaluated") / "project"
    shutil.copytree(toy_trained.root, root)
    run(PARAMS, Paths(root))
    return Paths(root)


@pytest.fixture
def project(evaluated: Paths, tmp_path: Path) -> Paths:
    shutil.copytree(evaluated.root, tmp_path / "project")
    return Paths(tmp_path / "project")


@st.composite
def judged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of a few tags; scores are coarse, so that ties are common."""
    pictures, tags = draw(st.integers(2, 30)), draw(st.integers(1, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = (random.random((pictures, tags)) < random.random(tags)).astype(np.uint8)
    return labels, random.integers(0, 8, (pictures, tags)).astype(np.float32) / 8


def test_every_metric_of_a_trained_model_beats_its_baseline(evaluated: Paths) -> None:
    metrics = json.loads((evaluated.evaluation / "metrics.json").read_text())
    assert set(metrics["test"]) == {
        "macro_auc",
        "macro_map",
        "micro_auc",
        "macro_f1",
        "micro_f1",
        "accuracy",
    }
    assert all(
        metric["value"] > metric["baseline"] for metric in metrics["test"].values()
    )
    assert metrics["test"]["macro_auc"]["low"] < metrics["test"]["macro_auc"]["value"]
    assert metrics["records"] == {"validation": 48, "test": 48}


def test_tables_keep_their_schemas_and_order(evaluated: Paths) -> None:
    folder = evaluated.evaluation
    per_tag = parquet.read(folder / "per_tag.parquet")
    assert per_tag.columns == PER_TAG.names
    assert per_tag["name"].to_list() == list(toy_shards.TAGS)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert per_tag["auc"].mean() == pytest.approx(
        metrics["test"]["macro_auc"]["value"], abs=1e-5
    )
    predictions = parquet.read(folder / "predictions.parquet")
    assert predictions.select("split", "post_id").equals(
        predictions.sort("split", "post_id").select("split", "post_id")
    )
    assert predictions["scores"].list.len().unique().to_list() == [len(toy_shards.TAGS)]
    assert predictions.filter(post_id=289)["md5"].to_list() == [toy_shards.md5_of(289)]
    assert set(parquet.read(folder / "curves.parquet")["curve"]) == {
        "roc_micro", "pr_micro", "roc_baseline_micro", "pr_baseline_micro",
        "calibration",
    }  # fmt: skip


def test_predictions_carry_the_labels_of_the_shards(evaluated: Paths) -> None:
    predictions = parquet.read(evaluated.evaluation / "predictions.parquet").filter(
        split="test"
    )
    vocabulary = parquet.read(evaluated.sample / "vocabulary.parquet")
    counts = (
        predictions["label_ids"]
        .explode()
        .value_counts()
        .sort("label_ids")["count"]
        .to_list()
    )
    assert counts == vocabulary["test_positives"].to_list()


def test_same_model_and_shards_give_the_same_bytes(project: Paths) -> None:
    before = {path.name: path.read_bytes() for path in project.evaluation.iterdir()}
    run(PARAMS, project)
    assert {
        path.name: path.read_bytes() for path in project.evaluation.iterdir()
    } == before


def test_a_damaged_test_shard_is_named_and_the_old_evaluation_stays(
    project: Paths,
) -> None:
    shard = project.shards / "test-00000-of-00002.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-4])
    with pytest.raises(CorruptFile, match=r"test-00000-of-00002\.tfrecord"):
        run(PARAMS, project)
    assert (project.evaluation / "metrics.json").exists()


def test_a_damaged_model_is_named(project: Paths) -> None:
    (project.model / "model.keras").write_bytes(b"nothing")
    with pytest.raises(CorruptFile, match=r"model\.keras cannot be read"):
        run(PARAMS, project)


def test_a_model_of_another_vocabulary_is_refused(project: Paths) -> None:
    facts = json.loads((project.model / "training.json").read_text())
    (project.model / "training.json").write_text(json.dumps(facts | {"tags": 7}))
    with pytest.raises(BadInput, match="trained on 7 tags"):
        run(PARAMS, project)


def test_baselines_of_a_hand_computed_example() -> None:
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0]], np.uint8)
    scores = np.zeros((4, 3), np.float32)
    shares = np.array([0.7, 0.4, 0.1])
    predicted = np.zeros((4, 3), bool)
    found = dict(ranking_evaluator.evaluate(labels, scores, shares))
    found |= dict(thresholded_evaluator.evaluate(labels, predicted, shares))
    assert found["macro_auc"] == Metric(0.5, 0.5)
    assert found["macro_map"].baseline == pytest.approx(
        (3 / 4 + 2 / 4) / 2
    )  # the third tag has no positives
    assert found["macro_f1"].baseline == pytest.approx(
        (2 * 0.75 / 1.75 + 2 * 0.5 / 1.5) / 2
    )
    assert found["accuracy"].baseline == pytest.approx((0.75 + 0.5 + 1.0) / 3)
    # Saying the first tag gives 6/9, the first two 10/13, all three 10/17.
    assert found["micro_f1"].baseline == pytest.approx(10 / 13)
    # Of 5 positive and 7 negative pairs: 0.7 is above 7 - 1 negatives and ties with 1,
    # 0.4 above 4 and ties with 2.
    assert found["micro_auc"].baseline == pytest.approx((3 * 6.5 + 2 * 5) / 35)


@settings(deadline=None)
@given(judged())
def test_the_image_blind_baseline_is_what_sklearn_says_of_constant_scores(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, _ = case
    constant = np.broadcast_to(labels.mean(axis=0), labels.shape)
    for tag, share in enumerate(ranking.prevalence_per_tag(labels)):
        if not np.isnan(share):
            assert share == pytest.approx(
                average_precision_score(labels[:, tag], constant[:, tag])
            )
            assert roc_auc_score(labels[:, tag], constant[:, tag]) == 0.5
    always = [
        f1_score(column, np.ones_like(column), zero_division=0) for column in labels.T
    ]
    assert baselines.constant_f1(labels) == pytest.approx(always)


@settings(deadline=None)
@given(judged())
def test_no_constant_answer_beats_the_micro_f1_baseline(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, _ = case
    best = baselines.constant_micro_f1(labels, labels.mean(axis=0))
    for answer in range(2 ** labels.shape[1]):
        said = np.broadcast_to(
            [answer >> tag & 1 for tag in range(labels.shape[1])], labels.shape
        )
        assert f1_score(labels.ravel(), said.ravel(), zero_division=0) <= best + 1e-9


@settings(deadline=None)
@given(judged())
def test_no_threshold_beats_the_chosen_one(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = case
    for tag, threshold in enumerate(thresholded.choose_thresholds(labels, scores)):
        if not labels[:, tag].any():
            assert threshold == thresholded.FALLBACK_THRESHOLD
            continue
        chosen = f1_score(labels[:, tag], scores[:, tag] >= threshold)
        others = {
            value: f1_score(labels[:, tag], scores[:, tag] >= value)
            for value in np.unique(scores[:, tag])
        }
        assert chosen == pytest.approx(max(others.values()))
        assert threshold == pytest.approx(
            max(value for value, f1 in others.items() if f1 >= chosen - 1e-9)
        )


@settings(deadline=None)
@given(judged(), st.integers(0, 2**32))
def test_resampled_figures_are_sklearns_with_weights(
    case: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    labels, scores = case[0][:, 0], case[1][:, 0]
    weights = np.random.default_rng(seed).multinomial(
        len(labels), np.full(len(labels), 1 / len(labels)), size=4
    )
    areas, averages = bootstrap.bootstrap_ranking(labels, scores, weights)
    for area, average, weight in zip(areas, averages, weights, strict=True):
        if len(np.unique(labels[weight > 0])) < 2:
            assert np.isnan(area)
            assert np.isnan(average)
            continue
        assert area == pytest.approx(
            roc_auc_score(labels, scores, sample_weight=weight)
        )
        assert average == pytest.approx(
            average_precision_score(labels, scores, sample_weight=weight)
        )


def test_an_interval_narrows_with_pictures() -> None:
    random = np.random.default_rng(3)
    labels = (random.random((2_000, 3)) < 0.3).astype(np.uint8)
    scores = (labels + random.normal(size=labels.shape)).astype(np.float32)
    few = bootstrap.intervals(labels[:100], scores[:100], resamplings=100, seed=1)[
        "macro_auc"
    ]
    many = bootstrap.intervals(labels, scores, resamplings=100, seed=1)["macro_auc"]
    true = ranking.mean(ranking.roc_auc_per_tag(labels, scores))
    assert true is not None
    assert many[0] < true < many[1]
    assert many[1] - many[0] < (few[1] - few[0]) / 2


def test_a_tag_that_no_picture_has_is_left_out_not_zero() -> None:
    labels = np.array([[1, 0], [0, 0]], np.uint8)
    scores = np.array([[0.9, 0.2], [0.1, 0.3]], np.float32)
    assert ranking.mean(ranking.roc_auc_per_tag(labels, scores)) == 1.0
    assert (
        ranking.mean(ranking.average_precision_per_tag(labels[:, 1:], scores[:, 1:]))
        is None
    )


@settings(deadline=None)
@given(judged())
def test_curves_are_thinned_and_stay_in_the_unit_square(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, scores = case
    table = pl.DataFrame(
        list(curves.rows(labels, scores, labels.mean(axis=0))),
        schema=["curve", "x", "y"],
        orient="row",
    )
    assert table.is_empty() == (labels.min() == labels.max())
    if not table.is_empty():
        assert table.group_by("curve").len()["len"].max() <= curves.POINTS  # type: ignore[operator]
        assert table.select(pl.col("x", "y").is_between(0, 1).all()).row(0) == (
            True,
            True,
        )


def test_cross_entropy_of_large_logits_is_finite() -> None:
    labels = np.array([[1, 0]], np.uint8)
    assert ranking.cross_entropy(
        labels, np.array([[1e4, -1e4]], np.float32)
    ) == pytest.approx(0, abs=1e-9)
    assert ranking.cross_entropy(
        labels, np.array([[0.0, 0.0]], np.float32)
    ) == pytest.approx(np.log(2))
