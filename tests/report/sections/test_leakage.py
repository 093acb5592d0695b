"""Section: leakage."""

import json

import polars as pl

from pipeline.paths import Paths
from pipeline.report import data_quality, inputs
from pipeline.report.sections import leakage
from pipeline.schemas.manifest import LEAKAGE
from tests.builders.report_inputs import section_of, text_of
from tests.builders.tables import change, write_json


def test_leakage_is_shown_as_medians_and_as_the_share_of_near_images(
    good: Paths, html: str
) -> None:
    found = data_quality.leakage(inputs.read(good), near=6)
    assert found == data_quality.Leakage(8, 9, 30, 0.25, 0.0)
    text = text_of(html)
    assert (
        "Bits to the nearest training image 9 random 30 Medians over 8 test images."
        in text
    )
    assert "At 6 bits or less 25.0 % random 0.0 %" in text


def test_copies_are_as_near_as_the_manifest_was_made_with(project: Paths) -> None:
    path = project.bundle / "lineage.json"
    lineage = json.loads(path.read_text())
    lineage["parameters"]["manifest"] = {"near_duplicate_distance": 9}
    write_json(path, lineage)
    text = text_of(section_of(leakage, project))
    named = "differ in 9 of 64 bits or less ( manifest.near_duplicate_distance )"
    assert named in text
    assert "At 9 bits or less 100.0 % random 0.0 %" in text
    assert "copies: 9 bits or less" in text
    assert "6 bits" not in text


def test_without_test_images_leakage_is_unknown(project: Paths) -> None:
    none = pl.lit(0, pl.Int64)
    change(
        project.manifest / "leakage.parquet",
        lambda rows: rows.with_columns(nearest=none, random=none),
        LEAKAGE,
    )
    assert "Unknown: there was no test image" in text_of(section_of(leakage, project))


def test_splits_are_shown_and_an_empty_one_is_absent(html: str) -> None:
    text = text_of(html)
    assert "train 15 48.4 % 15 1 2020-01-01 2020-01-01 2" in text
    assert "fresh absent: it has no record, unless sample.fresh_after is set 0" in text
