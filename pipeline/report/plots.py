"""Static plots: SVG from matplotlib, inside the page.

The colours are those of the stylesheet, and text stays text.

Guarantees  the same numbers give the same bytes; nothing in a plot names an address
            outside the page.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE, MODEL, BLIND, OTHER = (f"#00000{digit}" for digit in range(1, 7))
"""Stand-ins for the stylesheet's colours, which differ by day and night.

Plots use these, `_svg` names them.
"""

COLOURS = {
    INK: "ink",
    SOFT: "soft",
    LINE: "line",
    MODEL: "model",
    BLIND: "blind",
    OTHER: "other",
}

STYLE = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
}

MAX_POINTS = 400  # of a curve; more cannot be seen

MAX_TAGS = 600
"""Tags of a plot that has a mark for each. 8,000 took 7 MB, and Chromium seconds."""

LEGIBLE = 0.85  # of its size: what text still can be read at, on narrow screens


def positives(
    train: Sequence[int], test: Sequence[int], minimum: int, eval_minimum: int
) -> str:
    """Positives per tag in training and test, the commonest tag first.

    train, test: positives by label id. minimum, eval_minimum: what `sample` promises
    of each; 0 draws no line.
    """
    figure, axes = _figure("positives", 7.2, 3.1)
    order = _ranked(train)
    _counts(axes, train, order, MODEL, "training")
    _counts(axes, test, order, OTHER, "test")
    _promise(axes, minimum, MODEL, "training")
    _promise(axes, eval_minimum, OTHER, "test")
    axes.set(
        yscale="log",
        xlabel="tags, the commonest in training first",
        ylabel="images with the tag",
    )
    _thousands(axes, "y")
    axes.legend(ncols=2, loc="upper right")
    axes.set_ylim(top=max([*train, 1]) * 4)
    return _svg(
        figure, "Positives per tag in training and test, with the promised minimum."
    )


def _ranked(values: Sequence[float]) -> list[tuple[int, int]]:
    """Returns rank, counted from 1, and label of tags by falling value.

    Where there are more than MAX_TAGS, as many at equal steps, with both ends.
    """
    order = sorted(range(len(values)), key=lambda label: (-values[label], label))
    return [(place + 1, order[place]) for place in thinned(len(order), MAX_TAGS)]


def thinned(count: int, most: int) -> list[int]:
    """Returns `most` places of `count` at equal steps, with both ends; or all."""
    if count <= most:
        return list(range(count))
    last = count - 1
    return sorted({round(step * last / (most - 1)) for step in range(most)})


def _counts(
    axes: "Axes",
    counts: Sequence[int],
    order: Sequence[tuple[int, int]],
    colour: str,
    text: str,
) -> None:
    """Draws counts in an order of labels; 0 becomes 0.8, which a log scale can show."""
    ranks = [rank for rank, _ in order]
    heights = [max(counts[label], 0.8) for _, label in order]
    axes.plot(ranks, heights, ".", color=colour, label=text)


def _promise(axes: "Axes", minimum: int, colour: str, text: str) -> None:
    if not minimum:
        return
    label = f"promised in {text}: {minimum:,}"
    axes.axhline(minimum, color=colour, linewidth=1, linestyle="--", label=label)


def tags_per_record(counts: Sequence[int]) -> str:
    """Histogram of the tags on a training record."""
    figure, axes = _figure("tags_per_record", 3.6, 3.1)
    highest = max([*counts, 1])
    width = max(1, math.ceil((highest + 1) / 40))
    edges = [edge - 0.5 for edge in range(0, highest + width + 1, width)]
    axes.hist(counts, bins=edges, color=MODEL, rwidth=0.85)
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="tags on a training image", ylabel="images")
    _thousands(axes, "y")
    return _svg(figure, "Histogram of the number of tags on a training image.")


def frequencies(before: Sequence[float], after: Sequence[float]) -> str:
    """Share of images with each tag, before and after sampling, by label id.

    before: of the candidates. after: of the training images.
    """
    figure, axes = _figure("frequencies", 10.8, 3.1)
    order = _ranked(before)
    ranks = [rank for rank, _ in order]
    lows = [min(before[label], after[label]) for _, label in order]
    highs = [max(before[label], after[label]) for _, label in order]
    axes.vlines(ranks, lows, highs, color=LINE, linewidth=1)
    for shares, mark, colour, text in (
        (before, "_", OTHER, "candidates: before sampling"),
        (after, ".", MODEL, "training images: after sampling"),
    ):
        heights = [shares[label] or math.nan for _, label in order]
        axes.plot(ranks, heights, mark, color=colour, markeredgewidth=1.6, label=text)
    axes.set(
        yscale="log",
        xlabel="tags, the commonest among the candidates first",
        ylabel="share of images with the tag",
    )
    _percentages(axes)
    _legend_above(axes, columns=2)
    axes.set_ylim(top=1)
    return _svg(
        figure,
        "Share of images with each tag among the candidates and in training.",
    )


def sides(longer: pl.Series, network: int) -> str:
    """Histogram of the longer side of the stored images.

    network: pixels of the side that the network sees.
    """
    figure, axes = _figure("sides", 4.8, 2.9)
    axes.hist(longer.to_list(), bins=40, color=MODEL, rwidth=0.9)
    label = f"the network's input: {network:,}"
    axes.axvline(network, color=BLIND, linewidth=1.4, linestyle="--", label=label)
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="pixels of the longer side", ylabel="images")
    axes.set_xlim(left=0)
    _thousands(axes, "x")
    _thousands(axes, "y")
    axes.legend()
    return _svg(figure, "Histogram of the longer side of the stored images.")


def aspects(ratios: Sequence[float]) -> str:
    """Histogram of width over height of the stored images, on a log scale."""
    figure, axes = _figure("aspects", 4.8, 2.9)
    most = max([2.0, *ratios, *(1 / ratio for ratio in ratios)])
    edges = [most ** (step / 20) for step in range(-20, 21)]
    axes.hist(ratios, bins=edges, color=MODEL, rwidth=0.9)
    axes.axvline(1, color=BLIND, linewidth=1.4, linestyle="--", label="square")
    axes.grid(visible=False, axis="x")
    axes.set(xscale="log", xlabel="width over height", ylabel="images")
    named = {1 / 4: "1:4", 1 / 2: "1:2", 1: "1:1", 2: "2:1", 4: "4:1"}
    axes.set_xticks(list(named), list(named.values()))
    axes.minorticks_off()
    axes.set_xlim(1 / most, most)
    _thousands(axes, "y")
    axes.legend()
    return _svg(figure, "Histogram of width over height of the stored images.")


def slices(rows: Sequence[Mapping[str, Any]], of_all: float) -> str:
    """Macro mAP of slices with its interval, beside its baseline.

    rows: `text`, and macro_map with _low, _high and _baseline, of which those without a
    macro_map are left out. of_all: the macro mAP of the whole split.
    """
    drawn = [row for row in rows if row["macro_map"] is not None]
    figure, axes = _figure("slices", 9.0, 0.9 + 0.24 * len(drawn))
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
    _legend_above(axes, columns=3)
    return _svg(
        figure, "Macro mAP of every slice with its interval, beside its baseline."
    )


def _legend_above(axes: "Axes", columns: int) -> None:
    corner = (0, 1)
    axes.legend(
        ncols=columns, loc="lower left", bbox_to_anchor=corner, borderaxespad=0.2
    )


def _interval(
    axes: "Axes", place: float, low: float | None, high: float | None
) -> None:
    if low is not None and high is not None:
        axes.plot((low, high), (place, place), color=MODEL, linewidth=2.4, alpha=0.45)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def leakage(table: pl.DataFrame, near: int) -> str:
    """Distances of test images to their nearest and to a random training image.

    table: schemas.LEAKAGE. near: bits in which copies differ at most.
    """
    figure, axes = _figure("leakage", 10.8, 2.9)
    _distances(axes, table, "random", BLIND, "a random training image")
    _distances(axes, table, "nearest", MODEL, "the nearest one")
    label = f"copies: {near} bits or less"
    axes.axvline(near + 0.5, color=SOFT, linewidth=1, linestyle="--", label=label)
    axes.grid(visible=False, axis="x")
    occurring = table.filter((pl.col("nearest") + pl.col("random")) > 0)
    furthest = max([*occurring["distance"].to_list(), near])
    axes.set(
        xlabel="bits of 64 in which the hashes differ",
        ylabel="test images",
        xlim=(-1, furthest + 1),
    )
    _thousands(axes, "y")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return _svg(
        figure,
        "Distances of test images to their nearest training image, beside a "
        "random one's.",
    )


def _distances(
    axes: "Axes", table: pl.DataFrame, column: str, colour: str, text: str
) -> None:
    distances, counts = table["distance"].to_list(), table[column].to_list()
    axes.bar(distances, counts, 0.85, color=colour, alpha=0.75, label=text)


def loss(history: pl.DataFrame, best: int) -> str:
    """Loss per epoch, beside what tag frequencies alone reach on validation."""
    figure, axes = _figure("loss", 4.8, 3.1)
    _epochs(axes, history, "train_loss", MODEL, "training", "-")
    _epochs(axes, history, "validation_loss", OTHER, "validation", "-")
    _epochs(
        axes,
        history,
        "validation_loss_baseline",
        BLIND,
        "validation, image-blind",
        "--",
    )
    _per_epoch(axes, best)
    axes.set(title="Loss (binary cross-entropy, nats)")
    axes.legend()
    return _svg(
        figure, "Training and validation loss per epoch beside the image-blind loss."
    )


def validation(history: pl.DataFrame, best: int) -> str:
    """Validation metrics per epoch beside their baselines."""
    figure, axes = _figure("validation", 4.8, 3.1)
    for name, colour, text in (
        ("macro_auc", OTHER, "macro AUC"),
        ("macro_map", MODEL, "macro mAP"),
    ):
        _epochs(axes, history, name, colour, text, "-")
        _epochs(axes, history, f"{name}_baseline", colour, f"{text}, image-blind", "--")
    _per_epoch(axes, best)
    axes.set(title="Validation", ylim=(0, 1.02))
    if axes.lines[1:]:
        axes.legend(ncols=2, loc="lower right")
    return _svg(
        figure,
        "Validation macro AUC and mAP per epoch beside their image-blind baselines.",
    )


def curve(curves: pl.DataFrame, kind: str, title: str, x: str, y: str) -> str:
    """A micro curve, `roc` or `pr`, over its image-blind baseline."""
    figure, axes = _figure(kind, 3.4, 3.3)
    blind = _points(curves, f"{kind}_baseline_micro")
    axes.plot(*blind, "--", color=BLIND, label="image-blind")
    model = _points(curves, f"{kind}_micro")
    axes.plot(*model, "-", color=MODEL, label="model")
    axes.set(
        title=title, xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02), aspect="equal"
    )
    side = "right" if kind == "roc" else "left"
    axes.legend(loc=f"lower {side}")
    return _svg(figure, f"{title}, beside the image-blind baseline.")


def calibration(curves: pl.DataFrame) -> str:
    """Of the images with some score for a tag, the share that has the tag.

    Before calibration too, where evaluate calibrated the scores.
    """
    figure, axes = _figure("calibration", 3.4, 3.3)
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
    return _svg(figure, f"{alternative}; on the diagonal a score is a probability.")


def per_tag(table: pl.DataFrame) -> str:
    """Average precision of every tag over its training positives.

    Beside its prevalence, the image-blind baseline.
    """
    from matplotlib.ticker import LogLocator

    defined = table.drop_nulls(["average_precision", "baseline_average_precision"])
    ranked = defined.sort("train_positives", "name", descending=[True, False])
    defined = ranked[thinned(ranked.height, MAX_TAGS)]
    figure, axes = _figure("per_tag", 10.8, 3.8)
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
    _thousands(axes, "x")
    axes.legend(loc="lower right")
    return _svg(
        figure,
        "Average precision per tag over its training positives, beside the tag's "
        "prevalence.",
    )


def _figure(name: str, width: float, height: float) -> "tuple[Figure, Axes]":
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcdefaults()
    mpl.rcParams.update(STYLE)
    mpl.rcParams["svg.hashsalt"] = f"e6tag {name}"
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    return figure, figure.add_subplot()


def _thousands(axes: "Axes", which: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, NullFormatter

    axis: Any = getattr(axes, f"{which}axis")
    axis.set_major_formatter(FuncFormatter(_whole))
    if isinstance(axis.get_minor_formatter(), LogFormatterSciNotation):
        axis.set_minor_formatter(NullFormatter())


def _percentages(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(_percentage))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _percentage(value: float, _: int | None) -> str:
    """Returns 10 %, and nothing above 100 %, where a log scale has ticks too."""
    if value > 1:
        return ""
    return f"{value * 100:g} %"


def _whole(value: float, _: int | None) -> str:
    """Returns 1,234, and nothing below 1, where a log scale has ticks too."""
    if value < 1:
        return ""
    return f"{value:,.0f}"


def _epochs(
    axes: "Axes", history: pl.DataFrame, name: str, colour: str, text: str, style: str
) -> None:
    if name not in history.columns:
        return
    values = history[name]
    if values.null_count() == history.height:
        return
    marker = "o" if style == "-" else ""
    axes.plot(
        history["epoch"].to_list(),
        values.to_list(),
        style,
        color=colour,
        label=text,
        marker=marker,
        markersize=3,
    )


def _per_epoch(axes: "Axes", best: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.axvline(best, color=SOFT, linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"epoch (the model is epoch {best})")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _points(curves: pl.DataFrame, name: str) -> tuple[list[float], list[float]]:
    """Returns x and y of a curve, thinned evenly to MAX_POINTS with both ends kept."""
    is_finite = pl.col("x").is_finite() & pl.col("y").is_finite()
    points = curves.filter((pl.col("curve") == name) & is_finite)
    points = points[thinned(points.height, MAX_POINTS)]
    return points["x"].to_list(), points["y"].to_list()


def _svg(figure: "Figure", alternative: str) -> str:
    """Returns the figure as an SVG element.

    No prologue, no namespaces (HTML knows them), no shared ids.
    alternative: the text for readers who do not see the plot.
    """
    # Laid out once: savefig would draw the figure a second time for its own layout.
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine(None)
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    narrowest = round(figure.get_figwidth() * 72 * LEGIBLE)
    svg = re.sub(
        r'(<svg)[^>]*?viewBox="([^"]*)"[^>]*>',
        rf'\1 viewBox="\2" role="img" aria-label="{alternative}" '
        rf'style="min-width:{narrowest}px">',
        svg,
    )
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for stand_in, name in COLOURS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    lines = [line.strip() for line in svg.splitlines()]
    return "\n".join(line for line in lines if line)
