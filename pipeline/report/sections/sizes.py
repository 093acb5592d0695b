"""Section: sizes, aspects and formats of the stored images."""

from typing import Any

import polars as pl

from pipeline.report import data_plots
from pipeline.report.inputs import Inputs
from pipeline.report.sections.lineage import parameters
from pipeline.report.sections.section import PageData, Values

TITLE = "Sizes of the images"
LINK = "Sizes"

FAR_FROM_SQUARE = 2  # the longer side over the shorter


def build(data: PageData) -> Values:
    """Returns shares of small and narrow images, the formats, and the plots."""
    records = data.inputs.records
    used = parameters(data.inputs, data.params)
    network, fit = used["train"]["size"], used["shard"]["fit"]
    longer = pl.max_horizontal("width", "height")
    shorter = pl.min_horizontal("width", "height")
    shares = records.select(
        small=(longer < network).mean(),
        narrow=(longer >= FAR_FROM_SQUARE * shorter).mean(),
    ).row(0, named=True)
    ratios = records["width"] / records["height"]
    return {
        "records": records.height,
        "fit": fit,
        "network": network,
        "shares": shares,
        "formats": formats(data.inputs),
        "sides_plot": data_plots.sides(records.select(longer).to_series(), network),
        "aspects_plot": data_plots.aspects(ratios.to_list()),
    }


def formats(inputs: Inputs) -> list[dict[str, Any]]:
    """Returns each format with its images and medians, the commonest first."""
    by_format = inputs.records.group_by("format").agg(
        pl.len().alias("images"),
        pl.col("bytes").sum().alias("bytes"),
        pl.col("width").median().cast(pl.Int64),
        pl.col("height").median().cast(pl.Int64),
    )
    return by_format.sort("images", "format", descending=[True, False]).to_dicts()
