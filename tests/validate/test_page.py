"""The page of a gate."""

import re

import pytest

from pipeline import validate
from pipeline.errors import GateFailed
from pipeline.paths import Paths
from pipeline.validate.page import _cell
from tests.builders.tables import PARAMS, md5
from tests.validate.edits import record, snapshot_post, unknown_tags
from tests.validate.gates import GX_WARNINGS, page

pytestmark = GX_WARNINGS

LOADS_SOMETHING = re.compile(
    r"https?://|//[a-z0-9.-]+\.[a-z]{2,}"
    r"|<script|<link|<img|<iframe|@import|url\("
)


def test_the_page_loads_nothing_from_any_host(paths: Paths) -> None:
    record("test", 30, md5=md5(3))(paths)
    with pytest.raises(GateFailed):
        validate.run("manifest", PARAMS, paths)

    names = [path.name for path in paths.data_docs("manifest").iterdir()]
    text = page(paths, "manifest")
    assert names == ["index.html"]
    assert not LOADS_SOMETHING.search(text)
    assert "values must belong to this set" in text  # Great Expectations' own words
    assert md5(3) in text


def test_text_of_the_site_cannot_become_markup(paths: Paths) -> None:
    name = "<script>alert(1)</script>"
    snapshot_post(3, tags=[name])(paths)
    unknown_tags({"name": name, "posts": 1})(paths)
    validate.run("snapshot", PARAMS, paths)

    text = page(paths, "snapshot")
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_a_warning_is_shown_as_one_and_the_gate_as_passed(paths: Paths) -> None:
    snapshot_post(3, tags=["hat", "never_seen"])(paths)
    unknown_tags({"name": "never_seen", "posts": 1})(paths)
    validate.run("snapshot", PARAMS, paths)

    text = page(paths, "snapshot")
    assert "<title>Gate snapshot: passed</title>" in text
    assert "<b>46</b> of <b>47</b> expectations hold" in text
    assert '<article class="warning">' in text
    assert '<article class="failed">' not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, "", id="null"),
        pytest.param(0.123456789, "0.123457", id="number"),
        pytest.param("x" * 200, "x" * 200, id="longest text"),
        pytest.param("x" * 201, "x" * 200 + " …", id="text that is cut"),
    ],
)
def test_cells_are_short(value: object, text: str) -> None:
    assert _cell(value) == text
