"""Rules of the tables of a bundle."""

import pytest

from pipeline.paths import Paths
from tests.validate.bundle.bundle_edits import replaced
from tests.validate.edits import Edit, appended, file
from tests.validate.gates import GX_WARNINGS, assert_gate_fails

pytestmark = GX_WARNINGS

SITE_CATEGORIES = "name,category,threshold\ncanine,5,0.5\nfox,0,0.5\nhat,0,0.5\n"


@pytest.mark.parametrize(
    ("rule", "edit"),
    [
        pytest.param(
            "rating_misplaced",
            replaced("selected_tags.csv", "general,9", "explicit,9"),
            id="ratings in another order",
        ),
        pytest.param(
            "rating_misplaced",
            replaced("selected_tags.csv", "hat,0", "hat,9"),
            id="a fifth rating",
        ),
        pytest.param(
            "category_misordered",
            replaced("selected_tags.csv", "canine,0", "canine,4"),
            id="a character before a tag",
        ),
        pytest.param(
            "category_misordered",
            replaced("selected_tags.csv", "no_character,4", "no_character,0"),
            id="no character",
        ),
        pytest.param(
            "category_misordered",
            replaced("selected_tags.csv", "fox,0", "fox,5"),
            id="the site's category among the rows",
        ),
        pytest.param(
            "dead_row",
            replaced("selected_tags.csv", "4,fox", "-4,fox"),
            id="a dead tag",
        ),
        pytest.param(
            "dead_row",
            replaced("selected_tags.csv", "no_character,4,0", "no_character,4,9"),
            id="a dead row with positives",
        ),
        pytest.param(
            "tag_differs",
            replaced("selected_tags.csv", "fox,0,7", "fox,0,900"),
            id="more positives than the vocabulary has",
        ),
        pytest.param(
            "columns_differ",
            replaced("thresholds.csv", "threshold", "threshold,extra"),
            id="a column too many",
        ),
        pytest.param(
            "threshold_missing",
            file("bundle/thresholds.csv", SITE_CATEGORIES.encode()),
            id="a category that is not the vocabulary's",
        ),
        pytest.param(
            "implication_unrelated",
            appended("bundle/implications.csv", b"cat,feline\n"),
            id="an implication of no tag",
        ),
        pytest.param(
            "renaming",
            appended("bundle/renamed_tags.csv", b"hat,hat\n"),
            id="a tag renamed to itself",
        ),
        pytest.param(
            "category_misordered",
            replaced("selected_tags.csv", "canine,0", "canine,x"),
            id="a category that is no number",
        ),
        pytest.param(
            "tag_differs",
            replaced("selected_tags.csv", "2,canine", "4,fox"),
            id="tags reordered",
        ),
        pytest.param(
            "threshold_missing",
            replaced("thresholds.csv", "fox,0,0.5", "fox,0,2"),
            id="threshold 2",
        ),
    ],
)
def test_each_broken_table_fails_the_rule_meant_for_it(
    paths: Paths, rule: str, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_gate_fails(paths, "bundle", edit, ("findings", rule), capsys)
