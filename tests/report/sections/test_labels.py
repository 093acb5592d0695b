"""Section: labels."""

from pipeline.paths import Paths
from pipeline.report import data_quality, inputs
from pipeline.report.sections import labels
from pipeline.schemas.sample import ALIASES_IN_USE, CO_OCCURRENCE
from tests.builders.report_inputs import (
    EXPLANATION_SCHEMAS,
    EXPLANATIONS,
    section_of,
    text_of,
)
from tests.builders.tables import change, set_value


def test_missing_labels_are_shown(html: str) -> None:
    text = text_of(html)
    assert "Of 1 implications in use, 1 lacks the implied tag on some post." in text
    assert "fox canine 16 16 100.0 %" in text
    assert "vulpine fox 8" in text
    assert (
        "a parent that is not in the snapshot: its children are still one family 1 "
        "7: parent 3 is not in the snap" in text
    )


def test_pairs_that_imply_each_other_or_meet_by_chance_are_hidden(
    project: Paths, html: str
) -> None:
    assert "No two tags go together more often than by chance" in text_of(html)
    path = project.sample / "co_occurrence.parquet"
    set_value(path, CO_OCCURRENCE, "lift", 0.25, posts=90, expected=20.0, lift=4.5)
    assert [
        (one["first"], one["second"])
        for one in data_quality.pairs(inputs.read(project))
    ] == [("fox", "hat")]
    assert "fox hat 90 20.0 4.5" in text_of(section_of(labels, project))


def test_a_board_without_problems_gets_sentences_not_tables(
    project: Paths,
) -> None:
    for name in EXPLANATIONS[1:]:
        schema = EXPLANATION_SCHEMAS[name]
        change(project.sample / f"{name}.parquet", lambda frame: frame.clear(), schema)
    text = text_of(section_of(labels, project))
    assert "Every implied tag was given." in text
    assert "No post carries an aliased name." in text
    assert "None: no cycles, no names in two categories" in text


def test_an_alias_of_an_unknown_tag_is_marked_as_lost(project: Paths) -> None:
    path = project.sample / "aliases_in_use.parquet"
    set_value(path, ALIASES_IN_USE, "name", "vulpine", is_known=False)
    assert "fox (not in the site's list: lost) 8" in text_of(
        section_of(labels, project)
    )
