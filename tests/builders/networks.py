"""Small networks around one head or one backbone, and what is measured of them.

Import only after `backend.start`.
"""

import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from keras import layers
from PIL import Image

from pipeline.export import onnx
from tests.builders import toy_shards

Tensor = keras.KerasTensor
Backbone = Callable[[Tensor], Tensor]
Head = Callable[..., Tensor]

SIZE = 32  # pixels
TAGS = list(toy_shards.TAGS)
BIAS = np.linspace(-3, 1, len(TAGS), dtype=np.float32)


def network(backbone: Backbone, head: Head, bias: np.ndarray = BIAS) -> keras.Model:
    """A network of one backbone and one head, the same weights every time."""
    keras.utils.set_random_seed(621)
    images = keras.Input((SIZE, SIZE, 3), name="image")
    scaled = layers.Rescaling(1 / 127.5, offset=-1, name="scaled")(images)
    return keras.Model(images, head(backbone(scaled), bias=bias))


def two_convolutions(images: Tensor) -> Tensor:
    """A backbone that is fast to build and to train: 4 x 4 positions of 16 channels."""
    x = layers.Conv2D(16, 5, strides=4, padding="same", activation="silu")(images)
    return layers.Conv2D(16, 3, strides=2, padding="same", activation="silu")(x)


def average(features: Tensor, *, bias: np.ndarray) -> Tensor:
    """The simplest head."""
    pooled = layers.GlobalAveragePooling2D()(features)
    return layers.Dense(len(bias), dtype="float32")(pooled)


def feature_map(side: int, channels: int) -> Tensor:
    """A feature map as the input of a head alone."""
    return keras.Input((side, side, channels))


def noise(images: int = 3) -> np.ndarray:
    """Random images, float32 0 to 255."""
    shape = (images, SIZE, SIZE, 3)
    return np.random.default_rng(1).integers(0, 256, shape).astype(np.float32)


def toy_images(count: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Images in which each tag is drawn or not, and their labels."""
    random = Random(621)
    images, labels = [], []
    for _ in range(count):
        row = [random.random() < 0.5 for _ in TAGS]
        drawn = {tag for tag, has in zip(TAGS, row, strict=True) if has}
        jpeg = toy_shards.picture(drawn, random)
        image = Image.open(io.BytesIO(jpeg)).resize((SIZE, SIZE))
        images.append(np.asarray(image, np.float32))
        labels.append(row)
    return np.stack(images), np.array(labels, np.float32)


def randomised(model: keras.Model) -> keras.Model:
    """The model with no weight at zero, as after a while of training."""
    random = np.random.default_rng(2)
    for weight in model.trainable_weights:
        change = 0.1 * random.standard_normal(weight.shape)
        weight.assign(np.asarray(weight) + change)
    return model


def logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(model(images, training=False))


def logits_of_both(
    model: keras.Model, other: keras.Model
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what two networks make of the same images."""
    images = noise()
    return logits(model, images), logits(other, images)


def mistakes(model: keras.Model, most_steps: int = 300) -> int:
    """How many labels of 32 toy images are wrong after training on them."""
    images, labels = toy_images()
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    # Compiled by XLA, it would take 20 s before the first step.
    model.compile(keras.optimizers.Adam(0.003), loss, jit_compile=False)
    for _ in range(most_steps):
        # Else what is returned is the mean over all steps.
        model.reset_metrics()
        if model.train_on_batch(images, labels) < 0.005:
            break
    return int(((logits(model, images) > 0) != labels).sum())


def gradients(model: keras.Model) -> dict[str, float]:
    """The largest part of each trainable weight's gradient, by its path."""
    images, labels = toy_images(8)
    with tf.GradientTape() as tape:
        answers = model(images, training=True)
        loss = keras.losses.binary_crossentropy(labels, answers, from_logits=True)
    found = {}
    weights = model.trainable_weights
    values = [weight.value for weight in weights]
    for weight, gradient in zip(weights, tape.gradient(loss, values), strict=True):
        found[weight.path] = float(np.abs(gradient).max())
    return found


def loaded_again(model: keras.Model, path: Path) -> keras.Model:
    """The model as it is after `save` and `load_model`."""
    model.save(path)
    return keras.models.load_model(path, compile=False)


def foreign_classes(model: keras.Model) -> list[str]:
    """Classes in the saved description of a model that are not Keras's own."""
    return sorted(_foreign_classes(json.loads(model.to_json())))


def _foreign_classes(tree: Any) -> set[str]:
    if isinstance(tree, list):
        return {name for child in tree for name in _foreign_classes(child)}
    if not isinstance(tree, dict):
        return set()
    found = _foreign_classes(list(tree.values()))
    module = tree.get("module")
    if module is not None and module.split(".")[0] not in {"keras", "builtins"}:
        found.add(tree["class_name"])
    return found


def onnx_difference(model: keras.Model) -> float:
    """The largest difference of a probability between Keras and onnxruntime.

    Of one image alone and of three together.
    """

    def probabilities(images: Any) -> list[Any]:
        return [keras.ops.sigmoid(model(images, training=False))]

    proto = onnx.convert(probabilities, "input", (SIZE, SIZE, 3), ["output"])
    session = onnxruntime.InferenceSession(onnx.serialize(proto))
    differences = []
    for count in (1, 3):
        images = noise(count)
        found = session.run(None, {"input": images})[0]
        expected = np.asarray(keras.ops.sigmoid(model(images, training=False)))
        differences.append(np.abs(found - expected).max())
    return float(max(differences))


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Networks built in the block have another precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def multiply_adds(model: keras.Model) -> int:
    """Counts the products of every kernel and every attention, for one image."""
    total = 0
    for layer in model.operations:
        if isinstance(layer, layers.Conv2D):
            total += math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3])
        elif isinstance(layer, layers.Dense):
            total += math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
        elif isinstance(layer, layers.EinsumDense):
            shapes = (layer.input.shape, layer.kernel.shape)
            total += _products(layer.equation, *shapes)
        elif isinstance(layer, layers.MultiHeadAttention):
            total += _products_of_attention(layer)
        elif type(layer).__name__ == "Einsum":
            shapes = [tensor.shape for tensor in layer.input]
            total += _products(layer.subscripts, *shapes)
    return total


def _products(equation: str, *shapes: tuple[int | None, ...]) -> int:
    """Products of an einsum for one image: each index once, but the batch."""
    sizes: dict[str, int] = {}
    for names, shape in zip(equation.split("->")[0].split(","), shapes, strict=True):
        sizes |= {name: size or 1 for name, size in zip(names, shape, strict=True)}
    return math.prod(sizes.values())


def _products_of_attention(layer: layers.MultiHeadAttention) -> int:
    positions = layer.output.shape[1]
    kernels = 0
    for weight in layer.weights:
        if weight.name == "kernel":
            kernels += math.prod(weight.shape)
    inner = layer.num_heads * layer.key_dim
    return positions * kernels + 2 * positions**2 * inner
