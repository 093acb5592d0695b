"""The rules of data/bundle: each way to break it fails the rule meant for it."""

import pytest

from pipeline.paths import Paths
from tests.validate.edits import JPEG, Edit, appended, file, removed
from tests.validate.gates import GX_WARNINGS, assert_gate_fails

pytestmark = GX_WARNINGS

BROKEN = [
    pytest.param(
        "files",
        "state",
        removed("bundle/selected_tags.csv"),
        id="file missing in the bundle",
    ),
    pytest.param(
        "findings", "picture", file("bundle/a.jpg", JPEG), id="picture in the bundle"
    ),
    pytest.param(
        "findings",
        "picture",
        appended("bundle/model.onnx", JPEG),
        id="picture inside the model",
    ),
    pytest.param(
        "findings",
        "picture",
        appended("bundle/model_card.md", b"![](data:image/png;base64,AA)"),
        id="picture as text",
    ),
    pytest.param(
        "findings",
        "tag_differs",
        file("bundle/selected_tags.csv", b"name\nfox\ncanine\nhat\n"),
        id="tags reordered",
    ),
    pytest.param(
        "findings",
        "threshold_missing",
        file("bundle/thresholds.csv", b"name,threshold\ncanine,0.5\nfox,2\n"),
        id="threshold 2",
    ),
    pytest.param(
        "findings",
        "model_differs",
        file("bundle/model.onnx", b"another"),
        id="model of another run",
    ),
    pytest.param(
        "findings",
        "lineage_missing",
        file("bundle/lineage.json", b"{}"),
        id="no lineage in the bundle",
    ),
]


@pytest.mark.parametrize(("table", "column", "edit"), BROKEN)
def test_each_broken_bundle_fails_the_rule_meant_for_it(
    paths: Paths,
    table: str,
    column: str,
    edit: Edit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_gate_fails(paths, "bundle", edit, (table, column), capsys)
