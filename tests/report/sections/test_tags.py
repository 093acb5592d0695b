"""Section: tags."""

import json
import re

import polars as pl

from pipeline import parquet
from pipeline.paths import Paths
from pipeline.report import formats
from pipeline.report.sections import tags
from pipeline.schemas.evaluation import PER_TAG
from tests.builders.report_inputs import section_of
from tests.builders.tables import set_value


def test_a_tag_without_a_metric_gets_a_dash(project: Paths) -> None:
    nothing = dict.fromkeys(("auc", "average_precision", "baseline_average_precision"))
    set_value(
        project.evaluation / "per_tag.parquet",
        PER_TAG,
        "label_id",
        1,
        **nothing,
    )
    html = section_of(tags, project)
    (row,) = re.findall(r'<tr><th scope="row">fox</th>.*?</tr>', html)
    assert row.count(f">{formats.NONE}<") == 3


def test_calibration_uncertainty_and_confusions_are_shown_where_they_are_known(
    good: Paths,
) -> None:
    per_tag = parquet.read(good.evaluation / "per_tag.parquet")
    names = ["fox", "hat", "sun", "moon"]
    known = per_tag.with_columns(
        calibration_error=pl.lit(0.0312),
        mean_uncertainty=pl.lit(None, pl.Float64),
        confused_with=pl.lit(names),
    )
    table = tags.table(known)
    labels = [column.label for column in table.columns]
    assert labels[-2:] == ["calibration error", "most confused with"]
    assert table.rows[0][-2:] == ("0.031", "fox, hat, sun")


def test_eight_thousand_tags_stay_small(good: Paths) -> None:
    per_tag = parquet.read(good.evaluation / "per_tag.parquet")
    many = pl.concat([per_tag] * 2_667)
    table = tags.table(many)
    assert len(table.rows) > 8_000
    assert len(table.first_page) == 200
    assert len(json.dumps(table.content)) < 1_500_000
