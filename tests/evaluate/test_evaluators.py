"""Evaluators, each on cases worked out by hand, and on those that have no answer."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from pipeline import parquet
from pipeline.evaluate import groups, matrices, results
from pipeline.evaluate.case import Case, ScoredSplit
from pipeline.evaluate.evaluators import (
    confusion,
    curves,
    implications,
    ranking,
    reciprocal_rank,
    slices,
)
from pipeline.evaluate.evaluators.implications import Implications
from pipeline.evaluate.evaluators.originals import Originals
from pipeline.evaluate.informed import Informed
from pipeline.evaluate.results import Inputs
from pipeline.metrics import prior
from pipeline.metrics import ranking as dense_ranking
from pipeline.metrics.bootstrap import Resampling
from pipeline.metrics.calibration import Reliability
from pipeline.metrics.tag_scores import TagScores
from pipeline.metrics.thresholds import Thresholds
from pipeline.params.evaluate import Evaluate
from tests.builders.scores import example

TAGS = ["animal", "canine", "wolf", "hat"]


def made_split(name: str, labels: np.ndarray, scores: np.ndarray) -> ScoredSplit:
    images = len(labels)
    return ScoredSplit(
        name=name,
        post_ids=np.arange(images)[::-1] + 100,
        md5s=[f"{number:032x}" for number in range(images)],
        scores=TagScores.from_dense(labels, scores),
        uncertainty=None,
        dark_shares=np.linspace(0, 1, images),
    )


def made_facts(images: int) -> pl.DataFrame:
    """Every third image is rated q, every other is twice as wide as high."""
    numbers = np.arange(images)
    return pl.DataFrame(
        {
            "post_id": numbers[::-1] + 100,
            "rating": np.where(numbers % 3 == 0, "q", "s"),
            "created_at": [
                datetime(2020 + one % 2, 6, 21, tzinfo=UTC) for one in numbers
            ],
            "width": np.where(numbers % 2 == 0, 800, 400),
            "height": [400] * images,
        }
    )


def made_case(labels: np.ndarray, scores: np.ndarray) -> Case:
    shares = np.linspace(0.6, 0.1, labels.shape[1])
    split = made_split("test", labels, scores)
    blind = prior.blind(shares, split.scores.labels)
    half = Thresholds(np.full(len(shares), 0.5), 0.5, 0.5)
    priors = {"blind": blind, "informed": blind}
    return Case.build(split, made_facts(len(labels)), shares, priors, half)


def made_inputs(splits: dict[str, ScoredSplit]) -> Inputs:
    tags = splits["test"].scores.tags
    positives = np.arange(10, 10 + tags)
    train = pl.DataFrame({"rating": ["s", "q"], "label_ids": [[0], [0, 1]]})
    vocabulary = pl.DataFrame(
        {
            "label_id": range(tags),
            "name": [f"tag_{tag}" for tag in range(tags)],
            "category": ["general"] * tags,
        },
        schema_overrides={"label_id": pl.Int32},
    )
    facts = {name: made_facts(split.scores.images) for name, split in splits.items()}
    informed = Informed.learn(train, positives / 100)
    return Inputs(
        vocabulary, positives, 100, facts, informed, Implications({}, {}), "pad"
    )


def evaluate(labels: np.ndarray, scores: np.ndarray, folder: Path) -> dict[str, object]:
    """Evaluates logits as validation and test; returns the metrics of test."""
    logits = np.log(scores) - np.log1p(-scores)
    splits = {}
    for name in ("validation", "test"):
        splits[name] = made_split(name, labels, logits)
    params = Evaluate(bootstrap=20)
    calibrated = results.calibrate(params, splits)
    nothing = Originals(0, None, None)
    folder.mkdir(exist_ok=True)
    inputs = made_inputs(splits)
    results.write(params, inputs, splits, calibrated, nothing, folder)
    tree = pl.read_json(folder / "metrics.json")
    return tree["splits"][0]["test"]  # type: ignore[no-any-return]


def test_reciprocal_ranks_are_of_the_first_right_tag() -> None:
    labels = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [1, 1, 0]], np.uint8)
    scores = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [1, 1, 1], [0.5, 0.7, 0.7]])
    found = reciprocal_rank.first_ranks(TagScores.from_dense(labels, scores))
    # In the last image a wrong tag has the same score, and comes first.
    assert found[[0, 1, 3]].tolist() == [1, 3, 2]
    case = made_case(labels, scores)
    (finding,) = reciprocal_rank.evaluate(case)
    assert finding.estimate.value == pytest.approx((1 + 1 / 3 + 1 / 2) / 3)
    # The prior says the first tag first: right, third, first.
    assert finding.baseline == pytest.approx((1 + 1 / 3 + 1) / 3)


def test_a_right_tag_behind_the_tenth_counts_nothing() -> None:
    places = np.array([1, reciprocal_rank.TOP, reciprocal_rank.TOP + 1])
    found = reciprocal_rank.reciprocal(places).tolist()
    assert found == [1.0, 1 / reciprocal_rank.TOP, 0.0]


def test_a_tag_is_confused_with_what_is_said_where_it_is_missed() -> None:
    labels = np.zeros((12, 3), np.uint8)
    labels[:4, 0] = 1
    scores = np.zeros((12, 3))
    scores[:4, 1] = 0.9  # said in the place of the first, and nowhere else
    scores[:, 2] = 0.9  # said everywhere: no more there than elsewhere
    case = made_case(labels, scores)
    assert confusion.confused_tags(case.own) == [[1], [], []]


# Both first images are of wolves; the model says wolf without canine of the first.
WOLVES = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], np.uint8)
OF_WOLVES = np.array([[0.9, 0.2, 0.8, 0.1], [0.9, 0.9, 0.9, 0.1], [0.1, 0.3, 0.1, 0.9]])


@pytest.fixture
def modes() -> dict[str, dict[str, float]]:
    """What each mode of implications gives; wolves are canines, canines animals."""
    case = made_case(WOLVES, OF_WOLVES)
    relations = Implications({1: [0], 2: [0, 1]}, {0: [1, 2], 1: [2]})
    ranked = ranking.rank_tags(case.split.scores)
    return implications.evaluate(case, ranked, relations)


def test_modes_of_implications_make_predictions_consistent(
    modes: dict[str, dict[str, float]],
) -> None:
    assert modes["off"]["inconsistent"] == pytest.approx(1 / 3)
    assert modes["raise_parents"]["inconsistent"] == 0
    assert modes["cap_children"]["inconsistent"] == 0


def test_raising_parents_finds_what_was_missed_and_capping_children_loses_a_hit(
    modes: dict[str, dict[str, float]],
) -> None:
    # Hits of 7 true pairs: raising adds the canine that was missed, capping loses wolf.
    assert modes["off"]["micro_f1"] == pytest.approx(2 * 6 / (6 + 7))
    assert modes["raise_parents"]["micro_f1"] == 1
    assert modes["cap_children"]["micro_f1"] == pytest.approx(2 * 5 / (5 + 7))


def test_raising_parents_changes_the_order_of_images(
    modes: dict[str, dict[str, float]],
) -> None:
    # The third image's canine scored above the first's: the first's wolf lifts it.
    precision = dense_ranking.average_precision_per_tag(WOLVES, OF_WOLVES)
    assert modes["off"]["macro_map"] == pytest.approx(precision.mean())
    assert modes["raise_parents"]["macro_map"] == 1


NUMBERS = np.arange(240)  # of the images that are sliced
IS_IN_SLICE = [
    pytest.param("rating", "q", NUMBERS % 3 == 0, id="rating"),
    pytest.param("year", "2021", NUMBERS % 2 == 1, id="year"),
    pytest.param("aspect_ratio", "wider than 2:1", NUMBERS % 2 == 0, id="aspect ratio"),
    pytest.param("size", "256 to 511 pixels", NUMBERS % 2 == 1, id="size"),
    pytest.param(
        "near_black", "near-black", np.linspace(0, 1, 240) >= 0.8, id="near-black"
    ),
]


@pytest.fixture(scope="module")
def labels_and_scores() -> tuple[np.ndarray, np.ndarray]:
    """Of 240 images and 5 tags."""
    return example(240, 5, 0.3)


@pytest.fixture(scope="module")
def slice_rows(labels_and_scores: tuple[np.ndarray, np.ndarray]) -> pl.DataFrame:
    """Every slice of the images; the second tag is lore, the last is the rarest."""
    case = made_case(*labels_and_scores)
    vocabulary = pl.DataFrame({"category": ["general", "lore"] + ["general"] * 3})
    of_tags = groups.of_tags(vocabulary, np.array([50, 40, 30, 20, 10]))
    of_images = groups.of_images(case.facts, case.split.dark_shares)
    ranked = ranking.rank_tags(case.split.scores, of_tags)
    drawn = Resampling(240, resamplings=50, seed=1)
    rows = list(slices.rows(case, ranked, of_tags, of_images, drawn))
    return pl.DataFrame(rows, infer_schema_length=None)


@pytest.mark.parametrize(("kind", "value", "some"), IS_IN_SLICE)
def test_a_slice_of_images_is_what_they_alone_give(
    slice_rows: pl.DataFrame,
    labels_and_scores: tuple[np.ndarray, np.ndarray],
    kind: str,
    value: str,
    some: np.ndarray,
) -> None:
    labels, scores = (array[some] for array in labels_and_scores)
    row = slice_rows.filter(slice=kind, value=value).row(0, named=True)
    precision = dense_ranking.average_precision_per_tag(labels, scores)
    auc = dense_ranking.roc_auc_per_tag(labels, scores)
    assert row["records"] == some.sum()
    assert row["macro_map"] == pytest.approx(precision.mean())
    assert row["macro_auc"] == pytest.approx(auc.mean())
    assert row["macro_map_baseline"] == pytest.approx(labels.mean())
    assert row["macro_map_low"] < row["macro_map"] < row["macro_map_high"]


def test_a_slice_of_a_category_is_what_its_tags_alone_give(
    slice_rows: pl.DataFrame, labels_and_scores: tuple[np.ndarray, np.ndarray]
) -> None:
    labels, scores = labels_and_scores
    lore = slice_rows.filter(slice="category", value="lore").row(0, named=True)
    expected = average_precision_score(labels[:, 1], scores[:, 1])
    assert lore["macro_map"] == pytest.approx(expected)


def test_the_first_slice_by_frequency_is_of_the_tags_rarest_in_training(
    slice_rows: pl.DataFrame, labels_and_scores: tuple[np.ndarray, np.ndarray]
) -> None:
    labels, scores = labels_and_scores
    rarest = slice_rows.filter(slice="tag_frequency", position=0).row(0, named=True)
    assert rarest["value"] == "10 to 10 training images"
    expected = average_precision_score(labels[:, 4], scores[:, 4])
    assert rarest["macro_map"] == pytest.approx(expected)


def test_a_slice_without_images_is_absent_with_a_reason(
    slice_rows: pl.DataFrame,
) -> None:
    absent = slice_rows.filter(slice="aspect_ratio", value="tall").row(0, named=True)
    assert absent["records"] == 0
    assert absent["macro_map"] is None
    assert absent["absent"] == "no image"


def test_tags_with_equally_many_images_are_one_slice() -> None:
    vocabulary = pl.DataFrame({"category": ["general"] * 40})
    positives = np.array([30] * 25 + [31] * 15)
    frequency, _ = groups.of_tags(vocabulary, positives)
    names = [f"{ends} training images" for ends in ("30 to 30", "30 to 31", "31 to 31")]
    assert list(frequency.values) == names
    sizes = [len(frequency.members(place)) for place in range(3)]
    assert sizes == [24, 4, 12]


SHARES = np.array([0.25, 0.33, 0.0, *[0.33] * 6])


@dataclass(frozen=True)
class Learnt:
    """A baseline, and ratings and labels of 500 of the images it has learnt from."""

    informed: Informed
    ratings: list[str]
    labels: csr_array


@pytest.fixture(scope="module")
def learnt() -> Learnt:
    """Of images rated q half have the first tag; with many tags, all the second."""
    random = np.random.default_rng(1)
    rows = []
    for number in range(4_000):
        labels = [0] if number % 4 == 1 else []
        if number % 3 == 0:
            labels += [1, *range(3, 9)]
        rows.append(("q" if number % 2 else "s", sorted(labels)))
    train = pl.DataFrame(rows, schema=["rating", "label_ids"], orient="row")
    some = random.choice(4_000, 500, replace=False)
    dense = np.zeros((500, 9), np.uint8)
    for row, number in enumerate(some):
        dense[row, rows[number][1]] = 1
    ratings = [rows[number][0] for number in some]
    informed = Informed.learn(train, SHARES)
    return Learnt(informed, ratings, TagScores.from_dense(dense, dense).labels)


def test_the_informed_baseline_knows_rating_and_number_of_tags(learnt: Learnt) -> None:
    found = learnt.informed.prior(learnt.ratings, learnt.labels)
    ranked = prior.ranked_tags(found)
    assert ranked[0].auc > 0.75
    assert ranked[1].auc > 0.99


def test_a_rating_that_training_has_not_seen_is_scored_by_the_shares(
    learnt: Learnt,
) -> None:
    strange = learnt.informed.prior(["e"] * 500, learnt.labels)
    assert np.allclose(strange.scores[strange.cell_of], SHARES)


Points = dict[str, list[tuple[float, float]]]


def curve_points(labels: np.ndarray, scores: np.ndarray) -> Points:
    given = TagScores.from_dense(labels, scores)
    blind = prior.blind(labels.mean(axis=0), given.labels)
    nothing = np.zeros(15)
    empty = Reliability(nothing + 1, nothing, nothing)
    points: Points = {}
    for row in curves.rows(given, blind, {"calibration": empty}):
        point = (float(row["x"]), float(row["y"]))  # type: ignore[arg-type]
        points.setdefault(str(row["curve"]), []).append(point)
    return points


def lies_on(points: list[tuple[float, float]], x: np.ndarray, y: np.ndarray) -> bool:
    """Returns whether each point is one of the exact curve."""
    exact = np.stack([x, y], axis=1)
    distances = [np.abs(exact - point).max(axis=1).min() for point in points]
    return max(distances) < 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_every_point_of_a_curve_lies_on_sklearns(seed: int) -> None:
    labels, scores = example(30, 4, 0.3, seed)
    scores = np.round(scores * 8) / 8
    points = curve_points(labels, scores)
    truth = labels.ravel()
    blind = np.broadcast_to(labels.mean(axis=0), labels.shape)
    for kind, values in (("micro", scores), ("baseline_micro", blind)):
        flat = values.ravel()
        false_rate, true_rate, _ = roc_curve(truth, flat, drop_intermediate=False)
        assert lies_on(points[f"roc_{kind}"], false_rate, true_rate)
        precision, recall, _ = precision_recall_curve(truth, flat)
        assert lies_on(points[f"pr_{kind}"], recall, precision)


@pytest.fixture(scope="module")
def sure() -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores, most of them within a hundredth of 0 or 1."""
    random = np.random.default_rng(2)
    labels = (random.random((4_000, 20)) < 0.05).astype(np.uint8)
    logits = 14.0 * labels - 10 + 4 * random.normal(size=labels.shape)
    return labels, (1 / (1 + np.exp(-logits))).astype(np.float32)


