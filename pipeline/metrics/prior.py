"""What models reach that never look at the image: they score each cell's images alike.

With one cell that is the image-blind baseline: every image has the share that each tag
has in training. With cells of images of the same rating and about as many tags, it is a
harder one, which knows what a person would read beside the image. Where a baseline
needs a choice (which tags to predict), the choice is made on the evaluated images
themselves, so that no model of its kind does better.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from pipeline.metrics.tag_scores import sparse_rows


@dataclass(frozen=True, slots=True)
class Prior:
    """The scores of all images of a cell, beside what the images have.

    cell_of: int64 [images]. scores: float64 [cells, tags], 0 to 1. labels: [tags,
    images], as TagScores has them.
    """

    cell_of: np.ndarray
    scores: np.ndarray
    labels: csr_array

    @property
    def images(self) -> np.ndarray:
        """Images of each cell, int64 [cells]."""
        return np.bincount(self.cell_of, minlength=len(self.scores))

    def positives(self) -> np.ndarray:
        """Returns the images of each cell that have each tag, int64 [cells, tags]."""
        return positives_of(self.cell_of, len(self.scores), self.labels)


@dataclass(frozen=True, slots=True)
class Ranked:
    """Items with the same score together, from the highest score on.

    found, false: int64: positives and negatives of this score or a higher one.
    """

    found: np.ndarray
    false: np.ndarray

    @property
    def auc(self) -> float:
        """Area under the ROC curve, ties counting half."""
        new_false = np.diff(self.false, prepend=0)
        new_found = np.diff(self.found, prepend=0)
        ordered = ((self.found - new_found / 2) * new_false).sum()
        return float(ordered / (float(self.found[-1]) * float(self.false[-1])))

    @property
    def average_precision(self) -> float:
        """Precision summed over steps of recall."""
        predicted = np.maximum(self.found + self.false, 1)
        new_found = np.diff(self.found, prepend=0)
        return float((self.found / predicted * new_found).sum() / self.found[-1])

    @property
    def best_f1(self) -> float:
        """F1 at the score that gives the best one."""
        return float(
            (2 * self.found / (self.found + self.false + self.found[-1])).max()
        )


def positives_of(cell_of: np.ndarray, cells: int, labels: csr_array) -> np.ndarray:
    """Returns the images of each cell that have each tag, int64 [cells, tags]."""
    members = [np.flatnonzero(cell_of == cell) for cell in range(cells)]
    indicator = sparse_rows(members, len(cell_of)).astype(np.int64)
    return np.asarray((indicator @ labels.T).toarray())


def blind(shares: np.ndarray, labels: csr_array) -> Prior:
    """Returns the image-blind baseline. shares: of each tag in training, [tags]."""
    return Prior(np.zeros(labels.shape[1], np.int64), shares[None, :], labels)


def ranked(scores: np.ndarray, positives: np.ndarray, totals: np.ndarray) -> Ranked:
    """Ranks items, each of which stands for `totals` images of the same score.

    scores, positives, totals: of the same shape.
    """
    values, place = np.unique(-scores.ravel(), return_inverse=True)
    of_value = np.bincount(place, positives.ravel(), len(values))
    all_of_value = np.bincount(place, totals.ravel(), len(values))
    found = np.cumsum(np.rint(of_value).astype(np.int64))
    both = np.cumsum(np.rint(all_of_value).astype(np.int64))
    return Ranked(found, both - found)


def ranked_pairs(prior: Prior) -> Ranked | None:
    """Ranks all pairs of image and tag; None where all have the same label."""
    positives = prior.positives()
    totals = np.broadcast_to(prior.images[:, None], positives.shape)
    if positives.sum() in (0, totals.sum()):
        return None
    return ranked(prior.scores, positives, totals)


def ranked_tags(prior: Prior) -> dict[int, Ranked]:
    """Ranks the images of each tag that has both positives and negatives."""
    positives = prior.positives()
    images = prior.images
    found = {}
    for tag, total in enumerate(positives.sum(axis=0).tolist()):
        if 0 < total < images.sum():
            found[tag] = ranked(prior.scores[:, tag], positives[:, tag], images)
    return found


def best_micro_f1(prior: Prior) -> float | None:
    """Returns F1 over all pairs, at the score that gives the best one.

    None where no image has a tag.
    """
    positives = prior.positives()
    if not positives.any():
        return None
    totals = np.broadcast_to(prior.images[:, None], positives.shape)
    return ranked(prior.scores, positives, totals).best_f1


def accuracy(prior: Prior) -> float:
    """Returns the share of pairs right where each cell's commoner label is said."""
    positives = prior.positives()
    totals = prior.images[:, None]
    right = np.maximum(positives, totals - positives).sum()
    return float(right / (totals.sum() * positives.shape[1]))


def first_ranks(prior: Prior) -> np.ndarray:
    """Returns the place of each image's first right tag, from 1; int64 [images].

    Tags are in the order of the scores of the cell; images without tags have the place
    behind the last.
    """
    cells, tags = prior.scores.shape
    order = np.argsort(-prior.scores, axis=1, kind="stable")
    places = np.empty((cells, tags), np.int64)
    np.put_along_axis(places, order, np.arange(1, tags + 1)[None, :], axis=1)
    first = np.full(len(prior.cell_of), tags + 1)
    by_pair = prior.labels.tocoo()
    tag_of, image_of = by_pair.coords
    np.minimum.at(first, image_of, places[prior.cell_of[image_of], tag_of])
    return first
