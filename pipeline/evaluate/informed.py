"""The informed baseline: what rating and number of tags alone say of an image.

Images of the same rating and about as many tags are a cell; each cell has the shares
that its tags have in training. Images with many tags have more of every tag: a model
that only guesses how much was tagged ranks far above the image-blind one.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from pipeline.metrics.prior import Prior, positives_of
from pipeline.metrics.tag_scores import sparse_rows

GROUPS = 8  # of the number of tags, equally many training images each
_STRENGTH = 10  # images of the overall share that each cell is mixed with


@dataclass(frozen=True, slots=True)
class Informed:
    """What was learnt of the training images.

    ratings: known ones; others share a cell. edges: of the numbers of tags, ascending.
    scores: float64 [cells, tags].
    """

    ratings: tuple[str, ...]
    edges: np.ndarray
    scores: np.ndarray

    @classmethod
    def learn(cls, train: pl.DataFrame, shares: np.ndarray) -> "Informed":
        """Learns from training records: rating, label_ids.

        shares: of each tag in training, [tags].
        """
        ratings = tuple(sorted(train["rating"].unique().to_list()))
        lists = [np.asarray(ids) for ids in train["label_ids"].to_list()]
        labels = csr_array(sparse_rows(lists, len(shares)).T)
        counts = np.array([len(ids) for ids in lists], np.int64)
        edges = _edges(counts)
        empty = cls(ratings, edges, np.zeros((0, len(shares))))
        cell_of = empty.cells(train["rating"].to_list(), counts)
        cells = (len(ratings) + 1) * (len(edges) + 1)
        positives = positives_of(cell_of, cells, labels)
        images = np.bincount(cell_of, minlength=cells)[:, None]
        scores = (positives + _STRENGTH * shares) / (images + _STRENGTH)
        return cls(ratings, edges, scores)

    def cells(self, ratings: list[str], counts: np.ndarray) -> np.ndarray:
        """Returns the cell of each image, int64. counts: its tags."""
        number = {rating: place for place, rating in enumerate(self.ratings)}
        places = [number.get(rating, len(self.ratings)) for rating in ratings]
        group = np.searchsorted(self.edges, counts, side="left")
        return np.asarray(places, np.int64) * (len(self.edges) + 1) + group

    def prior(self, ratings: list[str], labels: csr_array) -> Prior:
        """Returns the baseline of some images. labels: [tags, images]."""
        counts = np.bincount(labels.indices, minlength=labels.shape[1])
        return Prior(self.cells(ratings, counts), self.scores, labels)


def _edges(counts: np.ndarray) -> np.ndarray:
    """Returns the numbers of tags between GROUPS groups, ascending; fewer if equal."""
    if not len(counts):
        return np.zeros(0)
    return np.unique(np.quantile(counts, np.linspace(0, 1, GROUPS + 1)[1:-1]))
