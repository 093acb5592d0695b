"""The tagger: a bundle opened in ONNX Runtime, from pixels to probabilities."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from e6tag import bundle

BATCH_SIZE = 64  # images run at once: bounds memory, more is hardly faster on a CPU


class Tagger:
    """An opened bundle."""

    def __init__(self, folder: Path) -> None:
        """Opens the bundle in `folder`; raises bundle.BundleError."""
        self.bundle = bundle.read(folder)
        self._session = _open_session(self.bundle.model.read_bytes())
        outputs = self._session.get_outputs()[0].shape[1]
        if outputs != len(self.bundle.tags):
            raise bundle.BundleError(
                f"{self.bundle.model} has {outputs} outputs, "
                f"{bundle.TAGS} has {len(self.bundle.tags)} tags"
            )
        self.thresholds = np.array(self.bundle.thresholds, dtype=np.float64)
        """float64 [tags]."""

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns probabilities, float32 [n, tags].

        images: uint8 [n, size, size, 3], RGB, fitted as the bundle's `fit`.
        """
        return _run(self._session, images)

    def select(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Returns which tags apply, bool [n, tags]: at their threshold or above."""
        return np.asarray(probabilities >= self.thresholds)


def run_onnx(file: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Runs an ONNX file on the CPU, as its users do.

    images: uint8 [n, size, size, 3]; returns float32 [n, tags].
    """
    return _run(_open_session(file), images)


def _open_session(file: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def _run(
    session: onnxruntime.InferenceSession, images: NDArray[np.uint8]
) -> NDArray[np.float32]:
    tags = session.get_outputs()[0].shape[1]
    parts = [np.empty((0, tags), dtype=np.float32)]
    for start in range(0, len(images), BATCH_SIZE):
        pixels = images[start : start + BATCH_SIZE].astype(np.float32)
        (probabilities,) = session.run([bundle.OUTPUT], {bundle.INPUT: pixels})
        parts.append(probabilities)
    return np.concatenate(parts)
