"""Rules of the ONNX files of a bundle: their form, and what they answer."""

import json

import pytest

from pipeline import validate
from pipeline.paths import Paths
from tests.builders import results, tiny_models
from tests.builders.tables import PARAMS
from tests.validate.bundle.bundle_edits import checksums_are_as_before, replaced
from tests.validate.edits import Edit, appended, file
from tests.validate.gates import GX_WARNINGS, assert_gate_fails

pytestmark = GX_WARNINGS

KNOWN = [False, False, False, False, True, True, True, False]
"""Which rows of the good bundle stand for something."""


def model(name: str, **changes: object) -> Edit:
    """Changes fields of an ONNX file of the bundle."""
    return lambda paths: tiny_models.edit(paths.bundle / name, **changes)


def rows_answered(known: list[bool], shift: float = results.SHIFT) -> Edit:
    """Replaces model.onnx by one that answers in these rows."""

    def edit(paths: Paths) -> None:
        answering = tiny_models.tagger(known, [shift] * len(known))
        (paths.bundle / "model.onnx").write_bytes(answering)

    return edit


@pytest.mark.parametrize(
    ("rule", "edit"),
    [
        pytest.param(
            "model_unreadable",
            file("bundle/heatmap.onnx", b"no model"),
            id="no ONNX file",
        ),
        pytest.param("model_too_new", model("model.onnx", opset=19), id="a new opset"),
        pytest.param(
            "model_too_new", model("heatmap.onnx", ir_version=10), id="a new IR"
        ),
        pytest.param("model_form", model("model.onnx", batch=1), id="a fixed batch"),
        pytest.param(
            "model_form",
            appended("bundle/selected_tags.csv", b"9,dragon,4,3\n"),
            id="a row more than the model has",
        ),
        pytest.param(
            "model_form",
            lambda paths: (paths.bundle / "variants" / "model_int8.onnx").write_bytes(
                tiny_models.tagger(KNOWN[1:], [0.0] * 7)
            ),
            id="a variant with fewer rows",
        ),
        pytest.param(
            "model_form",
            file("bundle/imgutils/model.onnx", tiny_models.imgutils(4)),
            id="imgutils with more rows",
        ),
        pytest.param(
            "dead_row_answers", rows_answered([True] * 8), id="a dead row that answers"
        ),
        pytest.param(
            "threshold_folding",
            rows_answered(KNOWN, shift=0.0),
            id="no thresholds folded in",
        ),
        pytest.param(
            "threshold_folding",
            rows_answered(KNOWN, shift=results.SHIFT + 0.01),
            id="thresholds folded in a little beside",
        ),
    ],
)
def test_each_broken_model_fails_the_rule_meant_for_it(
    paths: Paths, rule: str, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_gate_fails(paths, "bundle", edit, ("findings", rule), capsys)


def test_a_bundle_that_folds_nothing_is_good_where_it_says_so(paths: Paths) -> None:
    rows_answered(KNOWN, shift=0.0)(paths)
    folder = paths.bundle
    model = (folder / "model.onnx").read_bytes()
    (folder / "hydrus" / "model.onnx").write_bytes(model)
    replaced("preprocessing.json", "true", "false")(paths)
    checksums_are_as_before(paths)
    lineage = json.loads((folder / "lineage.json").read_text())
    lineage["model"]["onnx_sha256"] = lineage["files"]["model.onnx"]
    (folder / "lineage.json").write_text(json.dumps(lineage))
    validate.run("bundle", PARAMS, paths)
