"""Section: the metrics of parts of the held-out images and of the tags."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline.report import evaluation_plots
from pipeline.report.inputs import Inputs
from pipeline.report.sections.section import PageData, Values

TITLE = "Where it is better, where worse"
LINK = "Slices"

KINDS = {
    "tag_frequency": "tag frequency",
    "category": "tag category",
    "rating": "rating",
    "year": "year of the post",
    "aspect_ratio": "width over height",
    "size": "image size",
    "near_black": "darkness",
}
"""Kinds of slices in words, in the order of the page."""


SHOWN = ("test", "fresh")
"""Splits of the page; slices.parquet has the others too."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The slices of one kind, in their order. rows: of slices.parquet."""

    words: str
    rows: list[dict[str, Any]]


def build(data: PageData) -> Values:
    """Returns the plot of the test split, and every kind of slice by split.

    Without validation, on which thresholds were chosen.
    """
    slices = data.inputs.slices
    if slices is None or slices.is_empty():
        return {"splits": [], "plot": None}
    names = set(slices["split"])
    splits = []
    for split in SHOWN:
        if split not in names:
            continue
        of_split = slices.filter(pl.col("split") == split)
        splits.append((split, kinds(of_split)))
    return {"splits": splits, "plot": _plot(data.inputs, slices)}


def kinds(slices: pl.DataFrame) -> list[Kind]:
    """Returns the slices of a split by kind, those that KINDS does not know last."""
    present = set(slices["slice"])
    unknown = sorted(present - set(KINDS))
    found = []
    for name in [*KINDS, *unknown]:
        rows = slices.filter(pl.col("slice") == name).sort("position")
        if not rows.is_empty():
            found.append(Kind(KINDS.get(name, name.replace("_", " ")), rows.to_dicts()))
    return found


def _plot(inputs: Inputs, slices: pl.DataFrame) -> str | None:
    """Returns the plot of the test split; None where it has no metric."""
    rows = []
    for kind in kinds(slices.filter(pl.col("split") == "test")):
        measured = [row for row in kind.rows if row["macro_map"] is not None]
        for number, row in enumerate(measured):
            text = f"{row['value']}"
            if number == 0:
                text = f"{kind.words}:  {text}"
            rows.append({**row, "text": text})
    if not rows:
        return None
    of_all = inputs.metrics["splits"]["test"]["macro_map"]["value"]
    return evaluation_plots.slices(rows, of_all)
