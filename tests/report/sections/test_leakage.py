"""Section: leakage."""

import polars as pl

from pipeline.paths import Paths
from pipeline.report import data_quality, inputs
from pipeline.schemas.manifest import LEAKAGE
from tests.builders.report_inputs import text_of, written
from tests.builders.tables import change


def test_leakage_is_shown_as_medians_and_as_the_share_of_near_images(
    good: Paths, html: str
) -> None:
    assert data_quality.leakage(inputs.read(good)) == data_quality.Leakage(
        8, 9, 30, 0.25, 0.0
    )
    text = text_of(html)
    assert (
        "Bits to the nearest training image 9 random 30 Medians over 8 test images."
        in text
    )
    assert "At 6 bits or less 25.0 % random 0.0 %" in text


def test_without_test_images_leakage_is_unknown(project: Paths) -> None:
    none = pl.lit(0, pl.Int64)
    change(
        project.manifest / "leakage.parquet",
        lambda rows: rows.with_columns(nearest=none, random=none),
        LEAKAGE,
    )
    assert "Unknown: there was no test image" in text_of(written(project))
