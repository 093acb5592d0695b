"""Rules of the folders for Hydrus, imgutils and DeepDanbooru."""

import json

import pytest

from pipeline.paths import Paths
from tests.validate.bundle.bundle_edits import replaced
from tests.validate.edits import Edit, file
from tests.validate.gates import GX_WARNINGS, assert_gate_fails

pytestmark = GX_WARNINGS

UNFITTED = json.dumps(
    {name: [{"type": "maybe_to_tensor"}] for name in ("test", "val")}
).encode()


@pytest.mark.parametrize(
    ("rule", "edit"),
    [
        pytest.param(
            "hydrus",
            file("bundle/hydrus/model.onnx", b"another"),
            id="another model for Hydrus",
        ),
        pytest.param(
            "hydrus",
            replaced("hydrus/info.json", '"ratingsflag": 1', '"ratingsflag": 0'),
            id="no ratings for Hydrus",
        ),
        pytest.param(
            "imgutils",
            replaced("imgutils/selected_tags.csv", "0.5", "0.4"),
            id="another threshold for imgutils",
        ),
        pytest.param(
            "imgutils",
            replaced("imgutils/categories.json", "0", "1"),
            id="a category without a name for imgutils",
        ),
        pytest.param(
            "imgutils",
            file("bundle/imgutils/preprocess.json", UNFITTED),
            id="imgutils with images that are not fitted",
        ),
        pytest.param(
            "imgutils",
            replaced("preprocessing.json", "stretch", "pad"),
            id="imgutils with images fitted otherwise",
        ),
        pytest.param(
            "deepdanbooru",
            replaced("deepdanbooru/tags.txt", "fox", "wolf"),
            id="other tags for DeepDanbooru",
        ),
        pytest.param(
            "deepdanbooru",
            replaced("deepdanbooru/project.json", "448", "299"),
            id="another size for DeepDanbooru",
        ),
        pytest.param(
            "deepdanbooru",
            replaced("deepdanbooru/project.json", "e6tag", "resnet"),
            id="no file of DeepDanbooru's model",
        ),
    ],
)
def test_each_broken_folder_fails_the_rule_meant_for_it(
    paths: Paths, rule: str, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_gate_fails(paths, "bundle", edit, ("findings", rule), capsys)
