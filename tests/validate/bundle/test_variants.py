"""Rules of variants.json."""

import pytest

from pipeline import validate
from pipeline.paths import Paths
from tests.builders.tables import PARAMS
from tests.validate.bundle.bundle_edits import checksums_are_as_before, replaced
from tests.validate.edits import Edit, appended, file
from tests.validate.gates import GX_WARNINGS, assert_gate_fails, failed

pytestmark = GX_WARNINGS


@pytest.mark.parametrize(
    ("rule", "edit"),
    [
        pytest.param(
            "compared_with_keras",
            replaced("variants/variants.json", ": 256", ": 255"),
            id="compared on too few images",
        ),
        pytest.param(
            "compared_with_keras",
            replaced("variants/variants.json", '.onnx": 1e-06', '.onnx": 2e-04'),
            id="another answer than Keras gives",
        ),
        pytest.param(
            "compared_with_keras",
            replaced("variants/variants.json", '"heatmap.onnx"', '"other"'),
            id="a file that was not compared",
        ),
        pytest.param(
            "tflite_names",
            file("bundle/variants/model.tflite", b"TFL3"),
            id="a TFLite file without names",
        ),
        pytest.param(
            "variant_unlisted",
            appended("bundle/variants/model.tflite", b"more"),
            id="another size of a variant",
        ),
    ],
)
def test_each_broken_variant_fails_the_rule_meant_for_it(
    paths: Paths, rule: str, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_gate_fails(paths, "bundle", edit, ("findings", rule), capsys)


@pytest.mark.parametrize(
    ("rule", "edit"),
    [
        pytest.param(
            "variant_loses",
            replaced("variants/variants.json", '_lost": 0.0', '_lost": 0.1'),
            id="a variant loses much",
        ),
        pytest.param(
            "evaluation_differs",
            replaced("variants/variants.json", 'evaluation": 1.0', 'evaluation": 0.9'),
            id="the bundle is worth less than the evaluation says",
        ),
    ],
)
def test_what_a_model_is_worth_is_a_warning(
    paths: Paths, rule: str, edit: Edit
) -> None:
    edit(paths)
    checksums_are_as_before(paths)
    validate.run("bundle", PARAMS, paths)
    assert failed(paths, "bundle") == {("findings", rule)}


def test_fewer_images_suffice_where_there_are_no_more(paths: Paths) -> None:
    name = "variants/variants.json"
    replaced(name, '"test_images": 300', '"test_images": 200')(paths)
    replaced(name, '"images": 256', '"images": 200')(paths)
    checksums_are_as_before(paths)
    validate.run("bundle", PARAMS, paths)
