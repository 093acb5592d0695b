"""The metrics of metrics.json beside their image-blind baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.metrics import catalogue
from pipeline.paths import SPLITS
from pipeline.report.inputs import Inputs

BASELINES = {
    "macro_map": "each tag's share of positives, averaged",
    "macro_auc": "any order that ignores the image",
    "macro_f1": "every tag predicted for every image, averaged over tags",
    "micro_map": "tags ranked by how common they are",
    "micro_auc": "tags ranked by how common they are",
    "micro_f1": "the same commonest tags predicted for every image",
    "macro_f1_break_even": "every tag predicted for every image, averaged over tags",
    "micro_f1_break_even": "the same commonest tags predicted for every image",
    "macro_f1_flat": "every tag predicted for every image, averaged over tags",
    "micro_f1_flat": "the same commonest tags predicted for every image",
    "mean_reciprocal_rank": "tags ranked by how common they are",
    "accuracy": "for each tag what most images have: mostly no",
    "calibration_error": "each tag's share of positives in training, for every image",
}
"""What the image-blind baseline of a metric predicts, of those in the header."""


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A metric beside what a model that never looks at the image reaches.

    `informed`: what one reaches that is told rating and number of tags, where it was
    computed. `interval`: 95 %, where it was computed.
    """

    name: str
    value: float
    baseline: float
    blind: str
    informed: float | None
    interval: tuple[float, float] | None


def of_split(inputs: Inputs, split: str, names: Sequence[str]) -> list[MetricValue]:
    """Returns metrics of a split in the order of `names`."""
    tree = inputs.metrics["splits"][split]
    return [_metric(name, tree[name]) for name in names]


def by_split(inputs: Inputs) -> list[tuple[str, dict[str, MetricValue]]]:
    """Returns each split that was evaluated, with all its metrics by label."""
    splits = []
    for split in SPLITS:
        names = _available(inputs, split)
        if names:
            metrics = of_split(inputs, split, names)
            splits.append((split, {metric.name: metric for metric in metrics}))
    return splits


def absent(inputs: Inputs) -> dict[str, dict[str, str]]:
    """Returns why metrics are not shown, by split and label; "" where nobody knows."""
    reasons = {}
    for split, metrics in inputs.metrics["splits"].items():
        of_split = {}
        for name, label in catalogue.LABELS.items():
            metric = metrics.get(name, {})
            reason = metric.get("absent") or ""
            if not reason and "value" in metric:
                reason = "it has no baseline"
            of_split[label] = reason
        reasons[split] = of_split
    return reasons


def _available(inputs: Inputs, split: str) -> list[str]:
    """Returns the metrics that metrics.json gives for a split with their baseline."""
    tree = inputs.metrics["splits"].get(split, {})
    names = []
    for name in catalogue.LABELS:
        metric = tree.get(name, {})
        values = (metric.get("value"), metric.get("baseline"))
        if None not in values:
            names.append(name)
    return names


def _metric(name: str, tree: Mapping[str, Any]) -> MetricValue:
    return MetricValue(
        name=catalogue.LABELS[name],
        value=float(tree["value"]),
        baseline=float(tree["baseline"]),
        blind=BASELINES.get(name, ""),
        informed=tree.get("informed_baseline"),
        interval=_interval(tree),
    )


def _interval(tree: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = tree.get("low"), tree.get("high")
    if low is None or high is None:
        return None
    return float(low), float(high)
