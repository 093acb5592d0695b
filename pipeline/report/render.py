"""The page itself: facts, plots and pictures into one HTML file that asks no host for anything."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from pipeline.params import Params
from pipeline.report import data_quality, facts, plots
from pipeline.report.examples import MOST, ExampleImage
from pipeline.report.inputs import BESIDE, HEADLINE, Inputs

_HERE = Path(__file__).parent
NONE = "\N{EN DASH}"  # where a metric is not defined


def page(params: Params, found: Inputs, shown: list[ExampleImage]) -> str:
    """Returns index.html."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "n": number,
        "share": share,
        "percent": percent,
        "value": value,
        "size": size,
        "duration": duration,
    }
    best, worst = facts.best_and_worst_tags(found)
    wanted, kept = facts.outcomes(found)
    return environment.get_template("page.html.jinja").render(
        best=best,
        agents=facts.agents(found),
        asked=facts.requests(found),
        beside=facts.metrics(found, BESIDE),
        funnel=facts.funnel(found),
        gates=facts.gates(found),
        headline=facts.metrics(found, HEADLINE),
        lacking=data_quality.lacking(found),
        leakage=data_quality.leakage(found),
        left_out=facts.left_out(found),
        near=data_quality.NEAR,
        oddities=data_quality.oddities(found),
        pairs=data_quality.pairs(found),
        spellings=data_quality.spellings(found),
        strategies=facts.strategies(found),
        metric_names=[name for name, _ in facts.METRICS.values()],
        most=MOST,
        parameters=facts.parameters(found, params),
        per_tag=found.per_tag.to_dicts(),
        pictures=shown,
        pictures_kept=kept,
        pictures_wanted=wanted,
        pin=found.lineage["pin"],
        pinned=facts.pinned(found),
        plots=_plots(params, found),
        policy_version=found.lineage["policy_version"],
        records=facts.records(found),
        rules=facts.rules(found),
        script=(_HERE / "sort.js").read_text(encoding="utf-8"),
        snapshot_posts=facts.snapshot_posts(found),
        splits=[
            (split, {metric.name: metric for metric in some})
            for split, some in facts.splits(found)
        ],
        style=(_HERE / "style.css").read_text(encoding="utf-8"),
        takedowns=facts.takedowns(found),
        training=found.training,
        unknown_tags=facts.unknown_tags(found),
        vocabulary=found.vocabulary,
        waited=facts.waits(found),
        worst=worst,
    )


def _plots(params: Params, found: Inputs) -> Mapping[str, str]:
    best = int(found.training["best_epoch"])
    curves, sample = found.curves, params.sample
    train, test = facts.positives(found, "train"), facts.positives(found, "test")
    on_training = found.records.filter(pl.col("split") == "train")["tags"].to_list()
    return {
        "positives": plots.positives(
            train, test, sample.min_positives, sample.min_eval_positives
        ),
        "tags_per_record": plots.tags_per_record(on_training),
        "leakage": plots.leakage(found.leakage, data_quality.NEAR),
        "loss": plots.loss(found.history, best),
        "validation": plots.validation(found.history, best),
        "roc": plots.curve(
            curves, "roc", "ROC, micro", "false positive rate", "true positive rate"
        ),
        "pr": plots.curve(
            curves, "pr", "Precision and recall, micro", "recall", "precision"
        ),
        "calibration": plots.calibration(curves),
        "per_tag": plots.per_tag(found.per_tag),
    }


def number(count: int) -> str:
    """Returns 1,234."""
    return f"{count:,}"


def share(figure: float | None) -> str:
    """Returns 0.873, or a dash where there is none."""
    return NONE if figure is None or math.isnan(figure) else f"{figure:.3f}"


def percent(figure: float, digits: int = 1) -> str:
    """Returns 96.7 %."""
    return f"{figure * 100:.{digits}f} %"


def size(count: int) -> str:
    """Returns 1.2 MB, or kB or GB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count:,} B"


def duration(seconds: float) -> str:
    """Returns 4.2 s, 3.5 min or 17.0 h."""
    for unit, factor in (("h", 3600), ("min", 60)):
        if seconds >= factor:
            return f"{seconds / factor:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def value(given: Any) -> str:
    """Returns a parameter as params.yaml writes it."""
    if given is None:
        return "null"
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, list):
        return ", ".join(value(one) for one in given)
    return (
        f"{given:,}" if isinstance(given, int) and abs(given) >= 10_000 else str(given)
    )
