"""What the backbone makes of the images of a split, computed once.

Import only after `backend.start`.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from pipeline import progress
from pipeline.data import loader
from pipeline.data.shards import Split
from pipeline.model.build import FEATURES

BATCH_SIZE = 256  # images; bounds memory only


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A split in the order of its shards.

    features: float32 [records, ...], the output of a part of a network; labels: uint8
    [records, tags]; post_ids: int64 [records].
    """

    features: np.ndarray
    labels: np.ndarray
    post_ids: np.ndarray
    md5s: list[str]


def backbone(network: keras.Model) -> keras.Model:
    """Returns the part of a network from images to the feature map.

    It shares the layers and their weights.
    """
    return keras.Model(network.inputs, network.get_layer(FEATURES).output)


def pooled(network: keras.Model) -> keras.Model:
    """Returns the backbone and the average over positions: float32 [n, channels]."""
    features = network.get_layer(FEATURES).output
    average = layers.GlobalAveragePooling2D(dtype="float32", name="embedding")
    return keras.Model(network.inputs, average(features))


def compute(part: keras.Model, split: Split, size: int) -> Embeddings:
    """Returns the outputs of a part of a network, without augmentation.

    size: pixels a side of the part's input.
    """
    features = np.empty((split.records, *part.output.shape[1:]), np.float32)
    labels = np.empty((split.records, split.tags), np.uint8)
    post_ids = np.empty(split.records, np.int64)
    md5s: list[str] = []
    label = f"embeddings of {split.name}"
    with progress.meter(label, unit="images", total=split.records) as meter:
        for batch in loader.batches(split, size, BATCH_SIZE):
            rows = slice(len(md5s), len(md5s) + len(batch.md5s))
            outputs = part.predict_on_batch(batch.images)
            # On several devices: see model.predict.
            features[rows] = np.asarray(outputs[: len(batch.md5s)], np.float32)
            labels[rows] = batch.labels
            post_ids[rows] = batch.post_ids
            md5s += batch.md5s
            meter.advance(len(batch.md5s))
    return Embeddings(features, labels, post_ids, md5s)
