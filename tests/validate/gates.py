"""What the tests of all gates share."""

import json
from typing import Any

import pytest

from pipeline import validate
from pipeline.errors import GateFailed
from pipeline.paths import Paths
from tests.builders.tables import PARAMS
from tests.validate.edits import Edit

# Great Expectations and what it imports warn of changes in their next versions. In all
# other tests, warnings are errors.
GX_WARNINGS = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]


def expectations(paths: Paths, dataset: str) -> list[dict[str, Any]]:
    """Returns the expectations of a verdict."""
    verdict = json.loads(paths.verdict(dataset).read_text())
    return list(verdict["expectations"])


def failed(
    paths: Paths, dataset: str, *, severity: str | None = None
) -> set[tuple[str, str]]:
    """Returns table and column of every expectation that does not hold."""
    found = set()
    for each in expectations(paths, dataset):
        if not each["success"] and severity in (None, each["severity"]):
            found.add((each["table"], each["column"]))
    return found


def page(paths: Paths, dataset: str) -> str:
    """Returns the page of a gate."""
    return (paths.data_docs(dataset) / "index.html").read_text()


def assert_gate_fails(
    paths: Paths,
    dataset: str,
    edit: Edit,
    rule: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Edits a good dataset and asserts that its gate fails by a rule: table, column."""
    edit(paths)
    message = rf"^gate {dataset}: expect_\w+ on .*index\.html"
    with pytest.raises(GateFailed, match=message):
        validate.run(dataset, PARAMS, paths)

    assert rule in failed(paths, dataset, severity="critical")
    assert not json.loads(paths.verdict(dataset).read_text())["success"]
    table, column = rule
    assert f"column {table}: {column}\n" in capsys.readouterr().err
    assert "failed" in page(paths, dataset)
