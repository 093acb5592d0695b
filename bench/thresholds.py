"""What `evaluate.calibration` and `evaluate.threshold_support` are worth.

    python bench/thresholds.py --project .    # 5 seconds on the sandbox

Prints the two tables of docs/evaluation.md, of the predictions of a finished run: the
calibration error of images that the map was not fitted to, and the F1 of images that
the thresholds were not chosen on. The columns `run` are of the run's own validation and
test; the others are means over random divisions of both together into halves. Those are
by image, so that posts of one family may be in both.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import parquet
from pipeline.metrics import calibration, thresholded, thresholds
from pipeline.metrics.calibration import Calibration, Method
from pipeline.metrics.tag_scores import TagScores, sparse_rows
from pipeline.paths import Paths

DIVISIONS = 40
SEED = 621
FITTED_TO = (120, 60)  # images, beside half of all
SUPPORTS = {
    "0: each tag's own": 0,
    "20": 20,
    "40": 40,
    "80": 80,
    "the shared threshold alone": 1_000_000,
}
SATURATED = 60.0  # the logit that scores of exactly 1 and 0 count as, and its negative

Images = NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """Logits before calibration and labels, [images, tags], of validation and test.

    Those of validation come first; validation: how many they are.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.bool_]
    validation: int

    def of(self, images: Images) -> TagScores:
        """Returns some images, with logits in the place of scores."""
        return TagScores.from_dense(self.labels[images], self.logits[images])

    def scored(self, images: Images, fitted: Calibration) -> TagScores:
        """Returns some images with calibrated scores."""
        return TagScores.from_dense(
            self.labels[images], fitted.scores(self.logits[images])
        )


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", type=Path, default=Path())
    predictions = read(Paths(parser.parse_args().project))
    everything = np.arange(len(predictions.labels))
    run = np.split(everything, [predictions.validation])
    print(f"{len(run[0])} validation and {len(run[1])} test images\n")
    print_calibration(predictions, run)
    print_thresholds(predictions, run)


def read(paths: Paths) -> Predictions:
    """Reads what `evaluate` wrote, and undoes its calibration."""
    rows = parquet.read(paths.evaluation / "predictions.parquet")
    parts = [rows.filter(split=split) for split in ("validation", "test")]
    scores = np.stack(parts[0]["scores"].to_list() + parts[1]["scores"].to_list())
    label_ids = parts[0]["label_ids"].to_list() + parts[1]["label_ids"].to_list()
    ascending = [np.array(ids, np.int64) for ids in label_ids]
    labels = sparse_rows(ascending, scores.shape[1]).toarray() != 0
    tree = json.loads((paths.evaluation / "calibration.json").read_text())
    fitted = Calibration.from_json(tree["calibration"])
    return Predictions(uncalibrated(fitted, scores), labels, parts[0].height)


def uncalibrated(fitted: Calibration, scores: np.ndarray) -> NDArray[np.float32]:
    """Returns the logits that calibrated scores were made of.

    The map is linear between its knots: so is its inverse.
    """
    bends = np.array([-SATURATED, *fitted.knots, SATURATED])
    with np.errstate(divide="ignore"):
        calibrated = np.log(scores) - np.log1p(-scores)
    calibrated = np.clip(calibrated, -SATURATED, SATURATED)
    return np.interp(calibrated, fitted.apply(bends), bends).astype(np.float32)


def divisions(predictions: Predictions) -> Iterator[tuple[Images, Images]]:
    """Yields random divisions of the images into halves."""
    generator = np.random.default_rng(SEED)
    images = len(predictions.labels)
    for _ in range(DIVISIONS):
        order = generator.permutation(images)
        yield order[: images // 2], order[images // 2 :]


def print_calibration(predictions: Predictions, run: list[Images]) -> None:
    """Prints the calibration error by method and number of images fitted to."""
    fitted_to = (len(predictions.labels) // 2, *FITTED_TO)
    counts = " | ".join(f"fitted to {count} images" for count in fitted_to)
    print(f"| `evaluate.calibration` | run | {counts} |")
    print("|---" * (2 + len(fitted_to)) + "|")
    for method in Method:
        cells = [f"{_calibration_error(predictions, method, *run):.4f}"]
        for count in fitted_to:
            errors = []
            for half, others in divisions(predictions):
                some = half[:count]
                errors.append(_calibration_error(predictions, method, some, others))
            cells.append(f"{np.mean(errors):.4f}")
        print(f"| `{method}` | {' | '.join(cells)} |")
    print()


def _calibration_error(
    predictions: Predictions, method: Method, fitted_to: Images, others: Images
) -> float:
    fitted = calibration.fit(method, predictions.of(fitted_to))
    reliability = calibration.reliability(predictions.of(others), fitted)
    return float(reliability.total().error)


def print_thresholds(predictions: Predictions, run: list[Images]) -> None:
    """Prints macro and micro F1 by how far thresholds are drawn together."""
    print("| `threshold_support` | run: macro | micro | macro | micro | run: lowest |")
    print("|---|---|---|---|---|---|")
    for name, support in SUPPORTS.items():
        macro, micro, lowest = _f1(predictions, support, *run)
        found = []
        for chosen_on, others in divisions(predictions):
            found.append(_f1(predictions, support, chosen_on, others))
        means = np.mean(found, axis=0)
        print(
            f"| {name} | {macro:.4f} | {micro:.4f} | {means[0]:.4f} | "
            f"{means[1]:.4f} | {lowest:.2f} |"
        )


def _f1(
    predictions: Predictions, support: int, chosen_on: Images, others: Images
) -> tuple[float, float, float]:
    """Returns macro F1, micro F1 and the lowest threshold."""
    fitted = calibration.fit(Method.ISOTONIC, predictions.of(chosen_on))
    chosen = thresholds.choose(
        predictions.scored(chosen_on, fitted), support=support
    ).per_tag
    scores = predictions.scored(others, fitted)
    predicted = thresholded.predict(scores, chosen)
    counts = thresholded.count(scores.labels, predicted)
    macro = thresholded.macro_f1(counts).value
    micro = thresholded.micro_f1(counts).value
    if macro is None or micro is None:
        raise ValueError("no tag of the vocabulary is on an image of the division")
    return macro, micro, float(chosen.min())


if __name__ == "__main__":
    main()
