"""The bundle format: what is written is read again, what is wrong is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from e6tag import bundle
from e6tag.bundle import BundleError, Row, Tag
from e6tag.errors import E6tagError
from e6tag.heatmaps import HeatmapModel
from e6tag.tagger import Tagger
from tests.builders import toy_bundle

RATINGS = tuple(toy_bundle.RATINGS)
ROWS = (*RATINGS, Row(12, "fox", 0, 700), Row(3, 'a "quoted", name', 4, 512))
TAGS = (Tag(4, "fox", 5, 0.5, 700), Tag(5, 'a "quoted", name', 4, 0.25, 512))

Break = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete bundle with other tags, whose model is not opened."""
    folder = toy_bundle.write_bundle(tmp_path / "bundle")
    (folder / bundle.ROWS).write_text(bundle.rows_csv(ROWS))
    (folder / bundle.TAGS).write_text(bundle.tags_csv(TAGS))
    return folder


def preprocessing_with(**changes: object) -> Break:
    """Changes keys of preprocessing.json."""

    def edit(folder: Path) -> None:
        path = folder / bundle.PREPROCESSING
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def text(name: str, content: str) -> Break:
    """Replaces a file."""
    return lambda folder: (folder / name).write_text(content)


def rename_output(model: onnx.ModelProto) -> None:
    """Takes the scores out of what the model gives."""
    (output,) = (one for one in model.graph.output if one.name == bundle.SCORES)
    model.graph.output.remove(output)


def fix_size(model: onnx.ModelProto) -> None:
    """Leaves the height and width of the images open."""
    for dimension in model.graph.input[0].type.tensor_type.shape.dim[1:3]:
        dimension.dim_param = "side"
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")


def fix_batch(model: onnx.ModelProto) -> None:
    """Takes one image at a time."""
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def test_what_is_written_is_read(folder: Path) -> None:
    read = bundle.read(folder)
    assert read.rows == ROWS
    assert read.tags == TAGS
    assert (read.fit, read.is_folded) == ("pad", False)
    assert (read.model, read.heatmap_model) == (
        folder / "model.onnx",
        folder / "heatmap.onnx",
    )
    assert read.implications["blue_fox"] == ("fox",)
    assert read.ratings == {}


def test_ratings_that_the_network_knows_are_found_by_name(folder: Path) -> None:
    rows = list(ROWS)
    rows[0] = Row(9_999_999, "general", 9, 30)
    rows[3] = Row(9_999_999, "explicit", 9, 20)
    (folder / bundle.ROWS).write_text(bundle.rows_csv(rows))
    assert bundle.read(folder).ratings == {"general": 0, "explicit": 3}


def test_folders_for_other_programs_are_not_needed(folder: Path) -> None:
    assert not [name for name in bundle.FOLDERS if (folder / name).exists()]
    assert bundle.read(folder).tags == TAGS


def test_files_that_no_code_reads_are_not_needed(folder: Path) -> None:
    """A copy by `cp bundle/*` has no .gitattributes; a hub may write another card."""
    for name in (bundle.GIT_ATTRIBUTES, bundle.MODEL_CARD, bundle.LINEAGE):
        (folder / name).unlink()
    assert bundle.read(folder).tags == TAGS


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(
            lambda folder: (folder / bundle.TAGS).unlink(),
            r"is not a bundle: thresholds\.csv missing",
            id="a file is missing",
        ),
        pytest.param(
            lambda folder: (folder / bundle.PREPROCESSING).unlink(),
            r"is not a bundle: preprocessing\.json missing",
            id="no preprocessing",
        ),
        pytest.param(
            preprocessing_with(bundle_version=bundle.VERSION + 1),
            r"is of bundle version 4, this e6tag reads 3\. Install a newer",
            id="of a later version",
        ),
        pytest.param(
            preprocessing_with(bundle_version=2),
            r"is of bundle version 2, this e6tag reads 3\. Export the model again",
            id="of an earlier version",
        ),
        pytest.param(
            preprocessing_with(fit="squeeze"),
            r"fit is 'squeeze', known are pad, crop, stretch",
            id="another fit",
        ),
        pytest.param(
            preprocessing_with(bundle_version=None),
            r"preprocessing\.json cannot be read",
            id="no version",
        ),
        pytest.param(
            text(bundle.PREPROCESSING, "[]"),
            r"preprocessing\.json cannot be read",
            id="not an object",
        ),
        pytest.param(
            text(bundle.ROWS, "name\nfox\n"), r"columns are \['name'\]", id="columns"
        ),
        pytest.param(
            text(bundle.ROWS, "tag_id,name,category,count\nx,fox,5,700\n"),
            r"selected_tags\.csv cannot be read",
            id="an id that is no number",
        ),
        pytest.param(
            text(bundle.ROWS, bundle.rows_csv(ROWS[1:])),
            r"the first rows are not general, sensitive, questionable, explicit",
            id="a rating is missing",
        ),
        pytest.param(
            text(bundle.ROWS, "tag_id,name,category,count\n1,fox\n"),
            r"row 2: 2 fields instead of 4",
            id="a short row",
        ),
        pytest.param(
            text(bundle.TAGS, "name,category,threshold\nfox,5,1.5\n"),
            r"threshold 1\.5 of fox is not 0 to 1",
            id="a threshold above 1",
        ),
        pytest.param(
            text(bundle.TAGS, bundle.tags_csv(reversed(TAGS))),
            r"does not list the tags of selected_tags\.csv in their order",
            id="another order",
        ),
    ],
)
def test_what_is_wrong_is_named(folder: Path, edit: Break, message: str) -> None:
    edit(folder)
    with pytest.raises(BundleError, match=message) as raised:
        bundle.read(folder)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, E6tagError)


def test_a_path_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="missing is no folder"):
        bundle.read(tmp_path / "missing")


def test_models_of_a_bundle_are_opened(tmp_path: Path) -> None:
    folder = toy_bundle.write_bundle(tmp_path / "bundle", uncertainty=True)
    tagger = Tagger(folder)
    HeatmapModel(tagger)
    assert tagger.features_shape == [toy_bundle.GRID, toy_bundle.GRID, 4]


def test_another_model_in_place_of_the_tagger_is_named(tmp_path: Path) -> None:
    folder = toy_bundle.write_bundle(tmp_path / "bundle")
    shutil.copyfile(folder / bundle.HEATMAP_MODEL, folder / bundle.MODEL)
    with pytest.raises(BundleError, match="another model: it makes heatmap of feat"):
        Tagger(folder)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(rename_output, id="an output is missing"),
        pytest.param(fix_size, id="images of another size"),
        pytest.param(fix_batch, id="one image at a time"),
    ],
)
def test_model_that_the_tagger_cannot_run_is_named(
    tmp_path: Path, edit: Callable[[onnx.ModelProto], None]
) -> None:
    folder = toy_bundle.write_bundle(tmp_path / "bundle")
    model = onnx.load(folder / bundle.MODEL)
    edit(model)
    onnx.save(model, folder / bundle.MODEL)
    with pytest.raises(BundleError, match="is another model"):
        Tagger(folder)


def test_another_model_in_place_of_the_heat_maps_is_named(tmp_path: Path) -> None:
    folder = toy_bundle.write_bundle(tmp_path / "bundle")
    tagger = Tagger(folder)
    shutil.copyfile(folder / bundle.MODEL, folder / bundle.HEATMAP_MODEL)
    with pytest.raises(BundleError, match=r"of input .*makes heatmap of features"):
        HeatmapModel(tagger)
