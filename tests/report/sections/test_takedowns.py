"""Section: takedowns."""

import polars as pl

from pipeline.paths import Paths
from pipeline.report.sections import takedowns
from pipeline.schemas.images import TAKEDOWNS
from pipeline.schemas.reasons import Takedown
from tests.builders.report_inputs import section_of, text_of
from tests.builders.tables import change


def test_takedowns_are_counted_by_snapshot_and_reason(
    project: Paths, html: str
) -> None:
    assert (
        "2026-07-01T01:00:02.000-04:00 deleted on the site (policy rule 1) 1"
        in text_of(html)
    )
    change(
        project.images / "takedowns.parquet",
        lambda frame: frame.clear(),
        TAKEDOWNS,
    )
    assert "No stored image had to be removed." in text_of(
        section_of(takedowns, project)
    )


def test_takedown_reasons_that_no_policy_rule_covers_have_their_sentence(
    project: Paths,
) -> None:
    path = project.images / "takedowns.parquet"
    change(
        path,
        lambda frame: frame.with_columns(reason=pl.lit(Takedown.EXPUNGED.value)),
        TAKEDOWNS,
    )
    assert Takedown.EXPUNGED.sentence in text_of(section_of(takedowns, project))
