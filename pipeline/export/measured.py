"""The test images that a bundle is compared and measured on, from their files."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from e6tag import tagger
from pipeline import originals, parquet
from pipeline.paths import Paths

BATCH = 16
"""Images at once: 448 pixels a side take 39 MB as float32, in each runtime anew."""


@dataclass(frozen=True, slots=True)
class MeasuredImages:
    """Test images in the order of their sample, and their labels.

    labels: uint8 [images, tags], by label id. post_ids: of all test images that there
    are.
    """

    paths: Paths
    md5s: list[str]
    labels: np.ndarray
    fit: str
    post_ids: list[int]

    @classmethod
    def read(cls, paths: Paths, *, limit: int, tags: int, fit: str) -> "MeasuredImages":
        """Chooses the images as evaluate does. fit: how they become square."""
        table = paths.evaluation / "predictions.parquet"
        predictions = parquet.read(
            table, columns=["post_id", "md5", "split", "label_ids"]
        )
        test = predictions.filter(split="test")
        # A sample depends on the md5s, and not on their order.
        chosen = originals.choose(test["md5"].to_list(), limit)
        labels = np.zeros((len(chosen), tags), np.uint8)
        label_ids = test["label_ids"].to_list()
        for row, place in enumerate(chosen):
            labels[row, label_ids[place]] = 1
        md5s = [test["md5"][place] for place in chosen]
        return cls(paths, md5s, labels, fit, test["post_id"].to_list())

    @property
    def available(self) -> int:
        """Test images that there are."""
        return len(self.post_ids)

    def batches(self, start: int, stop: int) -> Iterator[tuple[list[int], np.ndarray]]:
        """Yields rows of `labels`, from start to stop, and BATCH images there or fewer.

        In the order of the packs. Images are RGB, uint8 [n, 448, 448, 3], as the tagger
        prepares them.
        """
        some = self.md5s[start:stop]
        with ThreadPoolExecutor() as threads:
            for places, bodies in originals.read(self.paths, "test", some):
                for first in range(0, len(bodies), BATCH):
                    part = slice(first, first + BATCH)
                    pixels = list(threads.map(self._prepare, bodies[part]))
                    yield [start + place for place in places[part]], np.stack(pixels)

    def _prepare(self, body: bytes) -> np.ndarray:
        return tagger.prepare(body, self.fit)
