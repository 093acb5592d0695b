"""The bundle format: the files of a folder that holds a tagger, and how to read them.

`pipeline/export` writes a bundle with these names, its gate checks one, and the tagger
opens one. Whoever loads a bundle with another tool needs no code of this project.

    model.onnx           what the clients of the WD taggers load. All is float32,
                         `rows` are those of selected_tags.csv
      input              [N, 448, 448, 3], BGR, 0 to 255: an image fitted to a square.
                         All else, down to the network's size, is inside
      output             [N, rows] probabilities. Where thresholds are folded in, a tag
                         applies from FLAT_THRESHOLD on, characters from
                         CHARACTER_THRESHOLD
      embedding          [N, D]
      scores             [N, rows] probabilities as the network gives them
      features           [N, h, w, channels], the map that heatmap.onnx takes
      uncertainty        [N, rows], the standard deviation of each logit: only of a
                         model of label noise
    heatmap.onnx         `features` as above -> `heatmap` [N, h, w, rows]: what each
                         position adds to a tag's logit, or how a tag attends to it
    selected_tags.csv    tag_id, name, category, count: the rows, in the form of the WD
                         taggers. First the four RATINGS (category 9), then all tags
                         but characters (0), then at least one character (4). Rows that
                         stand for nothing have a negative tag_id and are 0 in all
                         outputs
    thresholds.csv       name, category, threshold: the tags that the network knows, in
                         the order of their rows, with the site's number of the
                         category; thresholds are of `scores`
    implications.csv     name, implies: one step; of the tags and of what they imply
    renamed_tags.csv     old, new: tags of the last release that have other names now
    preprocessing.json   how an image becomes `input`, and what the outputs are
    README.md            the model card: what a person reads before using the model
    DATA_CARD.md         what the model was trained on, and what was left out and why
    metrics.json         of the evaluation, with digests of its test posts and tags:
                         what the next release is compared with
    lineage.json         snapshot, rules and parameters behind the model, and the
                         SHA-256 of every other file of the bundle
    .gitattributes       which files Git LFS keeps where the folder is a repository
    variants/            the same network smaller or for other runtimes, and
                         variants.json, what each loses. model.tflite takes `input`, has
                         the outputs `output` and `scores`, in this order, and names
                         them in its only signature, serving_default
    hydrus/              model.onnx and selected_tags.csv again, with the info.json of
                         the taggers of Hydrus: they open whichever .onnx and .csv they
                         find first in a folder
    imgutils/            the same network in the form that dghs-imgutils reads
    deepdanbooru/        the same network as a project of DeepDanbooru
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e6tag.errors import E6tagError

VERSION = 3
"""The version of the format that this code reads and writes. What readers may leave
aside, such as the output `uncertainty`, does not raise it."""

MODEL = "model.onnx"
HEATMAP_MODEL = "heatmap.onnx"
ROWS = "selected_tags.csv"
TAGS = "thresholds.csv"
IMPLICATIONS = "implications.csv"
RENAMED = "renamed_tags.csv"
PREPROCESSING = "preprocessing.json"
MODEL_CARD = "README.md"
DATA_CARD = "DATA_CARD.md"
METRICS = "metrics.json"
LINEAGE = "lineage.json"
GIT_ATTRIBUTES = ".gitattributes"
FILES = (
    MODEL,
    HEATMAP_MODEL,
    ROWS,
    TAGS,
    IMPLICATIONS,
    RENAMED,
    PREPROCESSING,
    MODEL_CARD,
    DATA_CARD,
    METRICS,
    LINEAGE,
    GIT_ATTRIBUTES,
)
"""The files in the folder itself."""

NEEDED = (MODEL, HEATMAP_MODEL, ROWS, TAGS, IMPLICATIONS, RENAMED, PREPROCESSING)
"""Those of them that e6tag reads. The others are for people, hubs and the gate."""

VARIANTS = "variants"
HYDRUS = "hydrus"
IMGUTILS = "imgutils"
DEEPDANBOORU = "deepdanbooru"

FLOAT16 = "model_float16.onnx"
INT8 = "model_int8.onnx"
TFLITE = "model.tflite"
VARIANTS_LIST = "variants.json"
HYDRUS_INFO = "info.json"
CATEGORY_NAMES = "categories.json"
TRANSFORMS = "preprocess.json"
PROJECT = "project.json"
PROJECT_TAGS = "tags.txt"
PROJECT_MODEL = "e6tag"
PROJECT_FILE = f"model-{PROJECT_MODEL}.keras"
"""What project.json calls its model, and the file that it means by that."""

FOLDERS: dict[str, tuple[str, ...]] = {
    VARIANTS: (FLOAT16, INT8, TFLITE, VARIANTS_LIST),
    HYDRUS: (HYDRUS_INFO, MODEL, ROWS),
    IMGUTILS: (CATEGORY_NAMES, MODEL, TRANSFORMS, ROWS, TAGS),
    DEEPDANBOORU: (PROJECT_FILE, PROJECT, PROJECT_TAGS),
}
"""The files of the folders for other programs. Opening a bundle needs none of them."""

ROW_COLUMNS = ("tag_id", "name", "category", "count")
TAG_COLUMNS = ("name", "category", "threshold")
IMPLICATION_COLUMNS = ("name", "implies")
RENAMED_COLUMNS = ("old", "new")

INPUT = "input"
OUTPUT = "output"
EMBEDDING = "embedding"
SCORES = "scores"
FEATURES = "features"
UNCERTAINTY = "uncertainty"
HEATMAP = "heatmap"
BATCH = "N"
"""What the models call their inputs, their outputs and the first dimension of all."""

SIZE = 448
"""Pixels a side of `input`, whatever the network's own size is."""

