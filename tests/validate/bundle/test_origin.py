"""Rules of what a bundle says that its model was made from."""

import json

import pytest

from pipeline.paths import Paths
from tests.validate.edits import Edit, appended, file
from tests.validate.gates import GX_WARNINGS, assert_gate_fails

pytestmark = GX_WARNINGS


def without_metric(name: str) -> Edit:
    """Removes a metric on test from metrics.json."""

    def edit(paths: Paths) -> None:
        path = paths.bundle / "metrics.json"
        metrics = json.loads(path.read_text())
        del metrics["splits"]["test"][name]
        path.write_text(json.dumps(metrics))

    return edit


@pytest.mark.parametrize(
    ("rule", "edit"),
    [
        pytest.param(
            "checksum_differs",
            appended("bundle/README.md", b"more\n"),
            id="a file changed since",
        ),
        pytest.param(
            "model_differs",
            file("bundle/model.onnx", b"another"),
            id="model of another run",
        ),
        pytest.param(
            "lineage_missing",
            file("bundle/lineage.json", b"{}"),
            id="no lineage in the bundle",
        ),
        pytest.param(
            "metrics_missing",
            without_metric("macro_map"),
            id="nothing to compare the next release with",
        ),
    ],
)
def test_each_broken_origin_fails_the_rule_meant_for_it(
    paths: Paths, rule: str, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_gate_fails(paths, "bundle", edit, ("findings", rule), capsys)
