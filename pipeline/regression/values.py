"""The CSV file of values, and how its rows meet the images of the shards."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipeline import os_errors, progress
from pipeline.errors import BadInput

if TYPE_CHECKING:
    import _csv

KEYS = ("post_id", "md5")
VALUE = "value"
FEWEST_IMAGES = 10
"""Of train and of test each: with fewer, neither a fit nor an error means anything."""


class ImageFeatures(Protocol):
    """A split as `pipeline.model.embeddings` gives it, whose module imports Keras."""

    @property
    def features(self) -> np.ndarray:
        """float32 [records, channels]."""

    @property
    def post_ids(self) -> np.ndarray:
        """int64 [records]."""

    @property
    def md5s(self) -> list[str]:
        """As many."""


@dataclass(frozen=True, slots=True)
class Values:
    """The rows of a file: value by key, where `key` is one of KEYS."""

    key: str
    by_key: dict[str, float]


@dataclass(frozen=True, slots=True)
class MatchedValues:
    """Images that have a value: features and targets of train, then of test.

    features: float32 [n, channels]; targets: float64 [n]. The lists hold keys.
    """

    key: str
    features: list[np.ndarray]
    targets: list[np.ndarray]
    images_without_row: list[str]
    rows_without_image: list[str]


def read(path: Path) -> Values:
    """Reads a file of post_id or md5, and value.

    Raises BadInput with the line of the first row that has no number, or whose post has
    a row already.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _parsed(csv.reader(file, strict=True), path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        os_errors.raise_for_machine(error, path)
        raise BadInput(
            f"{path} cannot be read: {error}. It must be a CSV file in UTF-8 with the "
            "columns post_id,value or md5,value."
        ) from error


def _parsed(rows: "_csv.Reader", path: Path) -> Values:
    header: list[str] = next(rows, [])
    if len(header) != 2 or header[0] not in KEYS or header[1] != VALUE:
        raise BadInput(
            f"{path} begins with {','.join(header)!r}. Its first line must be "
            "post_id,value or md5,value."
        )
    by_key: dict[str, float] = {}
    lines: dict[str, int] = {}
    for row in rows:
        if not row:
            continue
        place = f"{path}, line {rows.line_num}"
        if len(row) != 2:
            raise BadInput(
                f"{place}: {len(row)} fields, where {header[0]} and value are "
                "expected. Correct the line or delete it."
            )
        key = _key(row[0], header[0], place)
        if key in by_key:
            raise BadInput(
                f"{place}: {header[0]} {key} has a row already, in line {lines[key]}. "
                "Keep one of the two."
            )
        by_key[key] = _number(row[1], place)
        lines[key] = rows.line_num
    return Values(header[0], by_key)


def _key(text: str, name: str, place: str) -> str:
    """Returns a post id without leading zeros, or an md5 in lower case."""
    text = text.strip()
    is_decimal = text.isascii() and text.isdigit()
    if name == "post_id" and is_decimal:
        return str(int(text))
    is_hex = not set(text.lower()) - set("0123456789abcdef")
    if name == "md5" and len(text) == 32 and is_hex:
        return text.lower()
    raise BadInput(f"{place}: {text!r} is no {name}. Correct the line or delete it.")


def _number(text: str, place: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(
            f"{place}: the value {text!r} is not a number. Correct the line or delete "
            "it."
        )
    return number


def match(given: Values, splits: Sequence[ImageFeatures]) -> MatchedValues:
    """Returns the images that have a row, split by split, and what has no partner."""
    features, targets = [], []
    without_row: list[str] = []
    unused = dict(given.by_key)
    for split in splits:
        keys = _keys(split, given.key)
        rows = []
        for row, key in enumerate(keys):
            unused.pop(key, None)
            if key in given.by_key:
                rows.append(row)
            else:
                without_row.append(key)
        features.append(split.features[rows])
        found = [given.by_key[keys[row]] for row in rows]
        targets.append(np.array(found, np.float64))
    return MatchedValues(given.key, features, targets, without_row, list(unused))


def _keys(split: ImageFeatures, key: str) -> list[str]:
    if key == "md5":
        return split.md5s
    return [str(post_id) for post_id in split.post_ids]


def log_left_out(matched: MatchedValues, path: Path) -> None:
    """Logs a line for rows that are missing, and one for those that are of no image."""
    both = sum(len(targets) for targets in matched.targets)
    missing, foreign = matched.images_without_row, matched.rows_without_image
    if missing:
        images = both + len(missing)
        progress.log(
            f"regression: {len(missing):,} of {images:,} images of train and test "
            f"have no row in {path} and are left out, such as {matched.key} "
            f"{missing[0]}; metrics.json lists them"
        )
    if foreign:
        rows = both + len(foreign)
        progress.log(
            f"regression: {len(foreign):,} of {rows:,} rows of {path} are of no "
            f"image of train and test and are left out, such as "
            f"{matched.key} {foreign[0]}; metrics.json lists them"
        )


def require_enough(matched: MatchedValues, path: Path) -> None:
    """Raises BadInput where too few images have a value, or all have the same."""
    for name, targets in zip(("train", "test"), matched.targets, strict=True):
        if len(targets) < FEWEST_IMAGES:
            raise BadInput(
                f"{path} has a value for {len(targets):,} images of the {name} split, "
                f"at least {FEWEST_IMAGES} are needed. Add rows of posts that are in "
                f"data/manifest/{name}.parquet."
            )
        if np.ptp(targets) == 0:
            raise BadInput(
                f"{path} gives all images of the {name} split the value "
                f"{targets[0]:g}: there is nothing to learn. Give values that differ."
            )