@pytest.fixture(scope="module")
def points_of_sure(sure: tuple[np.ndarray, np.ndarray]) -> Points:
    return curve_points(*sure)


@pytest.mark.parametrize(
    ("name", "exact"),
    [
        pytest.param("roc_micro", roc_auc_score, id="ROC"),
        pytest.param("pr_micro", average_precision_score, id="precision and recall"),
    ],
)
def test_curves_of_many_sure_scores_have_the_area_of_the_exact_ones(
    sure: tuple[np.ndarray, np.ndarray],
    points_of_sure: Points,
    name: str,
    exact: Callable[[np.ndarray, np.ndarray], float],
) -> None:
    labels, scores = sure
    x, y = np.array(points_of_sure[name]).T
    area = exact(labels.ravel(), scores.ravel())
    assert np.trapezoid(y, x) == pytest.approx(area, abs=2e-3)


@pytest.mark.parametrize("name", ["roc_micro", "pr_micro"])
def test_curves_of_many_sure_scores_have_few_points_everywhere(
    points_of_sure: Points, name: str
) -> None:
    x, _ = np.array(points_of_sure[name]).T
    assert len(x) <= curves.POINTS
    assert np.diff(x).max() < 0.01
    assert (x[0], x[-1]) == (0, 1)


@pytest.mark.parametrize("label", [0, 1])
def test_metrics_of_labels_that_are_all_the_same_are_absent_with_a_reason(
    label: int, tmp_path: Path
) -> None:
    _, scores = example(20, 3)
    labels = np.full(scores.shape, label, np.uint8)
    found = evaluate(labels, scores, tmp_path / "evaluation")
    for name in ("macro_map", "macro_auc", "micro_map", "micro_auc"):
        assert found[name]["value" if "value" in found[name] else "absent"]  # type: ignore[index, operator]
        assert "value" not in found[name] or found[name]["value"] is None  # type: ignore[index, operator]
        assert found[name]["absent"]  # type: ignore[index]
    per_tag = parquet.read(tmp_path / "evaluation" / "per_tag.parquet")
    assert per_tag["auc"].is_null().all()
    assert per_tag["f1"].is_null().all() == (label == 0)
    rows = parquet.read(tmp_path / "evaluation" / "slices.parquet")
    assert rows["macro_map"].is_null().all()
    assert rows["absent"].is_not_null().all()


