"""The head alone, learning from features that the frozen backbone gave once.

Import only after `backend.start`.
"""

import math

import keras
import tensorflow as tf

from pipeline import progress
from pipeline.data import loader
from pipeline.data.shards import Split
from pipeline.errors import BadParameter
from pipeline.model import embeddings
from pipeline.model.build import FEATURES
from pipeline.model.embeddings import Embeddings
from pipeline.train_params import Train

POOLED = "pool"
"""Layer of the head `pool` that averages over positions, which needs no weights."""


def head_of(network: keras.Model, params: Train) -> keras.Model:
    """Returns the part of a network that learns: from fixed features to the outputs.

    It shares the layers and their weights.
    """
    return keras.Model(_fixed(network, params), network.outputs)


def compute(network: keras.Model, split: Split, params: Train) -> Embeddings:
    """Returns the fixed features of a split.

    Raises BadParameter where they are more bytes than train.cache_bytes allows.
    """
    fixed = keras.Model(network.inputs, _fixed(network, params))
    needed = 4 * split.records * math.prod(fixed.output.shape[1:])  # float32
    if needed > params.cache_bytes:
        raise BadParameter(
            f"train.freeze: embeddings needs {needed:,} bytes for the features of the "
            f"training images, and train.cache_bytes is {params.cache_bytes:,}. Raise "
            "it if there is as much memory, or set train.freeze: backbone."
        )
    progress.log(
        "train: the features of each image are computed once: flip, shift and other "
        "augmentation do not act"
    )
    return embeddings.compute(fixed, split, params.size)


def stream(
    found: Embeddings,
    params: Train,
    *,
    batch_size: int,
    first_epoch: int,
    first_step: int = 0,
) -> "tf.data.Dataset":
    """Returns the batches (features, labels) of epochs `first_epoch` to the last.

    The first epoch starts with its batch `first_step`. The records come in the order in
    which `loader.training` gives them from memory.
    """
    features, labels = tf.constant(found.features), tf.constant(found.labels)

    def batch(rows: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
        return tf.gather(features, rows), tf.gather(labels, rows)

    def epoch(number: "tf.Tensor") -> "tf.data.Dataset":
        order = loader.row_order(len(found.labels), params.seed, number)
        skipped = tf.where(number == first_epoch, first_step * batch_size, 0)
        slices = tf.data.Dataset.from_tensor_slices(order[skipped:])
        return slices.batch(batch_size, drop_remainder=True).map(batch)

    epochs = tf.data.Dataset.range(first_epoch, params.epochs)
    return epochs.flat_map(epoch).prefetch(2)


def post_ids_of_batch(
    found: Embeddings, params: Train, *, batch_size: int, epoch: int, step: int
) -> list[int]:
    """Returns the post ids of a batch of `stream`. epoch, step: counted from 0."""
    number = tf.constant(epoch, tf.int64)
    order = loader.row_order(len(found.labels), params.seed, number)
    first = step * batch_size
    rows = order[first : first + batch_size].numpy()
    return [int(post_id) for post_id in found.post_ids[rows]]


def _fixed(network: keras.Model, params: Train) -> "keras.KerasTensor":
    """Returns the last output before anything that learns or drops out."""
    # Label noise, too, is predicted from the feature map.
    learns_from_average = params.head.name == "pool" and params.noise.name == "none"
    name = POOLED if learns_from_average else FEATURES
    return network.get_layer(name).output
