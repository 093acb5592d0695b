"""The rules before a release: each way to be too bad stops the export."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import files, releases, validate
from pipeline.errors import BadInput, GateFailed
from pipeline.paths import Paths
from tests.builders.posts import TAGS, ids_of_split
from tests.builders.tables import PARAMS
from tests.validate.edits import Edit, all_of, metric
from tests.validate.gates import GX_WARNINGS, assert_gate_fails, expectations, failed

pytestmark = GX_WARNINGS

RELEASED = "releases/first"

PARAMS_OF_RELEASE = PARAMS.model_copy(
    update={"export": PARAMS.export.model_copy(update={"previous": RELEASED})}
)

TEST_POSTS = ids_of_split("test")


def release(posts: list[int], **metrics: dict[str, float]) -> Edit:
    """Writes the metrics.json of a released bundle that was tested on some posts."""

    def edit(paths: Paths) -> None:
        tree: dict[str, Any] = {"splits": {"test": metrics}}
        content = releases.bundle_metrics(tree, posts, TAGS)
        files.write_json(paths.root / RELEASED / "metrics.json", content)

    return edit


def messages(paths: Paths) -> str:
    """Runs the gate beside the release; returns the message of its failure, or ''."""
    try:
        validate.run("evaluation", PARAMS_OF_RELEASE, paths)
    except GateFailed as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("column", "edit"),
    [
        pytest.param(
            "headline_missing", metric("macro_map", value=None), id="no macro mAP"
        ),
        pytest.param(
            "headline_missing",
            metric("macro_f1", value=float("nan")),
            id="macro F1 that is no number",
        ),
        pytest.param(
            "headline_missing", metric("macro_map", baseline=None), id="no baseline"
        ),
        pytest.param(
            "margin_over_baseline",
            metric("macro_map", value=0.515),
            id="above the baseline by less than the margin",
        ),
        pytest.param(
            "margin_over_baseline",
            metric("macro_map", value=0.6, low=0.515, high=0.7),
            id="interval that reaches down to the baseline",
        ),
    ],
)
def test_each_worthless_model_fails_the_rule_meant_for_it(
    paths: Paths, column: str, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_gate_fails(paths, "evaluation", edit, ("findings", column), capsys)


def test_a_model_above_the_margin_passes(paths: Paths) -> None:
    metric("macro_map", value=0.6, low=0.53, high=0.7)(paths)
    validate.run("evaluation", PARAMS, paths)


GOOD = {"value": 0.9, "baseline": 0.5, "low": 0.88, "high": 0.92}


@pytest.mark.parametrize(
    ("value", "is_worse"),
    [
        pytest.param(0.879, True, id="below its interval"),
        pytest.param(0.881, False, id="inside its interval"),
        pytest.param(0.95, False, id="better"),
    ],
)
def test_a_model_is_held_to_the_interval_of_the_released_one(
    paths: Paths, value: float, *, is_worse: bool
) -> None:
    release(TEST_POSTS, macro_map=GOOD)(paths)
    metric("macro_map", value=value, low=value - 0.02, high=value + 0.02)(paths)
    message = messages(paths)
    assert bool(message) == is_worse
    if is_worse:
        assert (
            f"macro mAP on test, {value:.4f}, must not be below the 0.9000 of "
            "releases/first by more than 0.0200 (of the same test posts and tags"
        ) in message
        assert len(message.splitlines()) == 1


@pytest.mark.parametrize(("value", "is_worse"), [(0.875, False), (0.871, True)])
def test_on_other_posts_both_intervals_count_together(
    paths: Paths, value: float, *, is_worse: bool
) -> None:
    # 0.9 - sqrt(0.02^2 + 0.02^2) = 0.8717
    release([*TEST_POSTS, 99], macro_map=GOOD)(paths)
    metric("macro_map", value=value, low=value - 0.02, high=value + 0.02)(paths)
    message = messages(paths)
    assert bool(message) == is_worse
    if is_worse:
        assert "of other test posts or tags, so by both intervals together" in message


@pytest.mark.parametrize(("value", "is_worse"), [(0.881, False), (0.875, True)])
def test_without_an_interval_of_its_own_a_model_is_held_to_that_of_the_release(
    paths: Paths, value: float, *, is_worse: bool
) -> None:
    release([*TEST_POSTS, 99], macro_map=GOOD)(paths)
    metric("macro_map", value=value)(paths)
    message = messages(paths)
    assert bool(message) == is_worse
    if is_worse:
        assert "by its interval, as there is no other" in message


def test_the_metric_that_is_worst_is_the_one_that_is_named(paths: Paths) -> None:
    every = {"macro_map": GOOD, "macro_auc": GOOD}
    release(TEST_POSTS, **every)(paths)
    edits = [metric("macro_map", value=0.89, low=0.87, high=0.91)]
    edits.append(metric("macro_f1", value=0.7))
    all_of(*edits)(paths)
    # The macro AUC stays 1.0, since the gate computes it again.
    assert messages(paths) == ""
    release(TEST_POSTS, macro_map=GOOD, macro_f1=GOOD)(paths)
    assert "macro F1 on test, 0.7000, must not be below the 0.9000" in messages(paths)


def test_a_release_without_metrics_is_a_warning(paths: Paths) -> None:
    (paths.root / RELEASED).mkdir(parents=True)
    assert messages(paths) == ""
    warned = failed(paths, "evaluation", severity="warning")
    assert ("findings", "release_without_metrics") in warned
    release(TEST_POSTS, macro_map={"value": 0.9, "baseline": 0.5})(paths)
    assert messages(paths) == ""
    assert warned == failed(paths, "evaluation", severity="warning")


@pytest.mark.parametrize("content", ["{", "[]", '{"splits": {}}', '{"splits": 1}'])
def test_a_damaged_release_is_one_line(paths: Paths, content: str) -> None:
    path = paths.root / RELEASED / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(
        BadInput, match=r"metrics\.json cannot be read: .*released last"
    ):
        validate.run("evaluation", PARAMS_OF_RELEASE, paths)


def test_a_release_that_is_not_there_is_one_line(paths: Paths) -> None:
    with pytest.raises(
        BadInput, match=r"releases/first is not there\. Copy the bundle"
    ):
        validate.run("evaluation", PARAMS_OF_RELEASE, paths)


def test_the_bundle_carries_what_the_next_release_is_compared_with(
    paths: Paths, tmp_path: Path
) -> None:
    place = tmp_path / RELEASED
    place.parent.mkdir()
    paths.bundle.rename(place)
    found = releases.read(tmp_path, RELEASED)
    assert found is not None
    evaluation = json.loads((paths.evaluation / "metrics.json").read_text())
    assert found.metrics == evaluation["splits"]["test"]
    assert found.posts_digest == releases.digest(reversed(TEST_POSTS))


def test_without_a_release_nothing_is_compared(paths: Paths) -> None:
    validate.run("evaluation", PARAMS, paths)
    columns = {each["column"] for each in expectations(paths, "evaluation")}
    assert not columns & {"worse_than_release", "release_without_metrics"}
