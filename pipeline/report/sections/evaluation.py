"""Section: every metric by split, the curves, and the best and worst tags."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline.metrics import catalogue
from pipeline.report import evaluation_plots, metric_values
from pipeline.report.inputs import Inputs
from pipeline.report.metric_values import MetricValue
from pipeline.report.sections.section import PageData, Values
from pipeline.report.thinning import MAX_TAGS

TITLE = "Evaluation"
LINK = "Evaluation"

EXTREMES = 8  # best and worst tags shown

MODES = {
    "off": "off: as the model says",
    "raise_parents": "raise parents: what a tag implies is predicted with it",
    "cap_children": "cap children: a tag is predicted only beside what it implies",
}
"""Modes of evaluators/implications.py in words."""

OF_MODES = ("macro_map", "macro_auc", "macro_f1", "micro_f1")
"""Metrics of a mode that are shown."""


def build(data: PageData) -> Values:
    """Returns metrics by split, plots of the test split, best and worst tags."""
    inputs = data.inputs
    best, worst = best_and_worst_tags(inputs)
    splits = metric_values.by_split(inputs)
    return {
        "metric_names": list(catalogue.LABELS.values()),
        "splits": splits,
        "is_informed": any(_is_informed(metrics) for _, metrics in splits),
        "reasons": metric_values.absent(inputs),
        "modes": modes(inputs),
        "mode_metrics": [catalogue.LABELS[name] for name in OF_MODES],
        "originals": inputs.metrics["originals"],
        "best": best,
        "worst": worst,
        **_plots(inputs),
    }


def _plots(inputs: Inputs) -> Values:
    """Returns the plots, and what their captions say of them."""
    curves = inputs.curves
    rates = ("false positive rate", "true positive rate")
    shares = ("recall", "precision")
    return {
        "roc_plot": evaluation_plots.curve(curves, "roc", "ROC, micro", *rates),
        "pr_plot": evaluation_plots.curve(
            curves, "pr", "Precision and recall, micro", *shares
        ),
        "calibration_plot": evaluation_plots.calibration(curves),
        "is_calibrated": "calibration_before" in set(curves["curve"]),
        "per_tag_plot": evaluation_plots.per_tag(inputs.per_tag),
        "is_thinned": inputs.per_tag.height > MAX_TAGS,
        "max_tags": MAX_TAGS,
    }


def _is_informed(metrics: Mapping[str, MetricValue]) -> bool:
    return any(metric.informed is not None for metric in metrics.values())


@dataclass(frozen=True, slots=True)
class Mode:
    """What metrics become in a mode of using implications.

    values: of OF_MODES, None where a metric cannot be computed. inconsistent: the share
    of images that are predicted a tag without all that it implies.
    """

    words: str
    values: list[float | None]
    inconsistent: float | None


def modes(inputs: Inputs) -> list[Mode]:
    """Returns each mode that was measured; none where evaluate measured none."""
    measured = inputs.metrics.get("implications", {})
    found = []
    for name, words in MODES.items():
        metrics = measured.get(name)
        if metrics is not None:
            values = [metrics.get(metric) for metric in OF_MODES]
            found.append(Mode(words, values, metrics.get("inconsistent")))
    return found


def best_and_worst_tags(
    inputs: Inputs,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the rows of the tags that the model learnt best, and worst.

    Ranked by the share of the way from prevalence to 1 that average precision covers.
    No tag is in both lists.
    """
    precision = pl.col("average_precision")
    baseline = pl.col("baseline_average_precision")
    is_defined = precision.is_not_null() & baseline.is_not_null() & (baseline < 1)
    defined = inputs.per_tag.filter(is_defined)
    with_way = defined.with_columns(way=(precision - baseline) / (1 - baseline))
    ranked = with_way.sort("way", "name", descending=[True, False])
    best = ranked.head(min(EXTREMES, (ranked.height + 1) // 2))
    worst = ranked.tail(min(EXTREMES, ranked.height // 2)).reverse()
    return best.to_dicts(), worst.to_dicts()
