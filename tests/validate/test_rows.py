"""Facts about list columns, computed while a file is read."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.validate import rows
from pipeline.validate.checks import between, columns_equal, one_of

LABELS = pl.List(pl.Int32)


def compute(fact: str, kind: pl.DataType, values: list[Any]) -> list[Any]:
    """Returns a fact about each of some lists. Their posts have the labels 1 and 2."""
    frame = pl.DataFrame({"values": values}, schema={"values": kind})
    label_ids = pl.lit([1, 2], dtype=LABELS)
    frame = frame.with_columns(label_ids=label_ids)
    return frame.select(rows.FACTS[fact]("values")).to_series().to_list()


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        pytest.param("length", [0, 1, 2, 2, 2], id="length"),
        pytest.param("min", [None, 2, 1, 2, 1], id="min"),
        pytest.param("max", [None, 2, 3, 2, 3], id="max"),
        pytest.param("ascending", [True, True, True, False, False], id="ascending"),
        pytest.param("unique", [True, True, True, False, True], id="unique"),
        pytest.param("foreign", [0, 0, 1, 0, 1], id="foreign"),
    ],
)
def test_facts_about_lists_of_labels(fact: str, expected: list[Any]) -> None:
    lists = [[], [2], [1, 3], [2, 2], [3, 1]]

    assert compute(fact, LABELS, lists) == expected


def test_blank_names_are_counted() -> None:
    lists = [[], ["fox", "tab\t", "\u3000"], ["", "two words", "a "], ["hat", " "]]

    assert compute("blank", pl.List(pl.String), lists) == [0, 0, 3, 1]


def test_scores_that_are_no_numbers_are_counted() -> None:
    lists = [[], [0.5], [float("nan"), float("inf"), 0.5]]

    assert compute("undefined", pl.List(pl.Float32), lists) == [0, 0, 2]


def test_only_checked_and_identifying_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "posts.parquet"
    table = {"post_id": [1, 2], "tags": [["a"], []], "other": [0, 0], "x": [5, 6]}
    pl.DataFrame(table).write_parquet(path)
    checks = [between("x", ""), one_of("tags:unique", [True], "")]
    (chunk,) = rows.chunks(path, checks)

    assert chunk.columns == ["post_id", "x", "tags:unique"]
    assert chunk["tags:unique"].to_list() == [True, True]


def test_chunks_together_are_the_file(tmp_path: Path) -> None:
    path = tmp_path / "posts.parquet"
    pl.DataFrame({"a": range(5), "b": range(5)}).write_parquet(path)
    chunks = list(rows.chunks(path, [columns_equal("a", "b", "")], size=2))

    assert [chunk.height for chunk in chunks] == [2, 2, 1]
    assert pl.concat(chunks)["a"].to_list() == list(range(5))


def test_a_file_without_rows_is_one_chunk_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "posts.parquet"
    pl.DataFrame({"a": []}, schema={"a": pl.Int64}).write_parquet(path)
    (chunk,) = rows.chunks(path, [between("a", "")])

    assert chunk.is_empty()
    assert chunk.columns == ["a"]
