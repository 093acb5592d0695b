"""Plots of a training run, epoch by epoch."""

from typing import TYPE_CHECKING

import polars as pl

from pipeline.report.plot_style import (
    BLIND,
    MODEL,
    OTHER,
    SOFT,
    new_figure,
    to_svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def loss(history: pl.DataFrame, best: int) -> str:
    """Loss per epoch, beside what tag frequencies alone reach on validation."""
    figure, axes = new_figure("loss", 4.8, 3.1)
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
    return to_svg(
        figure, "Training and validation loss per epoch beside the image-blind loss."
    )


def validation(history: pl.DataFrame, best: int) -> str:
    """Validation metrics per epoch beside their baselines."""
    figure, axes = new_figure("validation", 4.8, 3.1)
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
    return to_svg(
        figure,
        "Validation macro AUC and mAP per epoch beside their image-blind baselines.",
    )


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