FITS = ("pad", "crop", "stretch")

RATINGS = ("general", "sensitive", "questionable", "explicit")
"""The first rows, in this order: clients count positions."""

RATING_CATEGORY = 9
GENERAL_CATEGORY = 0
CHARACTER_CATEGORY = 4
"""Categories of selected_tags.csv; all tags of the site but characters are general."""

FLAT_THRESHOLD = 0.35
CHARACTER_THRESHOLD = 0.85
"""From which probability on clients of the WD taggers apply a tag."""

CATEGORIES = {
    0: "general",
    1: "artist",
    2: "contributor",
    3: "copyright",
    4: "character",
    5: "species",
    6: "invalid",
    7: "meta",
    8: "lore",
}
"""The site's categories by their numbers, as thresholds.csv has them."""


class BundleError(E6tagError):
    """A folder that is not a complete bundle of a version that this code reads."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of selected_tags.csv. category: of the WD taggers; count: positives."""

    tag_id: int
    name: str
    category: int
    count: int

    @property
    def is_dead(self) -> bool:
        """Whether the row stands for nothing that the network knows."""
        return self.tag_id < 0


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that the network knows.

    row: its place in every output; category: the site's number; threshold: of its
    score; count: positives in training.
    """

    row: int
    name: str
    category: int
    threshold: float
    count: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was read and checked.

    rows: all rows of the outputs. tags: those that the network knows, in the order of
    their rows. ratings: rows of the ratings that it knows, by name; empty where it was
    trained on one rating alone. implications: by name what a tag implies in one step.
    fit: one of FITS. is_folded: whether thresholds are folded into `output`.
    """

    folder: Path
    rows: tuple[Row, ...]
    tags: tuple[Tag, ...]
    ratings: dict[str, int]
    implications: dict[str, tuple[str, ...]]
    fit: str
    is_folded: bool

    @property
    def model(self) -> Path:
        """The ONNX file of the tagger."""
        return self.folder / MODEL

    @property
    def heatmap_model(self) -> Path:
        """The ONNX file that makes heat maps of `features`."""
        return self.folder / HEATMAP_MODEL


def read(folder: Path) -> Bundle:
    """Reads and checks a bundle; raises BundleError naming the file at fault."""
    if not folder.is_dir():
        raise BundleError(f"{folder} is no folder. Give the folder of a bundle.")
    # First: a bundle of another version has other files.
    fit, is_folded = _read_preprocessing(folder / PREPROCESSING)
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise BundleError(f"{folder} is not a bundle: {', '.join(missing)} missing")
    rows = read_rows(folder / ROWS)
    return Bundle(
        folder=folder,
        rows=rows,
        tags=read_tags(folder / TAGS, rows),
        ratings=_known_ratings(rows),
        implications=_read_implications(folder / IMPLICATIONS),
        fit=fit,
        is_folded=is_folded,
    )


def _read_preprocessing(path: Path) -> tuple[str, bool]:
    """Returns fit, and whether thresholds are folded in."""
    if not path.is_file():
        raise BundleError(f"{path.parent} is not a bundle: {path.name} missing")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = int(content.get("bundle_version", 1))
        fit = str(content["fit"])
        is_folded = bool(content.get("folded_thresholds", False))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} cannot be read: {error!r}") from error
    if version > VERSION:
        raise BundleError(
            f"{path} is of bundle version {version}, this e6tag reads {VERSION}. "
            "Install a newer e6tag."
        )
    if version < VERSION:
        raise BundleError(
            f"{path} is of bundle version {version}, this e6tag reads {VERSION}. "
            "Export the model again: dvc repro export."
        )
    if fit not in FITS:
        raise BundleError(f"{path}: fit is {fit!r}, known are {', '.join(FITS)}")
    return fit, is_folded


