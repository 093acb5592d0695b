"""Section: a table of every tag that can be sorted and searched."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from pipeline.report import formats
from pipeline.report.data_table import PAGE, Column, DataTable
from pipeline.report.sections.section import PageData, Values

TITLE = "Every tag"
LINK = "Tags"

CONFUSED = 3  # most confused tags named per tag

_TEXT = str
_COUNT: Callable[[Any], str] = formats.number
_SHARE: Callable[[Any], str] = formats.share


def _names(names: list[str] | None) -> str:
    return ", ".join((names or [])[:CONFUSED])


COLUMNS: Mapping[str, tuple[Column, Callable[[Any], str]]] = {
    "name": (Column("tag", "text"), _TEXT),
    "category": (Column("category", "text", css="text"), _TEXT),
    "train_positives": (Column("training", group="images"), _COUNT),
    "test_positives": (Column("test", group="images"), _COUNT),
    "auc": (Column("AUC"), _SHARE),
    "average_precision": (Column("model", group="average precision"), _SHARE),
    "baseline_average_precision": (
        Column("blind", group="average precision", css="blind"),
        _SHARE,
    ),
    "f1": (Column("model", group="F1"), _SHARE),
    "baseline_f1": (Column("blind", group="F1", css="blind"), _SHARE),
    "threshold": (Column("score", group="at the threshold"), _SHARE),
    "precision": (Column("precision", group="at the threshold"), _SHARE),
    "recall": (Column("recall", group="at the threshold"), _SHARE),
    "accuracy": (Column("model", group="accuracy"), _SHARE),
    "baseline_accuracy": (Column("blind", group="accuracy", css="blind"), _SHARE),
    "calibration_error": (Column("calibration error"), _SHARE),
    "mean_uncertainty": (Column("uncertainty"), _SHARE),
    "confused_with": (Column("most confused with", "text", css="text"), _names),
}
"""Columns of per_tag.parquet, and how their values are written."""


def build(data: PageData) -> Values:
    """Returns the rows of per_tag.parquet."""
    return {"table": table(data.inputs.per_tag)}


def table(per_tag: pl.DataFrame) -> DataTable:
    """Returns the table of the page. per_tag: schemas.PER_TAG.

    A column that has no value for any tag is left out.
    """
    shown = {}
    for name, (column, write) in COLUMNS.items():
        if name in per_tag.columns and per_tag[name].null_count() < per_tag.height:
            values = per_tag[name].to_list()
            shown[name] = (column, [write(value) for value in values])
    names = list(shown)
    return DataTable(
        label="Every tag with its metrics",
        noun="tags",
        file="data/evaluation/per_tag.parquet",
        columns=[column for column, _ in shown.values()],
        rows=list(zip(*(texts for _, texts in shown.values()), strict=True)),
        choice=names.index("category"),
        page=PAGE,
    )
