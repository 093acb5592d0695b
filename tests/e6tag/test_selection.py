"""Which tags are an answer: thresholds, patterns, categories, implications, rating."""

from dataclasses import replace

import numpy as np
import pytest

from e6tag import bundle
from e6tag.bundle import Bundle
from e6tag.selection import Answer, BadSelection, ImplicationMode, Options, Selector
from tests.builders import toy_bundle

# Of red, green_(colour), blue_fox and :3, whose thresholds are 0.5, 0.5, 0.5 and 0.9.
SCORES = np.array([0.6, 0.4, 0.8, 0.85], np.float32)
NO_RATINGS = np.zeros(4, np.float32)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle.read(toy_bundle.write_bundle(tmp_path_factory.mktemp("bundle")))


def answer(toy: Bundle, scores: np.ndarray = SCORES, **options: object) -> Answer:
    return Selector(toy, Options(**options)).select(scores, NO_RATINGS)  # type: ignore[arg-type]


def names(toy: Bundle, scores: np.ndarray = SCORES, **options: object) -> list[str]:
    return [tag.name for tag in answer(toy, scores, **options).tags]


def test_each_tag_has_its_own_threshold(toy: Bundle) -> None:
    assert names(toy) == ["blue_fox", "red"]


def test_one_threshold_for_all(toy: Bundle) -> None:
    assert names(toy, threshold=0.3) == [":3", "blue_fox", "red", "green_(colour)"]


def test_score_at_the_threshold_applies(toy: Bundle) -> None:
    assert names(toy, np.array([0.5, 0, 0, 0], np.float32)) == ["red"]


def test_top_keeps_the_highest(toy: Bundle) -> None:
    assert names(toy, threshold=0, top=2) == [":3", "blue_fox"]


def test_equal_scores_are_in_order_of_names(toy: Bundle) -> None:
    scores = np.full(4, 0.95, np.float32)
    assert names(toy, scores) == [":3", "blue_fox", "green_(colour)", "red"]


@pytest.mark.parametrize(
    ("pattern", "included"),
    [
        pytest.param("blue_fox", ["blue_fox"], id="a name"),
        pytest.param("blue fox", ["blue_fox"], id="spaces"),
        pytest.param("*_(colour)", ["green_(colour)"], id="parentheses"),
        pytest.param(":?", [":3"], id="one character"),
        pytest.param("*e*", ["blue_fox", "red", "green_(colour)"], id="within"),
        pytest.param("RED", [], id="letters count"),
        pytest.param("[r]ed", [], id="brackets are no pattern"),
    ],
)
def test_patterns(toy: Bundle, pattern: str, included: list[str]) -> None:
    everything = names(toy, threshold=0)
    assert names(toy, threshold=0, include=(pattern,)) == included
    left = [name for name in everything if name not in included]
    assert names(toy, threshold=0, exclude=(pattern,)) == left


def test_categories(toy: Bundle) -> None:
    assert names(toy, threshold=0, categories=("species",)) == ["blue_fox"]
    assert answer(toy).tags[0].category == "species"


def test_parents_are_added_in_any_number_of_steps(toy: Bundle) -> None:
    tags = answer(toy, implications=ImplicationMode.ADD).tags
    assert [tag.name for tag in tags] == ["blue_fox", "canine", "fox", "red"]
    canine = tags[1]
    assert canine.is_implied
    assert canine.score == pytest.approx(0.8)
    assert (canine.threshold, canine.category) == (None, None)


def test_known_parent_keeps_its_own_higher_score(toy: Bundle) -> None:
    scores = np.array([0, 0.7, 0, 0.85], np.float32)
    tags = answer(toy, scores, implications=ImplicationMode.ADD).tags
    assert [(tag.name, tag.is_implied) for tag in tags] == [
        (":3", True),
        ("green_(colour)", False),
    ]
    assert tags[0].score == pytest.approx(0.85)
    assert tags[0].threshold == 0.9


def test_parents_of_selected_tags_are_dropped(toy: Bundle) -> None:
    scores = np.array([0, 0.7, 0, 0.95], np.float32)
    assert names(toy, scores) == [":3", "green_(colour)"]
    assert names(toy, scores, implications=ImplicationMode.DROP) == ["green_(colour)"]


def test_parent_of_an_excluded_tag_is_not_dropped(toy: Bundle) -> None:
    scores = np.array([0, 0.7, 0, 0.95], np.float32)
    drop = ImplicationMode.DROP
    assert names(toy, scores, implications=drop, exclude=("green*",)) == [":3"]


def test_added_parents_can_be_excluded(toy: Bundle) -> None:
    add = ImplicationMode.ADD
    assert names(toy, implications=add, exclude=("can*",)) == ["blue_fox", "fox", "red"]


def test_a_tag_is_capped_by_what_it_implies(toy: Bundle) -> None:
    cap = ImplicationMode.CAP
    scores = np.array([0, 0.95, 0.8, 0.92], np.float32)
    tags = answer(toy, scores, implications=cap).tags
    # The network knows neither fox nor canine, which blue_fox implies.
    assert [tag.name for tag in tags] == [":3", "green_(colour)", "blue_fox"]
    assert tags[1].score == tags[0].score
    scores[3] = 0.85  # below the threshold of :3
    assert names(toy, scores, implications=cap) == ["blue_fox"]


def test_a_tag_is_capped_before_patterns_and_below_its_own_threshold(
    toy: Bundle,
) -> None:
    tags = []
    for tag in toy.tags:
        is_green = tag.name == "green_(colour)"
        tags.append(replace(tag, threshold=0.94) if is_green else tag)
    strict = replace(toy, tags=tuple(tags))
    scores = np.array([0, 0.95, 0, 0.92], np.float32)
    cap = ImplicationMode.CAP
    (only,) = answer(strict, scores, implications=cap, exclude=(":3",)).tags
    assert (only.name, only.threshold) == ("green_(colour)", 0.94)
    assert only.score == pytest.approx(0.92)


def test_of_tags_that_imply_each_other_one_stays(toy: Bundle) -> None:
    circle = replace(
        toy, implications={"red": ("blue_fox",), "blue_fox": ("red", "red")}
    )
    assert names(circle, implications=ImplicationMode.DROP) == ["blue_fox"]
    assert names(circle, implications=ImplicationMode.ADD) == ["blue_fox", "red"]


def test_unknown_ratings_are_not_invented(toy: Bundle) -> None:
    assert (answer(toy).rating, dict(answer(toy).ratings)) == (None, {})


def test_most_probable_of_the_known_ratings(toy: Bundle) -> None:
    rated = replace(toy, ratings={"general": 0, "questionable": 2, "explicit": 3})
    ratings = np.array([0.2, 0.9, 0.7, 0.1], np.float32)  # sensitive is a dead row
    found = Selector(rated, Options()).select(SCORES, ratings)
    assert found.rating == "questionable"
    assert set(found.ratings) == {"general", "questionable", "explicit"}


def test_uncertainty_goes_with_its_tag(toy: Bundle) -> None:
    uncertainty = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    found = Selector(toy, Options()).select(SCORES, NO_RATINGS, uncertainty)
    assert [tag.uncertainty for tag in found.tags] == pytest.approx([0.3, 0.1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"threshold": 1.5}, r"threshold is 1\.5", id="threshold"),
        pytest.param({"top": 0}, r"give 1 or more", id="top"),
        pytest.param(
            {"categories": ("animals",)}, r"no category animals\. Known", id="category"
        ),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadSelection, match=message):
        Options(**options)  # type: ignore[arg-type]
