"""The bundle format: the files of a folder that holds a tagger, and how to read them.

`pipeline/export` writes a bundle with these names, its gate checks one, and the tagger
opens one. Whoever loads a bundle with another tool needs no code of this project.

    model.onnx           `input` float32 [N, size, size, 3], RGB 0 to 255;
                         `output` float32 [N, tags], probabilities
    selected_tags.csv    tag_id, name, category, count: the form of the WD taggers,
                         in the order of `output`
    thresholds.csv       name, threshold, in the same order
    preprocessing.json   how an image becomes `input`
    model_card.md        what a person reads before using the model
    lineage.json         snapshot, rules and parameters behind the model
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERSION = 1
"""The version of the format that this code reads and writes. A bundle whose
preprocessing.json has no `bundle_version` is of version 1."""

MODEL = "model.onnx"
TAGS = "selected_tags.csv"
THRESHOLDS = "thresholds.csv"
PREPROCESSING = "preprocessing.json"
MODEL_CARD = "model_card.md"
LINEAGE = "lineage.json"
FILES = (MODEL, TAGS, THRESHOLDS, PREPROCESSING, MODEL_CARD, LINEAGE)
"""All files of a bundle; there are no others."""

TAG_COLUMNS = ("tag_id", "name", "category", "count")
THRESHOLD_COLUMNS = ("name", "threshold")

INPUT = "input"
OUTPUT = "output"
BATCH = "N"
"""What model.onnx calls its input, its output and the first dimension of both."""

FITS = ("pad", "crop", "stretch")


class BundleError(Exception):
    """A folder that is not a complete bundle of a version that this code reads."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One output of the network. category: the site's number; count: positives."""

    tag_id: int
    name: str
    category: int
    count: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was read and checked; tags and thresholds as `output` is ordered.

    size: pixels a side of the square that the network takes; fit: one of FITS.
    """

    folder: Path
    tags: tuple[Tag, ...]
    thresholds: tuple[float, ...]
    size: int
    fit: str

    @property
    def model(self) -> Path:
        """The ONNX file."""
        return self.folder / MODEL


def read(folder: Path) -> Bundle:
    """Reads and checks a bundle; raises BundleError naming the file at fault."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise BundleError(f"{folder} is not a bundle: {', '.join(missing)} missing")
    size, fit = _read_preprocessing(folder / PREPROCESSING)
    tags = read_tags(folder / TAGS)
    thresholds = read_thresholds(folder / THRESHOLDS)
    tag_names = [tag.name for tag in tags]
    if tag_names != [name for name, _ in thresholds]:
        raise BundleError(
            f"{folder / THRESHOLDS} does not list the tags of {TAGS} in their order"
        )
    values = tuple(threshold for _, threshold in thresholds)
    return Bundle(folder, tags, values, size, fit)


def _read_preprocessing(path: Path) -> tuple[int, str]:
    """Returns size and fit."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = int(content.get("bundle_version", 1))
        size = int(content["size"])
        fit = str(content["fit"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} cannot be read: {error!r}") from error
    if version > VERSION:
        raise BundleError(
            f"{path} is of bundle version {version}, this e6tag reads up to {VERSION}. "
            "Install a newer e6tag."
        )
    if fit not in FITS:
        raise BundleError(f"{path}: fit is {fit!r}, known are {', '.join(FITS)}")
    return size, fit


def read_tags(path: Path) -> tuple[Tag, ...]:
    """Reads selected_tags.csv; raises BundleError."""
    try:
        return tuple(
            Tag(int(tag_id), name, int(category), int(count))
            for tag_id, name, category, count in _read_rows(path, TAG_COLUMNS)
        )
    except ValueError as error:
        raise BundleError(f"{path} cannot be read: {error}") from error


def read_thresholds(path: Path) -> tuple[tuple[str, float], ...]:
    """Reads thresholds.csv as (name, threshold), each 0 to 1; raises BundleError."""
    rows = []
    try:
        for name, text in _read_rows(path, THRESHOLD_COLUMNS):
            threshold = float(text)
            if not 0 <= threshold <= 1:
                raise BundleError(f"{path}: threshold {text} of {name} is not 0 to 1")
            rows.append((name, threshold))
    except ValueError as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    return tuple(rows)


def _read_rows(path: Path, columns: Sequence[str]) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    if header != list(columns):
        raise BundleError(f"{path}: columns are {header}, not {list(columns)}")
    return rows


def tags_csv(tags: Iterable[Tag]) -> str:
    """Returns the text of selected_tags.csv."""
    rows = ([tag.tag_id, tag.name, tag.category, tag.count] for tag in tags)
    return _csv(TAG_COLUMNS, rows)


def thresholds_csv(thresholds: Iterable[tuple[str, float]]) -> str:
    """Returns the text of thresholds.csv, from (name, threshold)."""
    return _csv(THRESHOLD_COLUMNS, thresholds)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def preprocessing(
    *, size: int, fit: str, background: Sequence[int], jpeg_size: int, jpeg_quality: int
) -> dict[str, Any]:
    """Returns the content of preprocessing.json.

    size: pixels a side of the network's input. jpeg_size, jpeg_quality: of the JPEGs
    that it was trained on.
    """
    pad_colour = list(background) if fit == "pad" else None
    return {
        "channels": "RGB",
        "dtype": "float32",
        "fit": fit,
        "input": INPUT,
        "layout": "NHWC",
        "output": OUTPUT,
        "pad_colour": pad_colour,
        "range": [0, 255],
        "resize": "bilinear, antialiased",
        "size": size,
        "trained_on": {"jpeg_quality": jpeg_quality, "jpeg_size": jpeg_size},
        "transparency": "flattened on white",
    }
