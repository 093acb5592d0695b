"""How good the tags are that thresholds predict.

labels, predicted: sparse, int8 [tags, images], as TagScores has them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from pipeline.metrics.bootstrap import Estimate
from pipeline.metrics.tag_scores import TagScores, sparse_rows


@dataclass(frozen=True, slots=True)
class Counts:
    """Pairs that are true and predicted (hits), true, and predicted.

    hits, true, predicted: sparse [tags, images].
    """

    hits: csr_array
    true: csr_array
    predicted: csr_array

    @property
    def f1(self) -> np.ndarray:
        """F1 per tag, float64 [tags]; NaN of a tag that no image has."""
        hits, true, predicted = self.per_tag()
        f1 = 2 * hits / np.maximum(true + predicted, 1)
        return np.where(true > 0, f1, np.nan)

    @property
    def micro_f1(self) -> float | None:
        """F1 over all pairs; None where none is true."""
        hits, true, predicted = (int(part.sum()) for part in self.per_tag())
        return 2 * hits / (true + predicted) if true else None

    def per_tag(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns hits, true and predicted pairs of each tag, int64 [tags] each."""
        return _row_sums(self.hits), _row_sums(self.true), _row_sums(self.predicted)

    def per_image(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns hits, true and predicted pairs of each image, int64 [images] each."""
        parts = (self.hits, self.true, self.predicted)
        hits, true, predicted = (_row_sums(part.T.tocsr()) for part in parts)
        return hits, true, predicted

    def of_tags(self, tags: np.ndarray) -> "Counts":
        """Returns the counts of some tags. tags: their numbers."""
        return Counts(self.hits[tags], self.true[tags], self.predicted[tags])

    def of_images(self, images: np.ndarray) -> "Counts":
        """Returns the counts of some images. images: their numbers."""
        parts = (self.hits, self.true, self.predicted)
        hits, true, predicted = (csr_array(part[:, images]) for part in parts)
        return Counts(hits, true, predicted)


def predict(scores: TagScores, thresholds: np.ndarray) -> csr_array:
    """Returns the pairs that score at least the threshold of their tag."""
    rows = []
    for tag, values, _ in scores.rows():
        reached = values.astype(np.float64) >= thresholds[tag]
        rows.append(np.flatnonzero(reached).astype(np.int32))
    return sparse_rows(rows, scores.images)


def count(labels: csr_array, predicted: csr_array) -> Counts:
    """Returns the counts."""
    return Counts(csr_array(labels.multiply(predicted)), labels, predicted)


def macro_f1(counts: Counts) -> Estimate:
    """Returns the mean F1 over the tags that some image has."""
    _, true, predicted = counts.per_tag()
    present = true > 0
    if not present.any():
        return Estimate(None, absent=NO_POSITIVES)
    f1 = np.nan_to_num(counts.f1)
    share = present / present.sum() / np.maximum(true + predicted, 1)
    influence = _influence(counts, 2 * share, f1 * share)
    return Estimate(float(f1[present].mean()), influence)


def micro_f1(counts: Counts) -> Estimate:
    """Returns F1 over all pairs."""
    value = counts.micro_f1
    if value is None:
        return Estimate(None, absent=NO_POSITIVES)
    hits, true, predicted = counts.per_image()
    total = int(true.sum() + predicted.sum())
    summed = (2 * hits - value * (true + predicted)) / total
    return Estimate(value, summed * len(hits))


def accuracy(counts: Counts) -> Estimate:
    """Returns the share of pairs that are predicted correctly."""
    tags, images = counts.true.shape
    if not tags * images:
        return Estimate(None, absent="there is no image")
    hits, true, predicted = counts.per_image()
    right = 1 - (true + predicted - 2 * hits) / tags
    value = float(right.mean())
    return Estimate(value, right - value)


NO_POSITIVES = "no image has any tag of the vocabulary"
"""Why there is no F1."""


def _influence(
    counts: Counts, of_hits: np.ndarray, of_others: np.ndarray
) -> np.ndarray:
    """Returns what each image adds: of_hits a hit, less of_others a true or predicted.

    of_hits, of_others: float64 [tags].
    """
    summed = counts.hits.T @ of_hits
    summed -= counts.true.T @ of_others + counts.predicted.T @ of_others
    return np.asarray(summed * counts.true.shape[1])


def _row_sums(pairs: csr_array) -> np.ndarray:
    return np.asarray(pairs.sum(axis=1, dtype=np.int64))
