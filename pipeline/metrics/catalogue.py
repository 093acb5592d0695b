"""The metrics of a split: their names in metrics.json and their labels for people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric beside what an image-blind model reaches on the same images."""

    value: float | None
    baseline: float | None
    # 95 % interval over resampled images, where it was computed.
    low: float | None = None
    high: float | None = None


LABELS = {
    "macro_map": "macro mAP",
    "macro_auc": "macro AUC",
    "macro_f1": "macro F1",
    "micro_auc": "micro AUC",
    "micro_f1": "micro F1",
    "accuracy": "accuracy",
}
"""Every metric, the ones that count first."""

HEADLINE = ("macro_map", "macro_auc", "macro_f1")
"""The metrics that count: each tag weighs the same, however rare it is."""
