"""Static plots: SVG from matplotlib, inside the page.

The colours are those of the stylesheet, and text stays text.

Guarantees  the same numbers give the same bytes; nothing in a plot names an address
            outside the page.
"""

import io
import math
import re
from collections.abc import Sequence
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


def positives(
    train: Sequence[int], test: Sequence[int], minimum: int, eval_minimum: int
) -> str:
    """Positives per tag in training and test, the commonest tag first.

    train, test: positives by label id. minimum, eval_minimum: what `sample` promises
    of each; 0 draws no line.
    """
    figure, axes = _figure("positives", 7.2, 3.1)
    order = sorted(range(len(train)), key=lambda label: (-train[label], label))
    _ranked(axes, train, order, MODEL, "training")
    _ranked(axes, test, order, OTHER, "test")
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


def _ranked(
    axes: "Axes", counts: Sequence[int], order: Sequence[int], colour: str, text: str
) -> None:
    """Draws counts in an order of labels; 0 becomes 0.8, which a log scale can show."""
    ranks = range(1, len(order) + 1)
    heights = [max(counts[label], 0.8) for label in order]
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
    side = "lower" if kind == "roc" else "upper"
    axes.legend(loc=f"{side} right")
    return _svg(figure, f"{title}, beside the image-blind baseline.")


def calibration(curves: pl.DataFrame) -> str:
    """Of the images with some score for a tag, the share that has the tag."""
    figure, axes = _figure("calibration", 3.4, 3.3)
    axes.plot([0, 1], [0, 1], "--", color=BLIND, label="perfect")
    points = _points(curves, "calibration")
    axes.plot(*points, ".-", color=MODEL, label="model")
    axes.set(title="Calibration", xlabel="score", ylabel="share that has the tag")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
    axes.legend(loc="upper left")
    return _svg(
        figure,
        "Share of positives by score; on the diagonal a score is a probability.",
    )


def per_tag(table: pl.DataFrame) -> str:
    """Average precision of every tag over its training positives.

    Beside its prevalence, the image-blind baseline.
    """
    from matplotlib.ticker import LogLocator

    defined = table.drop_nulls(["average_precision", "baseline_average_precision"])
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
    if points.height > MAX_POINTS:
        last = points.height - 1
        rows = {round(i * last / (MAX_POINTS - 1)) for i in range(MAX_POINTS)}
        points = points[sorted(rows)]
    return points["x"].to_list(), points["y"].to_list()


def _svg(figure: "Figure", alternative: str) -> str:
    """Returns the figure as an SVG element.

    No prologue, no namespaces (HTML knows them), no shared ids.
    alternative: the text for readers who do not see the plot.
    """
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(
        r'(<svg)[^>]*?viewBox="([^"]*)"[^>]*>',
        rf'\1 viewBox="\2" role="img" aria-label="{alternative}">',
        svg,
    )
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for stand_in, name in COLOURS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    lines = [line.strip() for line in svg.splitlines()]
    return "\n".join(line for line in lines if line)
