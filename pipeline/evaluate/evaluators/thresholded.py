"""F1 and accuracy at the thresholds chosen on validation."""

from collections.abc import Iterator

import numpy as np

from pipeline.metrics import baselines, ranking, thresholded
from pipeline.metrics.catalogue import Metric


def evaluate(
    labels: np.ndarray, predicted: np.ndarray, shares: np.ndarray
) -> Iterator[tuple[str, Metric]]:
    """Yields macro F1, micro F1 and accuracy.

    predicted: bool [images, tags]; shares: of each tag in training, [tags]. Macro F1
    leaves out tags without positives.
    """
    present = labels.any(axis=0)
    constant_f1 = baselines.constant_f1(labels)[present]
    macro_f1 = thresholded.macro_f1(labels, predicted)
    yield "macro_f1", Metric(macro_f1, ranking.mean(constant_f1))
    micro_f1 = thresholded.micro_f1(labels, predicted)
    yield "micro_f1", Metric(micro_f1, baselines.constant_micro_f1(labels, shares))
    accuracy = thresholded.accuracy(labels, predicted)
    constant_accuracy = float(baselines.constant_accuracy(labels).mean())
    yield "accuracy", Metric(accuracy, constant_accuracy)


def per_tag(labels: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the columns of per_tag.parquet, [tags] each."""
    columns = thresholded.per_tag(labels, predicted)
    columns["baseline_f1"] = baselines.constant_f1(labels)
    columns["baseline_accuracy"] = baselines.constant_accuracy(labels)
    return columns