def read_rows(path: Path) -> tuple[Row, ...]:
    """Reads selected_tags.csv; raises BundleError, also for ratings out of place."""
    try:
        rows = tuple(
            Row(int(tag_id), name, int(category), int(count))
            for tag_id, name, category, count in read_csv(path, ROW_COLUMNS)
        )
    except ValueError as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    first = tuple(row.name for row in rows if row.category == RATING_CATEGORY)
    if first != RATINGS or tuple(row.name for row in rows[:4]) != RATINGS:
        raise BundleError(f"{path}: the first rows are not {', '.join(RATINGS)}")
    return rows


def _known_ratings(rows: Sequence[Row]) -> dict[str, int]:
    known = {}
    for number, row in enumerate(rows[: len(RATINGS)]):
        if not row.is_dead:
            known[row.name] = number
    return known


def read_tags(path: Path, rows: Sequence[Row]) -> tuple[Tag, ...]:
    """Reads thresholds.csv and finds each tag's row; raises BundleError."""
    numbers = {}
    for number, row in enumerate(rows):
        if not row.is_dead and row.category != RATING_CATEGORY:
            numbers[row.name] = number
    tags = []
    try:
        for name, category, text in read_csv(path, TAG_COLUMNS):
            threshold = float(text)
            if not 0 <= threshold <= 1:
                raise BundleError(f"{path}: threshold {text} of {name} is not 0 to 1")
            # A tag without a row has none of the numbers, which the check below finds.
            number = numbers.get(name, -1)
            tags.append(Tag(number, name, int(category), threshold, rows[number].count))
    except ValueError as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    if [tag.row for tag in tags] != list(numbers.values()):
        raise BundleError(f"{path} does not list the tags of {ROWS} in their order")
    return tuple(tags)


def _read_implications(path: Path) -> dict[str, tuple[str, ...]]:
    implied: dict[str, list[str]] = {}
    for name, implies in read_csv(path, IMPLICATION_COLUMNS):
        implied.setdefault(name, []).append(implies)
    return {name: tuple(names) for name, names in implied.items()}


def read_csv(path: Path, columns: Sequence[str]) -> list[list[str]]:
    """Returns the rows below the header; raises BundleError for other columns."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    if header != list(columns):
        raise BundleError(f"{path}: columns are {header}, not {list(columns)}")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise BundleError(
                f"{path}, row {number}: {len(row)} fields instead of {len(columns)}"
            )
    return rows


def rows_csv(rows: Iterable[Row]) -> str:
    """Returns the text of selected_tags.csv."""
    cells = ([row.tag_id, row.name, row.category, row.count] for row in rows)
    return to_csv(ROW_COLUMNS, cells)


def tags_csv(tags: Iterable[Tag]) -> str:
    """Returns the text of thresholds.csv."""
    cells = ([tag.name, tag.category, tag.threshold] for tag in tags)
    return to_csv(TAG_COLUMNS, cells)


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns the text of a CSV file of a bundle."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def preprocessing(
    *,
    network_size: int,
    fit: str,
    background: Sequence[int],
    jpeg_size: int,
    jpeg_quality: int,
    is_folded: bool,
) -> dict[str, Any]:
    """Returns the content of preprocessing.json.

    network_size: pixels a side to which model.onnx resizes its input. jpeg_size,
    jpeg_quality: of the JPEGs that the network was trained on.
    """
    pad_colour = list(background) if fit == "pad" else None
    output = "probabilities"
    if is_folded:
        output = "probabilities, with thresholds folded in"
    return {
        "bundle_version": VERSION,
        "channels": "BGR",
        "colours": "sRGB, upright by EXIF",
        "dtype": "float32",
        "fit": fit,
        "fitted_with": "Lanczos",
        "folded_thresholds": is_folded,
        "input": INPUT,
        "layout": "NHWC",
        "outputs": {
            OUTPUT: output,
            EMBEDDING: "the average of the feature map",
            SCORES: "probabilities as the network gives them",
            FEATURES: "the feature map, input of heatmap.onnx",
            UNCERTAINTY: "standard deviation of each logit, of models of label noise",
        },
        "pad_colour": pad_colour,
        "range": [0, 255],
        "resized_inside_to": network_size,
        "size": SIZE,
        "trained_on": {"jpeg_quality": jpeg_quality, "jpeg_size": jpeg_size},
        "transparency": "flattened on white",
    }
