"""The bundle format: what is written is read again, what is wrong is named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from e6tag import bundle
from e6tag.bundle import BundleError, Row, Tag
from e6tag.errors import E6tagError
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
