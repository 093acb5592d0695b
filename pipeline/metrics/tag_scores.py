"""Labels and scores of many images, tag by tag.

A row of a tag lies together, in memory or on disk, since most metrics look at one tag
at a time. Labels are sparse: 40 of a thousand tags are on an image.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

CHUNK = 1_000_000  # pairs of image and tag read at once; bounds memory only


@dataclass(frozen=True, slots=True)
class TagScores:
    """Scores beside labels.

    labels: [tags, images], 1 where the image has the tag, column indices ascending.
    values: float32 [tags, images], 0 to 1.
    """

    labels: csr_array
    values: np.ndarray

    @classmethod
    def from_dense(cls, labels: np.ndarray, scores: np.ndarray) -> "TagScores":
        """Returns the same of two arrays of [images, tags]."""
        transposed = np.ascontiguousarray(scores.T, np.float32)
        return cls(sparse_labels(np.asarray(labels)), transposed)

    @property
    def tags(self) -> int:
        """Number of tags."""
        return int(self.values.shape[0])

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.values.shape[1])

    @property
    def positives(self) -> np.ndarray:
        """Number of images with each tag, int64 [tags]."""
        return np.diff(self.labels.indptr).astype(np.int64)

    def row(self, tag: int) -> np.ndarray:
        """Returns the scores of a tag, float32 [images], in memory."""
        return np.array(self.values[tag])

    def positive_images(self, tag: int) -> np.ndarray:
        """Returns the numbers of the images with a tag, ascending."""
        start, stop = self.labels.indptr[tag : tag + 2]
        return np.asarray(self.labels.indices[start:stop])

    def rows(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yields each tag with its scores and the numbers of its images."""
        for tag in range(self.tags):
            yield tag, self.row(tag), self.positive_images(tag)

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields labels, bool, and scores of a few tags at a time: [some, images]."""
        step = max(1, CHUNK // max(1, self.images))
        for start in range(0, self.tags, step):
            some = slice(start, start + step)
            labels = self.labels[some].toarray() != 0
            yield labels, np.array(self.values[some])


def sparse_labels(labels: np.ndarray) -> csr_array:
    """Returns labels as TagScores holds them. labels: 0 or 1 [images, tags]."""
    sparse = csr_array(np.ascontiguousarray(labels.T != 0).astype(np.int8))
    sparse.sort_indices()
    return sparse


def sparse_rows(rows: Sequence[np.ndarray], columns: int) -> csr_array:
    """Returns int8 [len(rows), columns]: 1 at the ascending columns that a row lists.

    rows: of integers.
    """
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=starts[1:])
    indices = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    ones = np.ones(len(indices), np.int8)
    return csr_array((ones, indices, starts), shape=(len(rows), columns))
