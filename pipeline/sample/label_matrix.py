"""Records: the candidates with their labels, as one sparse matrix that all strategies choose from."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.paths import SPLITS
from pipeline.sample.candidates import CANDIDATE, CandidatePosts
from pipeline.sample.splits import SplitAssignment

_BLOCK = 2_000_000  # tags looked at at once; bounds the memory of what is in between
JUDGED = SPLITS[:3]
"""Splits whose positives are promised; `fresh` takes what comes."""


@dataclass(frozen=True)
class LabelMatrix:
    """All candidates by post_id.

    Record n has labels[starts[n] : starts[n + 1]], in no order, each once.
    """

    post_id: NDArray[np.int64]
    split: NDArray[np.int8]  # place in SPLITS
    tags: NDArray[np.int32]  # number of tags of all categories
    starts: NDArray[np.int64]
    labels: NDArray[np.uint16] | NDArray[np.int32]
    given: NDArray[np.bool_]
    vocabulary: int  # labels there are

    @classmethod
    def make(
        cls,
        posts: CandidatePosts,
        assigned: SplitAssignment,
        label_of: NDArray[np.int64],
    ) -> "LabelMatrix":
        """Takes the tags that are labels. label_of: by code, -1 where it is none."""
        vocabulary = int(label_of.max(initial=-1)) + 1
        kind = np.uint16 if vocabulary < 65_535 else np.int32
        small = np.where(label_of < 0, vocabulary, label_of).astype(kind)
        rows = np.flatnonzero(posts.reason == CANDIDATE)
        labels, given, lengths = [], [], []
        step = max(1, int(_BLOCK * len(posts.post_id) / max(1, len(posts.tags))))
        for first in range(0, len(posts.post_id), step):
            starts = posts.starts[first : first + step + 1]
            found = small[posts.tags[starts[0] : starts[-1]]]
            is_label = (found != vocabulary) & np.repeat(
                posts.reason[first : first + step] == CANDIDATE, np.diff(starts)
            )
            counted = np.concatenate([[0], np.cumsum(is_label)])
            lengths.append(np.diff(counted[starts - starts[0]]))
            labels.append(found[is_label])
            given.append(posts.given[starts[0] : starts[-1]][is_label])
        every = np.concatenate([np.empty(0, np.int64), *lengths])[rows]
        return cls(
            posts.post_id[rows],
            assigned.split[rows],
            posts.candidate_tags[rows],
            np.concatenate([[0], np.cumsum(every)]),
            np.concatenate([np.empty(0, kind), *labels]),
            np.concatenate([np.empty(0, np.bool_), *given]),
            vocabulary,
        )

    def lengths(self) -> NDArray[np.int64]:
        """Returns the number of labels of each record."""
        return np.diff(self.starts)

    def places(
        self, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns where in `labels` those of the rows stand, one row after another.

        And where each row ends in that.
        """
        first = self.starts[rows]
        lengths = self.starts[rows + 1] - first
        ends = np.cumsum(lengths)
        return np.repeat(first - (ends - lengths), lengths) + np.arange(
            ends[-1] if len(ends) else 0
        ), ends

    def only(self, rows: NDArray[np.int64]) -> "LabelMatrix":
        """Returns these rows alone, as records of their own."""
        places, ends = self.places(rows)
        return LabelMatrix(
            self.post_id[rows],
            self.split[rows],
            self.tags[rows],
            np.concatenate([[0], ends]),
            self.labels[places],
            self.given[places],
            self.vocabulary,
        )

    def sums(self, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the sum of the weights, by label, of each record's labels."""
        found = np.zeros(len(self.post_id), dtype=np.int64)
        step = self._rows_at_once()
        for first in range(0, len(found), step):
            starts = self.starts[first : first + step + 1]
            filled = np.flatnonzero(np.diff(starts))
            if len(filled):
                values = weights[self.labels[starts[0] : starts[-1]]]
                found[first + filled] = np.add.reduceat(
                    values, starts[filled] - starts[0]
                )
        return found

    def positives_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns `positives` of these rows alone."""
        return self.only(rows).positives

    @cached_property
    def positives(self) -> NDArray[np.int64]:
        """The number of records [judged splits, labels] with each label in each split."""
        counts = np.zeros(len(SPLITS) * self.vocabulary, dtype=np.int64)
        step = self._rows_at_once()
        for first in range(0, len(self.post_id), step):
            starts = self.starts[first : first + step + 1]
            split = np.repeat(
                self.split[first : first + step].astype(np.int32) * self.vocabulary,
                np.diff(starts),
            )
            counts += np.bincount(
                split + self.labels[starts[0] : starts[-1]], minlength=len(counts)
            )
        return counts.reshape(len(SPLITS), self.vocabulary)[: len(JUDGED)]

    def _rows_at_once(self) -> int:
        return max(1, int(_BLOCK * len(self.post_id) / max(1, len(self.labels))))

    def lists(self, rows: NDArray[np.int64]) -> tuple[pl.Series, pl.Series]:
        """Returns label ids and given ids of each row, ascending.

        Lists of Arrow: Python's would cost tenfold.
        """
        places, ends = self.places(rows)
        row = np.repeat(np.arange(len(rows)), np.diff(ends, prepend=0))
        order = np.lexsort((self.labels[places], row))
        labels, row = self.labels[places][order], row[order]
        given = self.given[places][order]
        return _cut(labels, row, len(rows)), _cut(labels[given], row[given], len(rows))


def _cut(labels: NDArray[np.generic], row: NDArray[np.int64], rows: int) -> pl.Series:
    ends = np.searchsorted(row, np.arange(rows + 1))
    return pl.Series(pa.LargeListArray.from_arrays(ends, labels.astype(np.int32)))
