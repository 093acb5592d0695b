"""One pass over test images: does every file say what Keras says, and what is it worth?

Each image is decoded once for all files. Import only after `backend.start`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from e6tag import bundle
from pipeline import progress
from pipeline.export import comparison, variants
from pipeline.export.built import Built
from pipeline.export.measured import MeasuredImages
from pipeline.metrics import ranking
from pipeline.params.export import Export

TFLITE = f"{bundle.VARIANTS}/{bundle.TFLITE}"

MEASURED = (
    bundle.MODEL,
    f"{bundle.VARIANTS}/{bundle.FLOAT16}",
    f"{bundle.VARIANTS}/{bundle.INT8}",
    TFLITE,
)
"""Files whose macro mAP is measured, in the order of variants.json."""

EXACT = (bundle.MODEL, TFLITE)
"""Those of them that compute in float32, as Keras does."""

# XNNPACK's kernels approximate: of noise, one network's scores were 6e-5 off.
_TFLITE_TOLERANCE = 1e-3

_Outputs = dict[str, dict[str, np.ndarray]]
"""By file and name."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was found.

    images: that macro mAP was measured on. compared: that EXACT was compared on; other
    files on the first few of them. differences: the largest by file. precision: macro
    mAP by file, None where no tag can be ranked.
    """

    images: int
    compared: int
    differences: dict[str, float]
    precision: dict[str, float | None]


class _Answers:
    """What the files of MEASURED say of images, batch by batch.

    scores: float32 [images, tags] by file, of the batches so far.
    """

    def __init__(self, folder: Path, built: Built, images: MeasuredImages) -> None:
        self._predictors = {
            name: variants.open_model(folder / name) for name in MEASURED
        }
        self._images = images
        self._rows = built.layout.rows_of_labels
        self.scores: dict[str, np.ndarray] = {}
        for name in MEASURED:
            self.scores[name] = np.empty(images.labels.shape, np.float32)

    def batches(self, start: int, stop: int) -> Iterator[tuple[np.ndarray, _Outputs]]:
        """Yields images and the outputs of each file, from image start to stop."""
        label = "export: measuring"
        total = stop - start
        with progress.meter(label, unit="images", total=total) as meter:
            for places, pixels in self._images.batches(start, stop):
                bgr = pixels[..., ::-1].astype(np.float32)
                outputs = {}
                for name, predict in self._predictors.items():
                    outputs[name] = predict(bgr)
                    scores = outputs[name][bundle.SCORES]
                    self.scores[name][places] = scores[:, self._rows]
                yield pixels, outputs
                meter.advance(len(places))


def measure(
    params: Export, folder: Path, built: Built, images: MeasuredImages, measured: int
) -> Measurement:
    """Compares and measures the files of a bundle; raises BadInput where they differ.

    folder: of the bundle; measured: images that count for macro mAP, as evaluate chose
    them.
    """
    answers = _Answers(folder, built, images)
    count = len(images.md5s)
    compared = min(params.compared, count)
    differences = _compare(folder, built, answers.batches(0, compared))
    tolerances = dict.fromkeys(differences, params.tolerance)
    tolerances[TFLITE] = max(params.tolerance, _TFLITE_TOLERANCE)
    comparison.require_agreement(differences, compared, tolerances)
    progress.log(
        f"export: ONNX and Keras differ by at most {differences[bundle.MODEL]:.1e} on "
        f"{compared:,} test images"
    )
    if compared < count:
        for _ in answers.batches(compared, count):
            pass  # its scores are kept
    precision = {}
    for name, scores in answers.scores.items():
        precision[name] = _macro_map(images.labels[:measured], scores[:measured])
    return Measurement(min(measured, count), compared, differences, precision)


def _compare(
    folder: Path, built: Built, batches: Iterator[tuple[np.ndarray, _Outputs]]
) -> dict[str, float]:
    """Returns the largest difference by file: of EXACT, and of those for other uses.

    The latter answer the first batch alone.
    """
    reference = comparison.Reference(built)
    largest = dict.fromkeys(EXACT, 0.0)
    others: dict[str, float] = {}
    for pixels, outputs in batches:
        expected = reference.answer(pixels)
        for name in EXACT:
            wanted = {key: expected.outputs[key] for key in outputs[name]}
            difference = comparison.largest_difference(outputs[name], wanted)
            # Not a number wins.
            largest[name] = float(np.maximum(largest[name], difference))
        if not others:
            others = comparison.differences_of_others(folder, built, pixels, expected)
    return largest | others


def _macro_map(labels: np.ndarray, scores: np.ndarray) -> float | None:
    return ranking.mean(ranking.average_precision_per_tag(labels, scores))
