"""The network with calibrated logits, of Keras's own layers.

So the calibration is in every file that is made of the network, and thresholds, which
were chosen on calibrated scores, fit all of them. Import only after `backend.start`.
"""

from typing import Any

import keras
import numpy as np
from keras import layers

from pipeline.metrics.calibration import Calibration, Method


def wrap(network: keras.Model, calibration: Calibration) -> keras.Model:
    """Returns the network with its first output calibrated.

    It shares layers and weights; the uncertainty, if it has one, stays that of the
    logit before.
    """
    if calibration.method is Method.NONE:
        return network
    logits, *others = network.outputs
    calibrated = _calibrated(logits, calibration)
    return keras.Model(network.inputs, [calibrated, *others], name=network.name)


def _calibrated(logits: Any, calibration: Calibration) -> Any:
    """Returns a tensor of calibrated logits, [n, tags].

    Each logit for itself goes through a layer of hinges: one per knot, and two whose
    difference is the logit.
    """
    tags = logits.shape[-1]
    units = len(calibration.knots) + 2
    column = layers.Reshape((tags, 1), dtype="float32", name="calibration_input")
    hinges = layers.Dense(
        units, activation="relu", dtype="float32", name="calibration_hinges"
    )
    join = layers.Dense(1, dtype="float32", name="calibration_sum")
    flat = layers.Reshape((tags,), dtype="float32", name="calibrated_logits")
    calibrated = flat(join(hinges(column(logits))))
    hinges.set_weights(_hinge_weights(calibration))
    join.set_weights(_sum_weights(calibration))
    return calibrated


def _hinge_weights(calibration: Calibration) -> list[np.ndarray]:
    """Returns what makes a logit into its hinges: kernel and bias."""
    knots = np.array([*calibration.knots, 0, 0], np.float32)
    signs = np.ones((1, len(knots)), np.float32)
    signs[0, -1] = -1
    return [signs, -knots]


def _sum_weights(calibration: Calibration) -> list[np.ndarray]:
    """Returns what makes hinges into the calibrated logit: kernel and bias."""
    bends = [*calibration.bends, calibration.slope, -calibration.slope]
    kernel = np.array(bends, np.float32)[:, None]
    return [kernel, np.array([calibration.offset], np.float32)]
