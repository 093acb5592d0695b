"""What Keras says of images, and how far what a bundle's files say is from it.

Keras computes the network alone. NumPy computes what is before and behind it: so the
comparison covers the whole of every file. Import only after `backend.start`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from e6tag import bundle, tagger
from pipeline.errors import BadInput
from pipeline.export import deepdanbooru, folding, heatmaps, imgutils
from pipeline.export.built import Built
from pipeline.export.graphs import Head
from pipeline.export.network import with_features
from pipeline.params.export import LARGEST_TOLERANCE

Arrays = Mapping[str, np.ndarray]
"""Outputs by name."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the files should say of a batch.

    logits: float32 [n, tags], by label id. outputs: of model.onnx, by name.
    """

    logits: np.ndarray
    outputs: dict[str, np.ndarray]


class Reference:
    """Keras and NumPy in the place of a bundle."""

    def __init__(self, built: Built) -> None:
        """Takes the network with what is decided around it."""
        self._network = with_features(built.network)
        self._resize = built.resize
        self._head = built.head

    def answer(self, pixels: np.ndarray) -> Expected:
        """Returns what is expected. pixels: RGB, uint8 [n, 448, 448, 3]."""
        head = self._head
        found = self._network.predict_on_batch(prepared(pixels, self._resize))
        features, logits, *others = (np.asarray(part, np.float32) for part in found)
        embedding = features.mean(axis=(1, 2))
        ratings = _ratings(embedding, head)
        shifted = logits if head.shifts is None else logits + head.shifts
        outputs = {
            bundle.OUTPUT: _to_rows(sigmoid(shifted), ratings, head),
            bundle.EMBEDDING: embedding,
            bundle.SCORES: _to_rows(sigmoid(logits), ratings, head),
            bundle.FEATURES: features,
        }
        if others:
            no_ratings = np.zeros_like(ratings)
            outputs[bundle.UNCERTAINTY] = _to_rows(others[0], no_ratings, head)
        return Expected(logits, outputs)


def prepared(pixels: np.ndarray, resize: np.ndarray) -> np.ndarray:
    """Returns the network's input, float32 [n, size, size, 3], of images of 448."""
    wide = np.tensordot(pixels.astype(np.float32), resize, axes=(2, 1))
    small = np.tensordot(wide, resize, axes=(1, 1))
    return np.asarray(small.transpose(0, 3, 2, 1).clip(0, 255), np.float32)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities in float64."""
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


def _ratings(embedding: np.ndarray, head: Head) -> np.ndarray:
    """Returns the probabilities of the ratings that are known, [n, ratings]."""
    if head.ratings is None:
        return np.zeros((len(embedding), 0))
    logits = embedding.astype(np.float64) @ head.ratings.weights + head.ratings.bias
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _to_rows(tags: np.ndarray, ratings: np.ndarray, head: Head) -> np.ndarray:
    zeros = np.zeros((len(tags), 1))
    return np.asarray(np.hstack([tags, ratings, zeros])[:, head.columns])


def largest_difference(found: Arrays, expected: Arrays) -> float:
    """Returns the largest difference of an output, not a number where one is none.

    Of outputs that go beyond 1 (features, embedding, uncertainty), it is a share of the
    largest value expected.
    """
    largest = [0.0]
    for name, values in expected.items():
        scale = max(1.0, float(np.abs(values).max()))
        largest.append(float(np.abs(found[name] - values).max()) / scale)
    return float(np.max(largest))


def differences_of_others(
    folder: Path, built: Built, pixels: np.ndarray, expected: Expected
) -> dict[str, float]:
    """Returns the largest difference by file, of the files for other uses.

    folder: of the bundle.
    """
    return {
        bundle.HEATMAP_MODEL: _of_heatmap(folder, built, pixels, expected),
        f"{bundle.IMGUTILS}/{bundle.MODEL}": _of_imgutils(
            folder / bundle.IMGUTILS, built, pixels, expected
        ),
        f"{bundle.DEEPDANBOORU}/{bundle.PROJECT_FILE}": _of_deepdanbooru(
            folder / bundle.DEEPDANBOORU, built, pixels, expected
        ),
    }


def _of_heatmap(
    folder: Path, built: Built, pixels: np.ndarray, expected: Expected
) -> float:
    """Compares the sums over positions, where they are the logits without their bias.

    Where they are not, they have to be numbers, and 0 in rows that stand for nothing.
    """
    features = expected.outputs[bundle.FEATURES]
    session = tagger.open_session(folder / bundle.HEATMAP_MODEL)
    (heat,) = session.run([bundle.HEATMAP], {bundle.FEATURES: features})
    sums = heat.sum(axis=(1, 2))
    layer = heatmaps.SUMMED_LAYERS.get(built.head_name)
    tags = sums[:, built.layout.rows_of_labels]
    if layer is not None:
        tags = _logits_of(built, layer, pixels)
    ratings = np.zeros((len(sums), 0))
    if built.head.ratings is not None:
        ratings = expected.outputs[bundle.EMBEDDING] @ built.head.ratings.weights
    rows = _to_rows(tags, ratings, built.head)
    return largest_difference({bundle.HEATMAP: sums}, {bundle.HEATMAP: rows})


def _logits_of(built: Built, layer: str, pixels: np.ndarray) -> np.ndarray:
    """Returns a layer's logits without the bias of the tags, before any label noise."""
    network = built.network
    part = keras.Model(network.inputs, network.get_layer(layer).output)
    logits = part.predict_on_batch(prepared(pixels, built.resize))
    return np.asarray(logits - np.asarray(network.get_layer("tags").bias))


