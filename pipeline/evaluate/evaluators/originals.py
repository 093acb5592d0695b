"""Predicts test images from their original files, as users of the bundle do.

The metrics of the other evaluators are measured on the shards, whose images were fitted
and encoded anew.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pipeline import originals
from pipeline.evaluate.case import ScoredSplit
from pipeline.metrics import ranking
from pipeline.metrics.calibration import Calibration
from pipeline.paths import Paths


@dataclass(frozen=True, slots=True)
class Originals:
    """Macro mAP of the same images, from their files and from the shards.

    None where no tag can be ranked.
    """

    records: int
    macro_map: float | None
    macro_map_of_shards: float | None


@dataclass(frozen=True, slots=True)
class PredictedFiles:
    """Images of the test split, by number. logits: float32 [images, tags]."""

    images: list[int]
    logits: np.ndarray


def predict(
    network: Callable[[np.ndarray], np.ndarray],
    test: ScoredSplit,
    paths: Paths,
    prepare: Callable[[bytes], np.ndarray],
    limit: int,
) -> PredictedFiles:
    """Predicts `limit` images of the test split from their files.

    prepare: from a file to the network's input, uint8 [size, size, 3]; network: from
    those, uint8 [n, size, size, 3], to logits.
    """
    chosen = originals.choose(test.md5s, limit)
    logits = np.empty((len(chosen), test.scores.tags), np.float32)
    md5s = [test.md5s[image] for image in chosen]
    with ThreadPoolExecutor() as threads:
        for places, files in originals.read(paths, "test", md5s):
            pixels = np.stack(list(threads.map(prepare, files)))
            logits[places] = network(pixels)
    return PredictedFiles(chosen, logits)


def evaluate(
    predicted: PredictedFiles, test: ScoredSplit, calibration: Calibration
) -> Originals:
    """Compares with the scores of the same images in the shards."""
    chosen = predicted.images
    labels = test.scores.labels[:, chosen].T.toarray()
    return Originals(
        records=len(chosen),
        macro_map=_macro_map(labels, calibration.scores(predicted.logits)),
        macro_map_of_shards=_macro_map(labels, test.scores.values[:, chosen].T),
    )


def _macro_map(labels: np.ndarray, scores: np.ndarray) -> float | None:
    return ranking.mean(ranking.average_precision_per_tag(labels, scores))
