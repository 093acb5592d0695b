"""The network as ONNX, and the whole model as TFLite.

Import only after `backend.start("tensorflow")`.
"""

import logging
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from e6tag import bundle
from pipeline.export import onnx
from pipeline.export.graphs import IMAGES, LOGITS, MAP, NOISE, Head
from pipeline.model.build import FEATURES

SIGNATURE = "serving_default"
"""What TensorFlow calls the signature of a model that has only one."""


def with_features(network: keras.Model) -> keras.Model:
    """Returns the network with its feature map as the first output.

    It shares the layers and their weights.
    """
    features = network.get_layer(FEATURES).output
    # Named: Keras would count the models of the process, and TFLite keeps the name.
    outputs = [features, *network.outputs]
    return keras.Model(network.inputs, outputs, name="network")


def to_onnx(network: keras.Model, size: int) -> Any:
    """Returns the network from IMAGES to MAP, LOGITS and perhaps NOISE.

    size: pixels a side of its input.
    """
    whole = with_features(network)

    def outputs(images: tf.Tensor) -> list[tf.Tensor]:
        found = whole(images, training=False)
        return [tf.cast(tensor, tf.float32) for tensor in found]

    names = [MAP, LOGITS, NOISE][: len(whole.outputs)]
    return onnx.convert(outputs, IMAGES, (size, size, 3), names)


def to_tflite(network: keras.Model, resize: np.ndarray, head: Head) -> bytes:
    """Returns model.tflite: input, output and scores as model.onnx, free batch size.

    They have their names in its only signature, SIGNATURE. resize: resizing.matrix.
    """
    whole = with_features(network)

    def outputs(pixels: tf.Tensor) -> Mapping[str, tf.Tensor]:
        found = whole(_prepared(pixels, resize), training=False)
        features, logits = (tf.cast(tensor, tf.float32) for tensor in found[:2])
        ratings = _ratings(tf.reduce_mean(features, axis=[1, 2]), head)
        shifted = logits if head.shifts is None else logits + head.shifts
        return {
            bundle.OUTPUT: _to_rows(tf.sigmoid(shifted), ratings, head),
            bundle.SCORES: _to_rows(tf.sigmoid(logits), ratings, head),
        }

    shape = (None, bundle.SIZE, bundle.SIZE, 3)
    return _to_tflite(outputs, tf.TensorSpec(shape, tf.float32, name=bundle.INPUT))


def _to_tflite(
    function: Callable[["tf.Tensor"], Mapping[str, "tf.Tensor"]], given: tf.TensorSpec
) -> bytes:
    """Returns a function as a TFLite file with a signature, which has all names."""
    traced = tf.function(function, input_signature=[given], autograph=False)
    concrete = traced.get_concrete_function()
    # Frozen: else the file reads variables that nobody has initialised. That loses the
    # names, which only a saved model can hand to the converter.
    frozen = convert_variables_to_constants_v2(concrete)
    names = list(concrete.structured_outputs)

    def named(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(names, frozen(inputs[given.name]), strict=True))

    signature = tf.function(named, autograph=False).get_concrete_function(
        **{given.name: given}
    )
    # Gradients of SiLU refer to variables, and nobody asks for any.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    logging.getLogger("absl").setLevel(logging.ERROR)  # says the same
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(
            tf.Module(), folder, {SIGNATURE: signature}, options=options
        )
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        return bytes(converter.convert())


def _prepared(pixels: tf.Tensor, resize: np.ndarray) -> tf.Tensor:
    """Returns the network's input of what clients give, as graphs.tagger does."""
    rgb = tf.reverse(pixels, axis=[-1])
    narrow = tf.einsum("nhwc,xw->nhxc", rgb, resize)
    small = tf.einsum("nhxc,yh->nyxc", narrow, resize)
    return tf.clip_by_value(small, 0.0, 255.0)


def _to_rows(tags: tf.Tensor, ratings: tf.Tensor | None, head: Head) -> tf.Tensor:
    """Returns tags and ratings in their rows, and zeros elsewhere.

    The zeros are a product: of a column that `tf.pad` adds, XNNPACK, with which
    TensorFlow Lite runs on CPUs and phones, makes other numbers.
    """
    known = tags
    if ratings is not None:
        known = tf.concat([tags, ratings], axis=1)
    is_known = head.columns < known.shape[1]
    columns = np.where(is_known, head.columns, 0)
    return tf.gather(known, columns, axis=1) * is_known.astype(np.float32)


def _ratings(embedding: tf.Tensor, head: Head) -> tf.Tensor | None:
    """Returns the probabilities of the ratings, [n, ratings]; None of no ratings."""
    if head.ratings is None:
        return None
    logits = tf.matmul(embedding, head.ratings.weights) + head.ratings.bias
    return tf.nn.softmax(logits)