def _of_imgutils(
    folder: Path, built: Built, pixels: np.ndarray, expected: Expected
) -> float:
    session = tagger.open_session(folder / bundle.MODEL)
    given = pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255
    names = [bundle.EMBEDDING, "prediction"]
    found = session.run(names, {bundle.INPUT: given})
    rows = imgutils.known_rows(built.layout)
    wanted = [expected.outputs[bundle.EMBEDDING]]
    wanted.append(expected.outputs[bundle.SCORES][:, rows])
    return largest_difference(
        dict(zip(names, found, strict=True)), dict(zip(names, wanted, strict=True))
    )


def _of_deepdanbooru(
    folder: Path, built: Built, pixels: np.ndarray, expected: Expected
) -> float:
    network: Any = keras.models.load_model(folder / bundle.PROJECT_FILE, compile=False)
    found = np.asarray(network.predict_on_batch(pixels.astype(np.float32) / 255))
    logits = expected.logits
    if built.head.shifts is not None:
        thresholds = built.layout.thresholds
        logits = logits + folding.shifts(thresholds, deepdanbooru.THRESHOLD)
    return largest_difference({bundle.SCORES: found}, {bundle.SCORES: sigmoid(logits)})


def require_agreement(
    differences: Mapping[str, float], images: int, tolerances: Mapping[str, float]
) -> None:
    """Raises BadInput where a file differs from Keras by more than its tolerance.

    differences: the largest by file; images: that model.onnx was compared on.
    """
    for file, largest in differences.items():
        if not largest <= tolerances[file]:
            # Not a number wins.
            worst = float(np.max(list(differences.values())))
            raise BadInput(
                f"{file} differs from model.keras by {largest:.2g} on {images:,} test "
                f"images, and export.tolerance is {tolerances[file]:g}. Nothing is "
                f"published. {_remedy(worst)}"
            )


def _remedy(difference: float) -> str:
    """Returns what lets an export with this difference pass."""
    if not math.isfinite(difference):
        return (
            "The model gives no numbers: lower the learning rate of train.schedule and "
            "train again."
        )
    # Rounded up, so that the value named is enough.
    digits = 1 - math.floor(math.log10(difference))
    enough = math.ceil(difference * 10**digits) / 10**digits
    if enough > LARGEST_TOLERANCE:
        return "Change what is trained: the same parameters give the same model."
    return (
        f"Raise export.tolerance to {enough:g}, or change what is trained: the same "
        "parameters give the same model."
    )
