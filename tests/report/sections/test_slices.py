"""Section: slices."""

from typing import Any

import polars as pl
import pytest

from pipeline.errors import CorruptFile
from pipeline.paths import Paths
from pipeline.report import inputs
from pipeline.report.formats import NONE
from pipeline.report.sections import slices
from tests.builders.report_inputs import section_of, text_of

ROW: dict[str, Any] = {
    "split": "test",
    "slice": "rating",
    "value": "s",
    "position": 0,
    "records": 6,
    "tags": 3,
    "positives": 1_234,
    "macro_map": 0.9123,
    "macro_map_baseline": 0.4567,
    "macro_map_low": 0.881,
    "macro_map_high": 0.942,
    "macro_auc": 0.95,
    "micro_f1": 0.8,
    "micro_f1_baseline": 0.3,
    "absent": None,
}

NUMBERS = [name for name in ROW if name.startswith(("macro", "micro"))]


def write(paths: Paths, *rows: dict[str, Any]) -> None:
    """Writes slices.parquet."""
    types = dict.fromkeys(NUMBERS, pl.Float64) | {"absent": pl.String}
    frame = pl.DataFrame(list(rows), schema_overrides=types)
    frame.write_parquet(paths.evaluation / "slices.parquet")


def test_a_slice_is_shown_with_its_interval_beside_its_baseline(
    project: Paths,
) -> None:
    second = ROW | {"value": "q", "position": 1, "macro_map_low": None}
    write(project, second, ROW)
    html = section_of(slices, project)
    text = text_of(html)
    assert "s 6 3 1,234 0.912 0.881 to 0.942 0.457 0.950 0.800 0.300" in text
    assert "q 6 3 1,234 0.912 absent 0.457" in text
    assert html.count("<svg") == 1


def test_a_slice_that_cannot_be_measured_is_absent_with_the_reason(
    project: Paths,
) -> None:
    nothing = dict.fromkeys(NUMBERS) | {"absent": "no tag has positives", "records": 0}
    write(project, ROW, ROW | {"value": "e", "position": 1} | nothing)
    text = text_of(section_of(slices, project))
    assert f"e 0 3 1,234 absent: no tag has positives {NONE} {NONE} {NONE}" in text
    write(project, ROW | nothing)
    html = section_of(slices, project)
    assert "<svg" not in html
    assert "absent: no tag has positives" in text_of(html)


def test_kinds_have_their_order_and_unknown_ones_come_last(project: Paths) -> None:
    kinds = ("artist", "year", "tag_frequency")
    write(project, *(ROW | {"slice": kind} for kind in kinds))
    table = inputs.read(project).slices
    assert table is not None
    words = [kind.words for kind in slices.kinds(table)]
    assert words == ["tag frequency", "year of the post", "artist"]


def test_splits_that_thresholds_were_chosen_on_are_left_out(project: Paths) -> None:
    write(project, ROW, ROW | {"split": "validation"}, ROW | {"split": "fresh"})
    html = section_of(slices, project)
    assert "<h3>Test</h3>" in html
    assert "<h3>Fresh</h3>" in html
    assert "<h3>Validation</h3>" not in html


def test_the_first_slice_that_is_drawn_names_its_kind(project: Paths) -> None:
    nothing = dict.fromkeys(NUMBERS) | {"absent": "no image"}
    wide = ROW | {"slice": "aspect_ratio", "value": "wide", "position": 1}
    write(project, wide | {"value": "tall", "position": 0} | nothing, wide)
    assert "width over height:  wide</text>" in section_of(slices, project)


def test_an_evaluation_without_slices_is_absent(project: Paths) -> None:
    (project.evaluation / "slices.parquet").unlink()
    assert "Absent: the evaluation has no slices." in text_of(
        section_of(slices, project)
    )


def test_damaged_slices_are_named(project: Paths) -> None:
    (project.evaluation / "slices.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorruptFile, match=r"slices\.parquet cannot be read"):
        inputs.read(project)
