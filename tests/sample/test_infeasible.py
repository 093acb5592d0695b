"""What cannot be sampled: each remedy that a message names lets the stage pass."""

import re
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from pipeline import harvest, sample, validate
from pipeline.errors import GateFailed, ImpossibleSample
from pipeline.params import Params
from pipeline.params.sample import CATEGORIES
from tests.builders.project import Project, make_project
from tests.validate.gates import GX_WARNINGS

pytestmark = GX_WARNINGS


@pytest.fixture(scope="module")
def harvested(tmp_path_factory: pytest.TempPathFactory, site) -> Project:  # type: ignore[no-untyped-def]
    """The small board, harvested. Only its sample is written anew."""
    project = make_project(tmp_path_factory.mktemp("infeasible") / "project", site)
    harvest.run(project.params.harvest, project.paths, site=project.params.site)
    return project


def changed(project: Project, **changes: Any) -> Params:
    tree = project.params.model_dump(mode="json")
    tree["sample"] |= changes
    return Params.model_validate(tree)


def run(project: Project, **changes: Any) -> pl.DataFrame:
    """Samples, and returns the vocabulary."""
    sample.run(changed(project, **changes).sample, project.paths)
    return pl.read_parquet(project.paths.sample / "vocabulary.parquet")


def refused(project: Project, **changes: Any) -> str:
    """Returns the message with which the sample is refused."""
    with pytest.raises(ImpossibleSample) as raised:
        run(project, **changes)
    return str(raised.value)


def assert_passes(project: Project, **changes: Any) -> None:
    """Asserts that the stage and its gate pass."""
    assert run(project, **changes).height >= 2
    validate.run("sample", changed(project, **changes), project.paths)


def lower_minimums(message: str) -> dict[str, int]:
    """Returns the minimums that a message asks for."""
    pattern = (
        r"[Ll]ower sample\.min_positives to ([\d,]+) and min_eval_positives to (\d+)"
    )
    found = re.search(pattern, message)
    assert found, message
    few = int(found[2])
    return {
        "min_positives": int(found[1].replace(",", "")),
        "min_eval_positives": few,
    }


@pytest.mark.parametrize(
    "wish",
    [
        pytest.param({"min_positives": 100_000}, id="training"),
        pytest.param({"min_eval_positives": 10_000}, id="evaluation"),
        pytest.param(
            {"min_positives": 250, "reserve": 1.0, "min_eval_positives": 9},
            id="reserve",
        ),
    ],
)
def test_minimums_that_a_refusal_names_are_low_enough(
    harvested: Project, wish: dict[str, Any]
) -> None:
    message = refused(harvested, **wish)
    assert re.match(r"[01] tags are left .* the commonest, \w+, has \d+", message)
    assert_passes(harvested, **wish | lower_minimums(message))


@pytest.mark.parametrize(
    ("wish", "remedy", "wider"),
    [
        pytest.param(
            {"categories": ["lore"]},
            "widen sample.categories",
            {"categories": ["lore", "general"]},
            id="categories",
        ),
        pytest.param(
            {"min_positives": 190, "ratings": ["e"]},
            "widen sample.ratings",
            {"ratings": ["s", "q", "e"]},
            id="ratings",
        ),
    ],
)
def test_wider_choice_that_a_refusal_names_brings_tags(
    harvested: Project, wish: dict[str, Any], remedy: str, wider: dict[str, Any]
) -> None:
    assert remedy in refused(harvested, **wish).lower()
    assert_passes(harvested, **wish | wider)


def test_list_of_tags_that_are_too_rare_asks_for_others(harvested: Project) -> None:
    wanted = harvested.paths.root / "lists" / "mine.txt"
    wanted.parent.mkdir(exist_ok=True)
    wanted.write_text("no_such_tag\n")
    message = refused(harvested, tags_file="lists/mine.txt")
    assert "List others in sample.tags_file" in message
    wanted.write_text("solo\nanthro\n")
    assert_passes(harvested, tags_file="lists/mine.txt")


def test_nothing_is_named_where_nothing_is_left_to_widen(harvested: Project) -> None:
    message = refused(
        harvested,
        categories=list(CATEGORIES),
        ratings=["s", "q", "e"],
        since="2100-01-01",
    )
    assert message.endswith("The snapshot has no such tags: harvest more posts.")


def test_minimum_that_no_evaluation_image_reaches_is_not_lowered_to_none(
    harvested: Project,
) -> None:
    split = {"train": 1.0, "validation": 0.0, "test": 0.0}
    assert "ower sample.min_positives" not in refused(harvested, split=split)


def shortest(message: str) -> tuple[int, int]:
    found = re.search(r"leaves (\d+) of (\d+) tags short of their positives", message)
    assert found, message
    return int(found[1]), int(found[2])


def test_quota_that_leaves_tags_short_asks_for_cover_alone(harvested: Project) -> None:
    message = refused(harvested, strategy="quota")
    assert shortest(message) <= (31, 31)
    assert re.search(r": \w+ \(\d+ of 42 in train", message)
    assert message.endswith(". Set sample.strategy to cover.")
    assert_passes(harvested, strategy="cover")


@pytest.mark.parametrize(
    ("remedy", "changes"),
    [
        ("Set sample.strategy to cover", lambda _: {"strategy": "cover"}),
        ("sample.size to null", lambda _: {"size": None}),
        (
            "lower sample.vocabulary_size to ",
            lambda text: {"vocabulary_size": int(re.findall(r"\d+", text)[-1])},
        ),
    ],
    ids=["strategy", "size", "vocabulary_size"],
)
def test_natural_of_too_few_posts_passes_with_each_remedy(
    harvested: Project, remedy: str, changes: Callable[[str], dict[str, Any]]
) -> None:
    wish = {"strategy": "natural", "size": 200}
    message = refused(harvested, **wish)
    assert remedy in message
    assert_passes(harvested, **wish | changes(message))


def test_natural_that_serves_no_tag_does_not_ask_for_none(harvested: Project) -> None:
    message = refused(harvested, strategy="natural", size=20)
    assert "vocabulary_size" not in message


def test_lower_reserve_brings_the_tags_that_lacked_it(
    harvested: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    before = run(harvested, reserve=0.5).height
    assert ", sample.min_eval_positives or sample.reserve" in capsys.readouterr().err
    assert run(harvested, reserve=0.0).height > before


@pytest.mark.parametrize(
    "remedy", [{"min_eval_positives": 1}, {"size": 400}], ids=["minimum", "size"]
)
def test_gate_of_splits_without_posts_passes_with_each_remedy(
    harvested: Project, remedy: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    wish = {"min_eval_positives": 0}
    run(harvested, **wish)
    warned = "set sample.min_eval_positives to 1 or more, or sample.size"
    assert warned in capsys.readouterr().err
    raised = "raise sample.min_eval_positives or sample.size"
    with pytest.raises(GateFailed, match=raised):
        validate.run("sample", changed(harvested, **wish), harvested.paths)
    assert_passes(harvested, **wish | remedy)


def test_size_beyond_the_candidates_is_lowered_to_them(
    harvested: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run(harvested, size=10_000)
    found = re.search(r"posts, (\d+) are candidates", capsys.readouterr().err)
    assert found
    run(harvested, size=int(found[1]))
    assert "are candidates and all" not in capsys.readouterr().err
