"""Predicts the records of a split.

Import only after `backend.start`.
"""

from dataclasses import dataclass

import keras
import numpy as np

from pipeline.data import loader
from pipeline.data.shards import Split

BATCH_SIZE = 256  # images; bounds memory only


@dataclass(frozen=True, slots=True)
class Prediction:
    """A split in the order of its shards, with the network's outputs.

    logits: float32 [records, tags]; uncertainty: the same, None of a network without
    label noise; labels: uint8 of the same shape; post_ids: int64.
    """

    logits: np.ndarray
    uncertainty: np.ndarray | None
    labels: np.ndarray
    post_ids: np.ndarray
    md5s: list[str]


def predict_pixels(network: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Returns logits, float32 [n, tags]. pixels: uint8 [n, size, size, 3]."""
    parts = []
    for start in range(0, len(pixels), BATCH_SIZE):
        logits, _ = outputs(network, pixels[start : start + BATCH_SIZE])
        parts.append(logits)
    return np.concatenate(parts)


def outputs(
    network: keras.Model, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns logits and, of a network with label noise, uncertainty, of one batch.

    images: 0 to 255, [n, size, size, 3]. Both outputs are float32 [n, tags].
    """
    found = network.predict_on_batch(images)
    # Of a network on several devices: each predicts the whole batch, and Keras joins
    # their outputs.
    if not isinstance(found, list):
        return np.asarray(found, np.float32)[: len(images)], None
    logits, uncertainty = (np.asarray(part, np.float32) for part in found)
    return logits[: len(images)], uncertainty[: len(images)]


def predict(network: keras.Model, split: Split, size: int) -> Prediction:
    """Returns the prediction of every record. size: pixels, the network's input."""
    logits, uncertainties, labels, post_ids, md5s = [], [], [], [], []
    for batch in loader.batches(split, size, BATCH_SIZE):
        some_logits, some_uncertainty = outputs(network, batch.images)
        logits.append(some_logits)
        if some_uncertainty is not None:
            uncertainties.append(some_uncertainty)
        labels.append(batch.labels)
        post_ids.append(batch.post_ids)
        md5s += batch.md5s
    return Prediction(
        np.concatenate(logits),
        np.concatenate(uncertainties) if uncertainties else None,
        np.concatenate(labels),
        np.concatenate(post_ids),
        md5s,
    )
