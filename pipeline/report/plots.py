"""Static plots: matplotlib's SVG, made part of the page.

Its colours are the stylesheet's, its text is text.

Guarantees  the same numbers give the same bytes; nothing in a plot names an address
            outside the page.
"""

import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE, MODEL, BLIND, OTHER = (f"#00000{digit}" for digit in range(1, 7))
"""Stand-ins for the stylesheet's colours, which differ by day and night.

Plots use these, `_page` names them.
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

MANY = 400  # points of a curve drawn; more cannot be seen


def positives(
    train: Sequence[int], test: Sequence[int], promise: int, promise_test: int
) -> str:
    """Positives per tag in training and test, the commonest tag first, with what `sample` promises of each."""
    figure, axes = _figure("positives", 7.2, 3.1)
    order = sorted(range(len(train)), key=lambda label: (-train[label], label))
    ranks = range(1, len(order) + 1)
    axes.plot(
        ranks, [max(train[i], 0.8) for i in order], ".", color=MODEL, label="training"
    )
    axes.plot(ranks, [max(test[i], 0.8) for i in order], ".", color=OTHER, label="test")
    for promised, colour, text in (
        (promise, MODEL, "training"),
        (promise_test, OTHER, "test"),
    ):
        if promised:
            axes.axhline(
                promised,
                color=colour,
                linewidth=1,
                linestyle="--",
                label=f"promised in {text}: {promised:,}",
            )
    axes.set(
        yscale="log",
        xlabel="tags, the commonest in training first",
        ylabel="pictures with the tag",
    )
    _thousands(axes, "y")
    axes.legend(ncols=2, loc="upper right")
    axes.set_ylim(top=max([*train, 1]) * 4)
    return _page(
        figure, "Positives per tag in training and test, with the promised minimum."
    )


def tags_per_record(counts: Sequence[int]) -> str:
    """Histogram of the tags on a training record."""
    figure, axes = _figure("tags_per_record", 3.6, 3.1)
    highest = max([*counts, 1])
    width = max(1, math.ceil((highest + 1) / 40))
    axes.hist(
        counts,
        bins=[edge - 0.5 for edge in range(0, highest + width + 1, width)],
        color=MODEL,
        rwidth=0.85,
    )
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="tags on a training picture", ylabel="pictures")
    _thousands(axes, "y")
    return _page(figure, "Histogram of the number of tags on a training picture.")


def leakage(table: pl.DataFrame, near: int) -> str:
    """Distances of test pictures to their nearest and to a random training picture.

    table: schemas.LEAKAGE.
    """
    figure, axes = _figure("leakage", 10.8, 2.9)
    for name, colour, text in (
        ("random", BLIND, "a random training picture"),
        ("nearest", MODEL, "the nearest one"),
    ):
        axes.bar(
            table["distance"].to_list(),
            table[name].to_list(),
            0.85,
            color=colour,
            alpha=0.75,
            label=text,
        )
    axes.axvline(
        near + 0.5,
        color=SOFT,
        linewidth=1,
        linestyle="--",
        label=f"copies: {near} bits or less",
    )
    axes.grid(visible=False, axis="x")
    told = table.filter((pl.col("nearest") + pl.col("random")) > 0)[
        "distance"
    ].to_list()
    axes.set(
        xlabel="bits of 64 in which the hashes differ",
        ylabel="test pictures",
        xlim=(-1, max([*told, near]) + 1),
    )
    _thousands(axes, "y")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return _page(
        figure,
        "Distances of test pictures to their nearest training picture, beside a "
        "random one's.",
    )


def loss(history: pl.DataFrame, best: int) -> str:
    """Loss per epoch, with what the tags' frequencies alone reach on validation."""
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
    return _page(
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
    return _page(
        figure,
        "Validation macro AUC and mAP per epoch beside their image-blind baselines.",
    )


def curve(curves: pl.DataFrame, kind: str, title: str, x: str, y: str) -> str:
    """A micro curve, `roc` or `pr`, over its image-blind baseline."""
    figure, axes = _figure(kind, 3.4, 3.3)
    for name, colour, text, style in (
        (f"{kind}_baseline_micro", BLIND, "image-blind", "--"), (f"{kind}_micro", MODEL, "model", "-"),
    ):  # fmt: skip
        xs, ys = _points(curves, name)
        axes.plot(xs, ys, style, color=colour, label=text)
    axes.set(
        title=title, xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02), aspect="equal"
    )
    axes.legend(loc="lower right" if kind == "roc" else "upper right")
    return _page(figure, f"{title}, beside the image-blind baseline.")


def calibration(curves: pl.DataFrame) -> str:
    """Of the pictures given some score for a tag, the share that has it."""
    figure, axes = _figure("calibration", 3.4, 3.3)
    axes.plot([0, 1], [0, 1], "--", color=BLIND, label="as it says")
    axes.plot(*_points(curves, "calibration"), ".-", color=MODEL, label="model")
    axes.set(title="Calibration", xlabel="score", ylabel="share that has the tag")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
    axes.legend(loc="upper left")
    return _page(
        figure,
        "Share of positives by score; on the diagonal a score means what it says.",
    )


def per_tag(table: pl.DataFrame) -> str:
    """Average precision of every tag over its training positives, beside its prevalence."""
    from matplotlib.ticker import LogLocator

    judged = table.drop_nulls(["average_precision", "baseline_average_precision"])
    figure, axes = _figure("per_tag", 10.8, 3.8)
    across = [max(count, 1) for count in judged["train_positives"]]
    model, blind = (
        judged["average_precision"].to_list(),
        judged["baseline_average_precision"].to_list(),
    )
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
        xlabel="training pictures with the tag",
        ylabel="average precision on test",
    )
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    _thousands(axes, "x")
    axes.legend(loc="lower right")
    return _page(
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
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")
    )
    if isinstance(axis.get_minor_formatter(), LogFormatterSciNotation):
        axis.set_minor_formatter(NullFormatter())


def _epochs(
    axes: "Axes", history: pl.DataFrame, name: str, colour: str, text: str, style: str
) -> None:
    if name not in history.columns or history[name].null_count() == history.height:
        return
    marker = "o" if style == "-" else ""
    axes.plot(history["epoch"].to_list(), history[name].to_list(), style, color=colour,
    label=text, marker=marker,
              markersize=3)  # fmt: skip


def _per_epoch(axes: "Axes", best: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.axvline(best, color=SOFT, linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"epoch (the model is epoch {best})")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _points(curves: pl.DataFrame, name: str) -> tuple[list[float], list[float]]:
    points = curves.filter(
        (pl.col("curve") == name) & pl.col("x").is_finite() & pl.col("y").is_finite()
    )
    if points.height > MANY:
        last = points.height - 1
        points = points[sorted({round(i * last / (MANY - 1)) for i in range(MANY)})]
    return points["x"].to_list(), points["y"].to_list()


def _page(figure: "Figure", alternative: str) -> str:
    """Returns the figure as an SVG element.

    No prologue, no namespaces (HTML knows them), no shared ids.
    """
    figure.savefig(
        out := io.StringIO(),
        format="svg",
        metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
    )
    svg = out.getvalue()
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
    return "\n".join(_trimmed(svg.splitlines()))


def _trimmed(lines: Iterable[str]) -> Iterable[str]:
    return (line.strip() for line in lines if line.strip())
