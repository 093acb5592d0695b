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
    """A split in the order of its shards, with the network's output.

    logits: float32 [records, tags]; labels: uint8 of the same shape; post_ids: int64.
    """

    logits: np.ndarray
    labels: np.ndarray
    post_ids: np.ndarray
    md5s: list[str]


def predict(network: keras.Model, split: Split, size: int) -> Prediction:
    """Returns the prediction of every record. size: pixels, the network's input."""
    logits, labels, post_ids, md5s = [], [], [], []
    for batch in loader.batches(split, size, BATCH_SIZE):
        outputs = network.predict_on_batch(batch.images)
        logits.append(np.asarray(outputs, np.float32))
        labels.append(batch.labels)
        post_ids.append(batch.post_ids)
        md5s += batch.md5s
    return Prediction(
        np.concatenate(logits), np.concatenate(labels), np.concatenate(post_ids), md5s
    )
