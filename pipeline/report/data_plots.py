"""Plots of the data: positives, tag frequencies, sizes of the images, leakage."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from pipeline.report.plot_style import (
    BLIND,
    LINE,
    MODEL,
    OTHER,
    SOFT,
    add_legend_above,
    format_percentages,
    format_thousands,
    new_figure,
    to_svg,
)
from pipeline.report.thinning import MAX_TAGS, thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def positives(
    train: Sequence[int], test: Sequence[int], minimum: int, eval_minimum: int
) -> str:
    """Positives per tag in training and test, the commonest tag first.

    train, test: positives by label id. minimum, eval_minimum: what `sample` promises
    of each; 0 draws no line.
    """
    figure, axes = new_figure("positives", 7.2, 3.1)
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
    format_thousands(axes, "y")
    axes.legend(ncols=2, loc="upper right")
    axes.set_ylim(top=max([*train, 1]) * 4)
    return to_svg(
        figure, "Positives per tag in training and test, with the promised minimum."
    )


def _ranked(values: Sequence[float]) -> list[tuple[int, int]]:
    """Returns rank, counted from 1, and label of tags by falling value.

    Where there are more than MAX_TAGS, as many at equal steps, with both ends.
    """
    order = sorted(range(len(values)), key=lambda label: (-values[label], label))
    return [(place + 1, order[place]) for place in thinned(len(order), MAX_TAGS)]


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
    figure, axes = new_figure("tags_per_record", 3.6, 3.1)
    highest = max([*counts, 1])
    width = max(1, math.ceil((highest + 1) / 40))
    edges = [edge - 0.5 for edge in range(0, highest + width + 1, width)]
    axes.hist(counts, bins=edges, color=MODEL, rwidth=0.85)
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="tags on a training image", ylabel="images")
    format_thousands(axes, "y")
    return to_svg(figure, "Histogram of the number of tags on a training image.")


def frequencies(before: Sequence[float], after: Sequence[float]) -> str:
    """Share of images with each tag, before and after sampling, by label id.

    before: of the candidates. after: of the training images.
    """
    figure, axes = new_figure("frequencies", 10.8, 3.1)
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
    format_percentages(axes)
    add_legend_above(axes, columns=2)
    axes.set_ylim(top=1)
    return to_svg(
        figure,
        "Share of images with each tag among the candidates and in training.",
    )


def sides(longer: pl.Series, network: int) -> str:
    """Histogram of the longer side of the stored images.

    network: pixels of the side that the network sees.
    """
    figure, axes = new_figure("sides", 4.8, 2.9)
    axes.hist(longer.to_list(), bins=40, color=MODEL, rwidth=0.9)
    label = f"the network's input: {network:,}"
    axes.axvline(network, color=BLIND, linewidth=1.4, linestyle="--", label=label)
    axes.grid(visible=False, axis="x")
    axes.set(xlabel="pixels of the longer side", ylabel="images")
    axes.set_xlim(left=0)
    format_thousands(axes, "x")
    format_thousands(axes, "y")
    axes.legend()
    return to_svg(figure, "Histogram of the longer side of the stored images.")


def aspects(ratios: Sequence[float]) -> str:
    """Histogram of width over height of the stored images, on a log scale."""
    figure, axes = new_figure("aspects", 4.8, 2.9)
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
    format_thousands(axes, "y")
    axes.legend()
    return to_svg(figure, "Histogram of width over height of the stored images.")


def leakage(table: pl.DataFrame, near: int) -> str:
    """Distances of test images to their nearest and to a random training image.

    table: schemas.LEAKAGE. near: bits in which copies differ at most.
    """
    figure, axes = new_figure("leakage", 10.8, 2.9)
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
    format_thousands(axes, "y")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return to_svg(
        figure,
        "Distances of test images to their nearest training image, beside a "
        "random one's.",
    )


def _distances(
    axes: "Axes", table: pl.DataFrame, column: str, colour: str, text: str
) -> None:
    distances, counts = table["distance"].to_list(), table[column].to_list()
    axes.bar(distances, counts, 0.85, color=colour, alpha=0.75, label=text)
