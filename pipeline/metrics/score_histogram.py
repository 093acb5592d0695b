"""How many positive and negative pairs of image and tag score in each bin.

Bins are the finer the nearer a score is to 0 or 1: 512 of equal width in each halving
of the score, and, mirrored, of 1 minus the score. Scores are told apart where their
odds differ by more than 1 in 256, however sure the model is. What is counted from a
bin's edge on is exact.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.metrics.tag_scores import TagScores

_MANTISSA = 23  # bits of a float32
_KEPT = 9  # bits of the mantissa that tell bins apart: 512 bins in each halving
_SHIFT = _MANTISSA - _KEPT
# Of the scores below one half, whose bits, as integers, are in the order of the scores.
_HALF = int(np.array(0.5, np.float32).view(np.uint32)) >> _SHIFT
BINS = 2 * _HALF + 1


@dataclass(frozen=True, slots=True)
class Cumulative:
    """Pairs that score at least as high as each bin that has any, from the highest on.

    true_positives, false_positives: int64 [bins]. edges: lowest score of the bin,
    float64 [bins].
    """

    true_positives: np.ndarray
    false_positives: np.ndarray
    edges: np.ndarray


@dataclass(frozen=True, slots=True)
class Histogram:
    """Pairs per bin, int64 [BINS] each."""

    positives: np.ndarray
    negatives: np.ndarray

    def cumulative(self) -> Cumulative:
        """Returns the pairs from the highest bin on."""
        from_highest = np.flatnonzero(self.positives + self.negatives)[::-1]
        return Cumulative(
            np.cumsum(self.positives[from_highest]),
            np.cumsum(self.negatives[from_highest]),
            lower_edges()[from_highest],
        )


def count(scores: TagScores) -> Histogram:
    """Counts the pairs."""
    positives = np.zeros(BINS, np.int64)
    negatives = np.zeros(BINS, np.int64)
    for labels, some in scores.chunks():
        bins = bins_of(some)
        all_pairs = np.bincount(bins.ravel(), minlength=BINS)
        of_positives = np.bincount(bins[labels], minlength=BINS)
        positives += of_positives
        negatives += all_pairs - of_positives
    return Histogram(positives, negatives)


def bins_of(scores: np.ndarray) -> np.ndarray:
    """Returns the bin of each score, int32; a higher score has no lower bin."""
    values = scores.astype(np.float32)
    # From one half to 1, a float32 is subtracted from 1 without an error.
    nearer = np.minimum(values, 1 - values)
    steps = (nearer.view(np.uint32) >> _SHIFT).astype(np.int32)
    return np.where(values < 0.5, steps, BINS - 1 - steps)


def lower_edges() -> np.ndarray:
    """Returns the lowest score of each bin that has any, float64 [BINS], ascending."""
    bits = np.arange(_HALF + 1, dtype=np.uint32) << _SHIFT
    low = bits.view(np.float32).astype(np.float64)
    # Mirrored: the scores s of a bin above one half have 1 - s in [low[k], low[k + 1]).
    beyond = np.nextafter(1 - low[1:], 2)
    high = np.minimum(beyond, 1)[::-1]
    return np.concatenate([low, high])
