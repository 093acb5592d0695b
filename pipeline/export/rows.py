"""The rows of selected_tags.csv, and where the network's outputs are among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from e6tag import bundle
from e6tag.bundle import Row, Tag
from pipeline.params.sample import CATEGORIES

KNOWN_RATING = 9_999_999
"""tag_id of a rating that the network knows: what the WD taggers have for all four."""

NOBODY = Row(-1 - len(bundle.RATINGS), "no_character", bundle.CHARACTER_CATEGORY, 0)
"""The row that stands for the characters where there are none."""

_NUMBERS = {name: number for number, name in enumerate(CATEGORIES)}
_CHARACTER = _NUMBERS["character"]


@dataclass(frozen=True, slots=True)
class Layout:
    """The rows of a bundle, and what each is made of.

    tags: in the order of their rows. labels: int64 [tags], their label ids in that
    order. columns: int64 [rows], the column of each row in the network's logits, in
    their order, followed by the ratings that are known and by one column of zeros.
    """

    rows: tuple[Row, ...]
    tags: tuple[Tag, ...]
    labels: np.ndarray
    columns: np.ndarray

    @property
    def rows_of_labels(self) -> np.ndarray:
        """Row of each tag, by label id, int64 [tags]."""
        by_label = np.empty(len(self.tags), np.int64)
        by_label[self.labels] = [tag.row for tag in self.tags]
        return by_label

    @property
    def thresholds(self) -> np.ndarray:
        """By label id, float64 [tags]."""
        by_label = np.empty(len(self.tags))
        by_label[self.labels] = [tag.threshold for tag in self.tags]
        return by_label

    @property
    def flat_thresholds(self) -> np.ndarray:
        """What clients of the WD taggers use for each tag, by label id."""
        by_label = np.full(len(self.tags), bundle.FLAT_THRESHOLD)
        for label, tag in zip(self.labels, self.tags, strict=True):
            if tag.category == _CHARACTER:
                by_label[label] = bundle.CHARACTER_THRESHOLD
        return by_label


def lay_out(
    vocabulary: pl.DataFrame,
    positives: Sequence[int],
    thresholds: Mapping[str, float],
    ratings: Mapping[str, int],
) -> Layout:
    """Returns the rows: ratings, tags but characters, characters.

    vocabulary: schemas.VOCABULARY by label_id; positives: of each tag in training;
    thresholds: by name; ratings: training images of each rating that the network knows,
    in the order of its columns.
    """
    labels = _in_row_order(vocabulary)
    rows = _rating_rows(ratings)
    zeros = vocabulary.height + len(ratings)
    columns = dict(zip(ratings, range(vocabulary.height, zeros), strict=True))
    places = [columns.get(row.name, zeros) for row in rows]
    tags = []
    for label in labels:
        row = _tag_row(vocabulary.row(label, named=True), int(positives[label]))
        category = _NUMBERS[vocabulary["category"][label]]
        tags.append(Tag(len(rows), row.name, category, thresholds[row.name], row.count))
        rows.append(row)
    places += labels
    if rows[-1].category != bundle.CHARACTER_CATEGORY:
        rows.append(NOBODY)
        places.append(zeros)
    return Layout(
        rows=tuple(rows),
        tags=tuple(tags),
        labels=np.array(labels, np.int64),
        columns=np.array(places, np.int64),
    )


def _rating_rows(ratings: Mapping[str, int]) -> list[Row]:
    rows = []
    for number, name in enumerate(bundle.RATINGS):
        tag_id = KNOWN_RATING if name in ratings else -1 - number
        rows.append(Row(tag_id, name, bundle.RATING_CATEGORY, ratings.get(name, 0)))
    return rows


def _tag_row(tag: Mapping[str, Any], positives: int) -> Row:
    """Returns the row of a tag of the vocabulary."""
    category = bundle.GENERAL_CATEGORY
    if tag["category"] == "character":
        category = bundle.CHARACTER_CATEGORY
    return Row(tag["tag_id"], tag["name"], category, positives)


def _in_row_order(vocabulary: pl.DataFrame) -> list[int]:
    """Returns the label ids: characters last, else as they are."""
    is_character = [name == "character" for name in vocabulary["category"].to_list()]
    return sorted(range(len(is_character)), key=lambda label: is_character[label])
