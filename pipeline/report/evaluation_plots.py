"""Plots of how good the model is, beside its image-blind baselines."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.report.plot_style import (
    BLIND,
    LINE,
    MODEL,
    OTHER,
    SOFT,
    add_legend_above,
    format_thousands,
    new_figure,
    to_svg,
)
from pipeline.report.thinning import MAX_POINTS, MAX_TAGS, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def curve(curves: pl.DataFrame, kind: str, title: str, x: str, y: str) -> str:
    """A micro curve, `roc` or `pr`, over its image-blind baseline."""
    figure, axes = new_figure(kind, 3.4, 3.3)
    blind = _points(curves, f"{kind}_baseline_micro")
    axes.plot(*blind, "--", color=BLIND, label="image-blind")
    model = _points(curves, f"{kind}_micro")
    axes.plot(*model, "-", color=MODEL, label="model")
    axes.set(
        title=title, xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02), aspect="equal"
    )
    side = "right" if kind == "roc" else "left"
    axes.legend(loc=f"lower {side}")
    return to_svg(figure, f"{title}, beside the image-blind baseline.")


def _points(curves: pl.DataFrame, name: str) -> tuple[list[float], list[float]]:
    """Returns x and y of a curve, thinned evenly to MAX_POINTS with both ends kept."""
    is_finite = pl.col("x").is_finite() & pl.col("y").is_finite()
    points = curves.filter((pl.col("curve") == name) & is_finite)
    points = points[thinned(points.height, MAX_POINTS)]
    return points["x"].to_list(), points["y"].to_list()


def calibration(curves: pl.DataFrame) -> str:
    """Of the images with some score for a tag, the share that has the tag.

    Before calibration too, where evaluate calibrated the scores.
    """
    figure, axes = new_figure("calibration", 3.4, 3.3)
    axes.plot([0, 1], [0, 1], "--", color=BLIND, label="perfect")
    before = _points(curves, "calibration_before")
    alternative = "Share of positives by score"
    if before[0]:
        axes.plot(*before, ".:", color=OTHER, label="before calibration")
        alternative += ", before and after calibration"
    points = _points(curves, "calibration")
    label = "after calibration" if before[0] else "model"
    axes.plot(*points, ".-", color=MODEL, label=label)
    axes.set(title="Reliability", xlabel="score", ylabel="share that has the tag")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
    axes.legend(loc="upper left")
    return to_svg(figure, f"{alternative}; on the diagonal a score is a probability.")


def slices(rows: Sequence[Mapping[str, Any]], of_all: float) -> str:
    """Macro mAP of slices with its interval, beside its baseline.

    rows: `text`, and macro_map with _low, _high and _baseline, of which those without a
    macro_map are left out. of_all: the macro mAP of the whole split.
    """
    drawn = [row for row in rows if row["macro_map"] is not None]
    figure, axes = new_figure("slices", 9.0, 0.9 + 0.24 * len(drawn))
    places = range(len(drawn))
    for place, row in zip(places, drawn, strict=True):
        _interval(axes, place, row["macro_map_low"], row["macro_map_high"])
    blind = [_or_nan(row["macro_map_baseline"]) for row in drawn]
    axes.plot(blind, places, "|", color=BLIND, markeredgewidth=2, label="image-blind")
    values = [row["macro_map"] for row in drawn]
    axes.plot(values, places, "o", color=MODEL, markersize=4, label="model")
    axes.axvline(of_all, color=SOFT, linewidth=1, linestyle=":", label="all images")
    axes.set_yticks(list(places), [row["text"] for row in drawn])
    axes.set(xlim=(0, 1.02), xlabel="macro mAP", ylim=(len(drawn) - 0.4, -0.6))
    axes.grid(visible=False, axis="y")
    add_legend_above(axes, columns=3)
    return to_svg(
        figure, "Macro mAP of every slice with its interval, beside its baseline."
    )


def _interval(
    axes: "Axes", place: float, low: float | None, high: float | None
) -> None:
    if low is not None and high is not None:
        axes.plot((low, high), (place, place), color=MODEL, linewidth=2.4, alpha=0.45)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def per_tag(table: pl.DataFrame) -> str:
    """Average precision of every tag over its training positives.

    Beside its prevalence, the image-blind baseline.
    """
    from matplotlib.ticker import LogLocator

    defined = table.drop_nulls(["average_precision", "baseline_average_precision"])
    ranked = defined.sort("train_positives", "name", descending=[True, False])
    defined = ranked[thinned(ranked.height, MAX_TAGS)]
    figure, axes = new_figure("per_tag", 10.8, 3.8)
    across = [max(count, 1) for count in defined["train_positives"]]
    model = defined["average_precision"].to_list()
    blind = defined["baseline_average_precision"].to_list()
    axes.vlines(across, blind, model, color=LINE, linewidth=1)
    axes.plot(
        across,
        blind,
        "_",
        color=BLIND,
        markersize=7,
        markeredgewidth=1.6,
        label="image-blind: the prevalence",
    )
    axes.plot(across, model, ".", color=MODEL, label="model")
    axes.set(
        xscale="log",
        ylim=(0, 1.02),
        xlabel="training images with the tag",
        ylabel="average precision on test",
    )
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    format_thousands(axes, "x")
    axes.legend(loc="lower right")
    return to_svg(
        figure,
        "Average precision per tag over its training positives, beside the tag's "
        "prevalence.",
    )
