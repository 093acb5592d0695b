"""Rules of addresses: a bundle gives none, and calls the site by its name."""

import json

import pytest

from pipeline import validate
from pipeline.paths import Paths
from tests.builders.tables import PARAMS
from tests.validate.bundle.bundle_edits import checksums_are_as_before
from tests.validate.edits import Edit, appended
from tests.validate.gates import GX_WARNINGS, assert_gate_fails

pytestmark = GX_WARNINGS


def pinned_site(site: str) -> Edit:
    """Changes the site that the lineage names."""

    def edit(paths: Paths) -> None:
        path = paths.bundle / "lineage.json"
        lineage = json.loads(path.read_text())
        lineage["pin"]["site"] = site
        path.write_text(json.dumps(lineage))

    return edit


@pytest.mark.parametrize(
    ("rule", "edit"),
    [
        pytest.param(
            "site_unnamed",
            pinned_site("https://board.example"),
            id="site named by its address",
        ),
        pytest.param(
            "address", pinned_site("board:127.0.0.1:8621"), id="host and port"
        ),
        pytest.param(
            "address",
            appended("bundle/README.md", b"from https://board.example/posts\n"),
            id="address in the model card",
        ),
        pytest.param(
            "address",
            appended("bundle/README.md", b"from localhost:8621\n"),
            id="this machine in the model card",
        ),
    ],
)
def test_an_address_fails_the_rule_meant_for_it(
    paths: Paths, rule: str, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_gate_fails(paths, "bundle", edit, ("findings", rule), capsys)


def test_a_search_for_the_url_of_a_source_is_no_address(paths: Paths) -> None:
    path = paths.bundle / "lineage.json"
    lineage = json.loads(path.read_text())
    query = 'source:https://artist.example/* "fox"'
    lineage["pin"]["search"] = {"query": query, "newest_id": 1, "change": 1}
    lineage["parameters"]["harvest"] = {"query": query}
    path.write_text(json.dumps(lineage))
    card = paths.bundle / "README.md"
    card.write_text(f"{card.read_text()}`{query}`\n")
    checksums_are_as_before(paths)
    validate.run("bundle", PARAMS, paths)
