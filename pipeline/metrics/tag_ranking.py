"""How well the scores of one tag rank images: exact, with ties, in one sort.

AUC and average precision are those of scikit-learn (a test compares them), which sorts
once for each and checks its input at length: this takes a fifth of the time. Beside
them stands what each image adds, for `metrics.bootstrap`.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Steps:
    """The distinct scores of a tag's positives, ascending: where recall changes.

    values: float32 [steps]. own: positives of exactly this score; found: positives,
    at_least: images of this score or a higher one; above: images of a higher one. All
    int64 [steps].
    """

    values: np.ndarray
    own: np.ndarray
    found: np.ndarray
    at_least: np.ndarray
    above: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """Share of positives among the images of this score or a higher one."""
        return np.asarray(self.found / self.at_least)

    @property
    def f1(self) -> np.ndarray:
        """F1 of predicting the images of this score or a higher one."""
        return np.asarray(2 * self.found / (self.at_least + self.own.sum()))


@dataclass(frozen=True, slots=True)
class Ordered:
    """Images in the order of a tag's rising scores.

    images: their numbers; scores: float32; labels: bool. All [images].
    """

    images: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def part(self, places: slice) -> "Ordered":
        """Returns the images at some places."""
        return Ordered(self.images[places], self.scores[places], self.labels[places])

    def take(self, places: np.ndarray) -> "Ordered":
        """Returns the images at some places, in the order of `places`."""
        return Ordered(self.images[places], self.scores[places], self.labels[places])


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well one tag is ranked.

    auc: area under the ROC curve, ties counting half. images: their numbers, in the
    order that influences have.
    """

    auc: float
    average_precision: float
    images: np.ndarray
    _at: Steps
    _labels: np.ndarray
    _reached: np.ndarray  # steps whose score is not above that of each image
    _tied: np.ndarray  # positives of exactly the score of each image

    def auc_influence(self) -> np.ndarray:
        """Returns what each image adds to the AUC: see metrics.bootstrap."""
        at, labels, reached = self._at, self._labels, self._reached
        positives = int(at.own.sum())
        negatives = len(labels) - positives
        # Positives that score higher than each image.
        lower = np.concatenate([[0], np.cumsum(at.own)])
        above = positives - lower[reached] + self._tied / 2
        influence = (above / positives - self.auc) / negatives
        below = _negatives_below(at, negatives)[reached[labels] - 1]
        influence[labels] = (below / negatives - self.auc) / positives
        return influence * len(labels)

    def average_precision_influence(self) -> np.ndarray:
        """Returns what each image adds to the average precision.

        An image counts in the precision of every step that it reaches: of a positive
        both in the number found and in the number predicted, of a negative in the
        latter alone.
        """
        at, labels, reached = self._at, self._labels, self._reached
        precision = at.precision
        per_image = at.own / at.at_least
        raised = np.concatenate([[0], np.cumsum(per_image)])
        lowered = np.concatenate([[0], np.cumsum(per_image * precision)])
        influence = -lowered[reached]
        last = reached[labels]
        influence[labels] += precision[last - 1] - self.average_precision + raised[last]
        return influence * (len(labels) / len(last))


def steps(scores: np.ndarray, positives: np.ndarray) -> Steps:
    """Returns where recall changes. positives: numbers of the images with the tag."""
    ordered = np.sort(scores)
    values, own = np.unique(scores[positives], return_counts=True)
    images = len(scores)
    return Steps(
        values=values,
        own=own,
        found=np.cumsum(own[::-1])[::-1],
        at_least=images - np.searchsorted(ordered, values, side="left"),
        above=images - np.searchsorted(ordered, values, side="right"),
    )


def order(scores: np.ndarray, positives: np.ndarray) -> Ordered:
    """Sorts images. scores: float32 [images]; positives: images with the tag."""
    images = np.argsort(scores)
    labels = np.zeros(len(scores), bool)
    labels[positives] = True
    return Ordered(images, scores[images], labels[images])


def rank(given: Ordered) -> Ranking | None:
    """Returns the ranking; None where no image has the tag, or all have it."""
    total = len(given.scores)
    count = int(np.count_nonzero(given.labels))
    if count in (0, total):
        return None
    starts, ends = _tied_images(given.scores)
    found = np.cumsum(given.labels)[ends - 1]
    own = np.diff(found, prepend=0)
    is_step = own > 0
    at = Steps(
        values=given.scores[starts[is_step]],
        own=own[is_step],
        found=count - (found - own)[is_step],
        at_least=total - starts[is_step],
        above=total - ends[is_step],
    )
    reached = np.repeat(np.cumsum(is_step), ends - starts)
    tied = np.repeat(own, ends - starts)
    return _ranking(at, given, reached, tied)


def _ranking(
    at: Steps, given: Ordered, reached: np.ndarray, tied: np.ndarray
) -> Ranking:
    positives = int(at.own.sum())
    negatives = len(given.scores) - positives
    below = _negatives_below(at, negatives)
    return Ranking(
        auc=float((at.own * below).sum() / (positives * negatives)),
        average_precision=float((at.precision * at.own).sum() / positives),
        images=given.images,
        _at=at,
        _labels=given.labels,
        _reached=reached,
        _tied=tied,
    )


def _tied_images(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where each run of equal scores starts and ends. scores: in order."""
    is_last = np.append(scores[1:] != scores[:-1], True)
    ends = np.flatnonzero(is_last) + 1
    return np.concatenate([[0], ends[:-1]]), ends


def _negatives_below(at: Steps, negatives: int) -> np.ndarray:
    """Returns the negatives that score lower than a positive of each step."""
    false_above = at.above - (at.found - at.own)
    false_at_least = at.at_least - at.found
    return np.asarray(negatives - (false_above + false_at_least) / 2)
