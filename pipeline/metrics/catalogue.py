"""The metrics of a split: their names in metrics.json and their labels for people."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric beside what models reach that do not look at the images.

    baseline: of a model that scores all images alike. informed_baseline: of one that
    knows rating and number of tags of each image. low, high: 95 % interval over
    resampled images, where it was computed. absent: why there is no value, for people.
    """

    value: float | None
    baseline: float | None
    low: float | None = None
    high: float | None = None
    informed_baseline: float | None = None
    absent: str | None = None


LABELS = {
    "macro_map": "macro mAP",
    "macro_auc": "macro AUC",
    "macro_f1": "macro F1",
    "micro_map": "micro mAP",
    "micro_auc": "micro AUC",
    "micro_f1": "micro F1",
    "macro_f1_break_even": "macro F1 at the break-even threshold",
    "micro_f1_break_even": "micro F1 at the break-even threshold",
    "macro_f1_flat": "macro F1 at 0.35",
    "micro_f1_flat": "micro F1 at 0.35",
    "mean_reciprocal_rank": "mean reciprocal rank",
    "accuracy": "accuracy",
    "calibration_error": "calibration error",
}
"""Every metric, the ones that count first."""

HEADLINE = ("macro_map", "macro_auc", "macro_f1")
"""The metrics that count: each tag weighs the same, however rare it is."""

NO_CONTEST = frozenset({"calibration_error"})
"""Metrics that a model which looks at no image can win: the prior is calibrated by
construction."""
