"""Checks of a loss: its values, gradients and saved form, against float64 formulas."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.model.losses.elementwise import ElementwiseLoss

Reference = Callable[[np.ndarray, np.ndarray], np.ndarray]

LABELS = (0.0, 0.25, 1.0)
"""Negative, mixed by MixUp, positive. All exact in float32."""

LOGITS = np.linspace(-60, 60, 241)
"""In steps of a half."""


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Labels and logits, float64 [logits, labels]: every pair of them."""
    shape = (len(LOGITS), len(LABELS))
    labels = np.broadcast_to(np.array(LABELS), shape)
    logits = np.broadcast_to(LOGITS[:, None], shape)
    return labels, logits


def values(
    loss: "ElementwiseLoss", labels: np.ndarray, logits: np.ndarray
) -> np.ndarray:
    """Per image and tag, float64."""
    found = loss.elements(labels.astype(np.float32), logits.astype(np.float32))
    return np.asarray(found, np.float64)


def gradients(
    loss: "ElementwiseLoss", labels: np.ndarray, logits: np.ndarray
) -> np.ndarray:
    """Of each image's loss by its logits, float64."""
    import tensorflow as tf

    variable = tf.Variable(logits.astype(np.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(loss.call(labels.astype(np.float32), variable))
    return np.asarray(tape.gradient(total, variable), np.float64)


def assert_values(loss: "ElementwiseLoss", reference: Reference) -> None:
    """Holds the values, and what Keras makes of them, to a float64 formula."""
    labels, logits = grid()
    expected = reference(labels, logits)
    found = values(loss, labels, logits)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-9)
    mean = loss(labels, logits)
    np.testing.assert_allclose(mean, expected.sum(axis=1).mean(), rtol=1e-5)


def assert_gradients(loss: "ElementwiseLoss", reference: Reference) -> None:
    """Holds gradients to the formula's differences, and to numbers far outside."""
    labels, logits = grid()
    width = 1e-5
    above = reference(labels, logits + width)
    below = reference(labels, logits - width)
    expected = (above - below) / (2 * width)
    found = gradients(loss, labels, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    far = np.array([[-1e4, -100.0, -88.0], [1e4, 100.0, 88.0], [0.0, -0.0, 17.0]])
    for label in LABELS:
        labels = np.full_like(far, label)
        assert np.isfinite(values(loss, labels, far)).all()
        assert np.isfinite(gradients(loss, labels, far)).all()


def assert_survives_saving(loss: "ElementwiseLoss") -> None:
    """Holds a loss read from JSON to the values of the one written."""
    import keras

    text = json.dumps(keras.saving.serialize_keras_object(loss))
    loaded = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(loaded) is type(loss)
    assert loaded.name == loss.name
    labels, logits = grid()
    np.testing.assert_array_equal(
        values(loaded, labels, logits), values(loss, labels, logits)
    )


def assert_sound(loss: "ElementwiseLoss", reference: Reference) -> None:
    """All of the above."""
    assert_values(loss, reference)
    assert_gradients(loss, reference)
    assert_survives_saving(loss)


def softplus(logits: np.ndarray) -> np.ndarray:
    """log(1 + exp(logits)): -log(1 - p). Of -logits, it is -log p."""
    return np.logaddexp(0, logits)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities; exact where they are near 0, also as 1 - p of -logits."""
    return np.exp(-softplus(-logits))


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Binary cross-entropy per image and tag."""
    return labels * softplus(-logits) + (1 - labels) * softplus(logits)
