"""Section: every metric by split, the curves, and the best and worst tags."""

from typing import Any

import polars as pl

from pipeline.metrics import catalogue
from pipeline.report import metric_values, plots
from pipeline.report.inputs import Inputs
from pipeline.report.sections.section import PageData, Values

TITLE = "Evaluation"
LINK = "Evaluation"

EXTREMES = 8  # best and worst tags shown


def build(data: PageData) -> Values:
    """Returns metrics by split, plots of the test split, best and worst tags."""
    inputs = data.inputs
    curves = inputs.curves
    best, worst = best_and_worst_tags(inputs)
    rates = ("false positive rate", "true positive rate")
    return {
        "metric_names": list(catalogue.LABELS.values()),
        "splits": metric_values.by_split(inputs),
        "roc_plot": plots.curve(curves, "roc", "ROC, micro", *rates),
        "pr_plot": plots.curve(
            curves, "pr", "Precision and recall, micro", "recall", "precision"
        ),
        "calibration_plot": plots.calibration(curves),
        "per_tag_plot": plots.per_tag(inputs.per_tag),
        "best": best,
        "worst": worst,
    }


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
