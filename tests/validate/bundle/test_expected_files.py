"""Rules of the files of a bundle: none missing, none unknown, none an image."""

import pytest

from pipeline.paths import Paths
from pipeline.validate.bundle import json_files
from tests.validate.edits import JPEG, Edit, appended, file, removed
from tests.validate.gates import GX_WARNINGS, assert_gate_fails

pytestmark = GX_WARNINGS


@pytest.mark.parametrize(
    ("table", "column", "edit"),
    [
        *[
            pytest.param(
                "findings",
                "json_kind",
                file(f"bundle/{name}", b"[1]"),
                id=f"a list in {name}",
            )
            for name in json_files.OBJECTS
        ],
        pytest.param(
            "findings",
            "json_kind",
            file("bundle/imgutils/categories.json", b"[1]"),
            id="no list of categories",
        ),
        pytest.param(
            "findings",
            "unexpected_file",
            file("bundle/imgutils/notes.txt", b"mine"),
            id="a file that nobody knows",
        ),
        pytest.param(
            "files",
            "state",
            removed("bundle/selected_tags.csv"),
            id="file missing in the bundle",
        ),
        pytest.param(
            "files", "state", file("bundle/hydrus/info.json", b"{"), id="malformed JSON"
        ),
        pytest.param(
            "files",
            "state",
            file("bundle/thresholds.csv", b"\xff\xfe"),
            id="a table that is no text",
        ),
        pytest.param(
            "findings", "image", file("bundle/a.jpg", JPEG), id="image in the bundle"
        ),
        pytest.param(
            "findings",
            "image",
            appended("bundle/variants/model.tflite", JPEG),
            id="image inside the model",
        ),
        pytest.param(
            "findings",
            "image",
            appended("bundle/README.md", b"![](data:image/png;base64,AA)"),
            id="image as text",
        ),
    ],
)
def test_each_wrong_file_fails_the_rule_meant_for_it(
    paths: Paths,
    table: str,
    column: str,
    edit: Edit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_gate_fails(paths, "bundle", edit, (table, column), capsys)
