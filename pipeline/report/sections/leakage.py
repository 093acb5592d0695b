"""Section: the splits, and how near the test images are to the training images."""

from typing import Any

import polars as pl

from pipeline.paths import SPLITS
from pipeline.report import data_plots, data_quality
from pipeline.report.inputs import Inputs
from pipeline.report.sections.lineage import parameters
from pipeline.report.sections.section import PageData, Values

TITLE = "Splits, and could the test have leaked?"
LINK = "Splits and leakage"


def build(data: PageData) -> Values:
    """Returns the medians and shares, and the plot of the distances."""
    manifest = parameters(data.inputs, data.params)["manifest"]
    near = manifest["near_duplicate_distance"]
    return {
        "leakage": data_quality.leakage(data.inputs, near),
        "near": near,
        "splits": splits(data.inputs),
        "plot": data_plots.leakage(data.inputs.leakage, near),
    }


def splits(inputs: Inputs) -> list[dict[str, Any]]:
    """Returns records, families, tags, days of upload and rejections of every split."""
    counted = inputs.records.group_by("split").agg(
        pl.len().alias("records"),
        pl.col("group_id").n_unique().alias("families"),
        pl.col("tags").median(),
        pl.col("created_at").min().dt.strftime("%Y-%m-%d").alias("first"),
        pl.col("created_at").max().dt.strftime("%Y-%m-%d").alias("last"),
    )
    by_split = {row["split"]: row for row in counted.to_dicts()}
    rejected = dict(inputs.rejected.group_by("split").len().iter_rows())
    rows = []
    for split in SPLITS:
        row = by_split.get(split, {"split": split, "records": 0})
        row["share"] = row["records"] / max(1, inputs.records.height)
        row["rejected"] = rejected.get(split, 0)
        rows.append(row)
    return rows
