"""Counts of records by score, label and kind of split: all that the curves need."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.mine.labels import Labels
from pipeline.mine.regression import CHUNK

BINS = 512

TRAINED, HELD_OUT = 0, 1
"""Parts: records that the network was trained on, and all others."""

ABSENT, PRESENT = 0, 1


@dataclass(frozen=True, slots=True)
class Histograms:
    """Records by column and bin of the score.

    low, width: of the first bin, and of every bin, by column; counts: int64 [part,
    absent or present, columns, BINS].
    """

    low: NDArray[np.float64]
    width: NDArray[np.float64]
    counts: NDArray[np.int64]

    def bins(self, scores: NDArray[np.float16]) -> NDArray[np.int64]:
        """Returns the bin of each score, [records, columns]."""
        places = (scores - self.low) / self.width
        return np.clip(places, 0, BINS - 1).astype(np.int64)

    def scaled(self, column: int) -> NDArray[np.float64]:
        """Returns the middle of each bin, in deviations from the column's mean."""
        middle = self.low[column] + (np.arange(BINS) + 0.5) * self.width[column]
        weight = self.counts[:, :, column].sum(axis=(0, 1))
        mean = np.average(middle, weights=weight)
        variance = np.average((middle - mean) ** 2, weights=weight)
        return np.asarray((middle - mean) / np.sqrt(variance + 1e-12))


def parts_of(labels: Labels) -> NDArray[np.int64]:
    """Returns TRAINED or HELD_OUT of each record."""
    is_held_out = labels.records["split"] != "train"
    return is_held_out.to_numpy().astype(np.int64)


def chunks(records: int) -> Iterator[slice]:
    """Yields slices of CHUNK records."""
    for start in range(0, records, CHUNK):
        yield slice(start, min(start + CHUNK, records))


def count(scores: NDArray[np.float16], labels: Labels) -> Histograms:
    """Counts all records. scores: [records, columns of labels]."""
    low, width = _ranges(scores)
    columns = scores.shape[1]
    counts = np.zeros((2, 2, columns, BINS), np.int64)
    histograms = Histograms(low, width, counts)
    parts = parts_of(labels)
    for rows in chunks(len(scores)):
        bins = histograms.bins(scores[rows])
        given = labels.given[rows].tocoo()
        places = np.arange(columns) * BINS + bins
        for part in (TRAINED, HELD_OUT):
            is_of_part = parts[rows] == part
            everything = _count(places[is_of_part].ravel(), columns)
            has_label = is_of_part[given.row]
            at = places[given.row[has_label], given.col[has_label]]
            present = _count(at, columns)
            counts[part, PRESENT] += present
            counts[part, ABSENT] += everything - present
    return histograms


def _ranges(
    scores: NDArray[np.float16],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the lowest score of each column, and the width of a bin."""
    low = np.full(scores.shape[1], np.inf)
    high = np.full(scores.shape[1], -np.inf)
    for rows in chunks(len(scores)):
        part = scores[rows].astype(np.float64)
        low = np.minimum(low, part.min(axis=0))
        high = np.maximum(high, part.max(axis=0))
    return low, np.maximum(high - low, 1e-6) / BINS


def _count(places: NDArray[np.int64], columns: int) -> NDArray[np.int64]:
    counted = np.bincount(places, minlength=columns * BINS)
    return counted.reshape(columns, BINS)
