"""How far a metric would move on other images of the same kind.

A bootstrap over images, to first order: each evaluator says what each image adds to its
metric (its influence, the infinitesimal jackknife of Efron 1982), and a resampling that
draws image i w_i times moves the metric by the mean of (w_i - 1) times the influence.
All metrics share the resamplings, whose cost does not grow with the number of tags.
Intervals of macro mAP are as wide as those of ranking every resampling anew, within 5 %
from twenty positives a tag on; with three, they are a fifth narrower.
"""

from dataclasses import dataclass

import numpy as np

LEVEL = 0.95  # share of resamplings inside the interval


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric, and what each image adds to it.

    value: None where it cannot be computed; `absent` then says why, for people.
    influence: float64 [images], of mean 0; None without a value.
    """

    value: float | None
    influence: np.ndarray | None = None
    absent: str | None = None


class Resampling:
    """How often each image is drawn, in every resampling."""

    def __init__(self, images: int, *, resamplings: int, seed: int) -> None:
        """Draws; of 0 resamplings there are no intervals."""
        self._images = images
        self._changes: np.ndarray | None = None
        if resamplings and images:
            random = np.random.default_rng(seed)
            equal = np.full(images, 1 / images)
            # Of 10,000 resamplings of 50,000 images, a byte each is 0.5 GB; drawn all
            # at once, as integers of eight bytes, they would take 8 GB beside it.
            self._changes = np.empty((resamplings, images), np.int8)
            for changes in self._changes:
                changes[:] = random.multinomial(images, equal) - 1

    def interval(
        self,
        value: float,
        influence: np.ndarray,
        images: np.ndarray | None = None,
    ) -> tuple[float, float] | None:
        """Returns (low, high) around the value, within 0 and 1; None of no resamplings.

        images: numbers of the images that the influence is of; None: of all.
        """
        if self._changes is None:
            return None
        changes = self._changes if images is None else self._changes[:, images]
        # Without BLAS, whose sums depend on the machine's number of cores.
        moved = np.einsum("ri,i->r", changes, influence) / len(influence)
        tail = (1 - LEVEL) / 2
        centred = value + moved - moved.mean()
        low, high = np.quantile(centred, [tail, 1 - tail]).tolist()
        return max(0.0, low), min(1.0, high)
