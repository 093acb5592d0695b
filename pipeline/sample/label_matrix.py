"""The candidates with their labels, as one sparse matrix for all strategies."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.paths import SPLITS
from pipeline.sample.candidates import CandidatePosts
from pipeline.sample.exclusions import CANDIDATE
from pipeline.sample.splits import SplitAssignment

if TYPE_CHECKING:
    from scipy.sparse import csr_array

TARGET_SPLITS = SPLITS[:3]
"""Splits whose positives are promised; `fresh` takes what comes."""

_IMPLIED, _GIVEN = 1, 2  # entries of the matrix while it is made


@dataclass(frozen=True)
class LabelMatrix:
    """All candidates, ordered by post_id."""

    post_id: NDArray[np.int64]
    split: NDArray[np.int8]  # place in SPLITS
    tags: NDArray[np.int32]  # number of tags of all categories
    labels: "csr_array"  # [records, vocabulary]: 1 where the record has the label
    given: "csr_array"  # the same, of labels that are not only implied

    @classmethod
    def make(
        cls,
        posts: CandidatePosts,
        assigned: SplitAssignment,
        label_of: NDArray[np.int64],
    ) -> "LabelMatrix":
        """Takes the tags that are labels. label_of: by code, -1 where it is none."""
        from scipy.sparse import csr_array

        codes = np.flatnonzero(label_of >= 0)
        code_of_label = codes[np.argsort(label_of[codes])]
        origin = np.where(posts.given, _GIVEN, _IMPLIED).astype(np.int8)
        shape = (len(posts.post_id), len(label_of))
        tagged = csr_array((origin, posts.tags, posts.starts), shape=shape)
        rows = np.flatnonzero(posts.reason == CANDIDATE)
        labels = tagged[rows][:, code_of_label]
        given = _only_given(labels)
        labels.data[:] = 1
        return cls(
            posts.post_id[rows],
            assigned.split[rows],
            posts.tag_count[rows],
            labels,
            given,
        )

    @property
    def vocabulary(self) -> int:
        """Number of labels."""
        return int(self.labels.shape[1])

    def lengths(self) -> NDArray[np.int64]:
        """Returns the number of labels of each record."""
        return np.diff(self.labels.indptr)

    def labels_of(self, row: int) -> NDArray[np.int32]:
        """Returns the labels of one record, in no order."""
        start, end = self.labels.indptr[row : row + 2]
        return self.labels.indices[start:end]

    def only(self, rows: NDArray[np.int64]) -> "LabelMatrix":
        """Returns these rows alone."""
        return LabelMatrix(
            self.post_id[rows],
            self.split[rows],
            self.tags[rows],
            self.labels[rows],
            self.given[rows],
        )

    def sums(self, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns, per record, the sum of the weights of its labels."""
        return self.labels @ weights

    def counts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns, per label, how many of the rows have it."""
        return np.bincount(self.labels[rows].indices, minlength=self.vocabulary)

    def positives_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns records [target splits, labels] with each label, of these rows."""
        positives = np.empty((len(TARGET_SPLITS), self.vocabulary), dtype=np.int64)
        for split in range(len(TARGET_SPLITS)):
            positives[split] = self.counts(rows[self.split[rows] == split])
        return positives

    @cached_property
    def positives(self) -> NDArray[np.int64]:
        """Records [target splits, labels] with each label, of all rows."""
        return self.positives_of(np.arange(len(self.post_id)))

    def lists(self, rows: NDArray[np.int64]) -> tuple[pl.Series, pl.Series]:
        """Returns label ids and given ids of each row, ascending.

        Lists of Arrow: Python's would cost tenfold.
        """
        return _as_lists(self.labels[rows]), _as_lists(self.given[rows])


def _only_given(labels: "csr_array") -> "csr_array":
    """Returns the entries that are _GIVEN, as ones."""
    from scipy.sparse import csr_array

    is_given = labels.data == _GIVEN
    before = np.concatenate([[0], np.cumsum(is_given)])
    indices = labels.indices[is_given]
    ones = np.ones(len(indices), dtype=np.int8)
    return csr_array((ones, indices, before[labels.indptr]), shape=labels.shape)


def _as_lists(matrix: "csr_array") -> pl.Series:
    matrix.sort_indices()
    ends = matrix.indptr.astype(np.int64)
    ids = matrix.indices.astype(np.int32)
    return pl.Series(pa.LargeListArray.from_arrays(ends, ids))