def test_a_tag_without_positives_is_left_out_and_null(tmp_path: Path) -> None:
    labels, scores = example(60, 3, 0.3)
    labels[:, 1] = 0
    found = evaluate(labels, scores, tmp_path / "evaluation")
    expected = dense_ranking.average_precision_per_tag(labels[:, ::2], scores[:, ::2])
    assert found["macro_map"]["value"] == pytest.approx(  # type: ignore[index]
        expected.mean(), abs=1e-6
    )
    per_tag = parquet.read(tmp_path / "evaluation" / "per_tag.parquet")
    row = per_tag.row(1, named=True)
    for name in ("auc", "average_precision", "f1", "baseline_f1", "recall"):
        assert row[name] is None


def test_predictions_are_ordered_by_post_in_row_groups(tmp_path: Path) -> None:
    labels, scores = example(60, 3, 0.3)
    evaluate(labels, scores, tmp_path / "evaluation")
    found = parquet.read(tmp_path / "evaluation" / "predictions.parquet")
    of_test = found.filter(split="test")
    assert of_test["post_id"].to_list() == sorted(of_test["post_id"])
    # The first image has the highest post id.
    last = of_test.row(-1, named=True)
    assert last["md5"] == f"{0:032x}"
    assert last["label_ids"] == np.flatnonzero(labels[0]).tolist()
    # Calibrated: the order within a tag is that of the logits.
    beside = np.array(of_test["scores"].to_list())[::-1]
    assert (np.argsort(beside[:, 0]) == np.argsort(scores[:, 0])).all()


def test_a_matrix_leaves_no_file(tmp_path: Path) -> None:
    """Not even where the process is killed: its file never has a name."""
    matrix = matrices.new(tmp_path, 3, 5)
    matrix[:] = 1
    assert matrix.shape == (3, 5)
    assert list(tmp_path.iterdir()) == []
