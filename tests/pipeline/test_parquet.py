"""Parquet files: the same rows give the same bytes, whatever the descriptions say."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import parquet
from pipeline.errors import CorruptFile
from pipeline.schemas.fields import TAG_NAMES, field

ROWS = [{"name": "fox", "aliases": ["vulpes"]}, {"name": "wolf", "aliases": []}]


def schema(description: str) -> pa.Schema:
    name = field("name", pa.string(), description)
    return pa.schema([name, field("aliases", TAG_NAMES, description)])


def test_an_edited_description_changes_no_byte(tmp_path: Path) -> None:
    for description in ("tag name", "name of the tag, unique"):
        parquet.write(tmp_path / description, ROWS, schema(description))
    first, second = (path.read_bytes() for path in tmp_path.iterdir())
    assert first == second
    assert str(parquet.stored_schema(schema("a"))) == str(
        parquet.stored_schema(schema("b"))
    )


def test_a_file_tells_its_schema_version_beside_what_its_writer_adds(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tags.parquet"
    parquet.write(path, ROWS, schema("tag name"), metadata={"lineage": "{}"})
    assert parquet.metadata(path) == {
        "schema_version": str(parquet.SCHEMA_VERSION),
        "lineage": "{}",
    }
    assert all(column.metadata is None for column in pq.read_schema(path))


def test_rows_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tags.parquet"
    with pytest.raises(TypeError):
        parquet.write(path, [{"name": 3, "aliases": []}], schema("tag name"))
    assert not path.exists()


def test_rows_are_ordered_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "tags.parquet"
    parquet.write(path, reversed(ROWS), schema("tag name"), order_by="name")
    assert parquet.read(path)["name"].to_list() == ["fox", "wolf"]


@pytest.mark.parametrize("column", [0, 1])
def test_a_damaged_page_of_any_column_and_row_group_is_found(
    tmp_path: Path, column: int
) -> None:
    path = tmp_path / "numbers.parquet"
    table = pa.table({"first": np.arange(3000), "second": np.arange(3000)})
    pq.write_table(table, path, row_group_size=1000, use_dictionary=False)
    parquet.check_readable(path)
    chunk = pq.read_metadata(path).row_group(2).column(column)
    content = bytearray(path.read_bytes())
    start = chunk.data_page_offset
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=r"numbers\.parquet cannot be read"):
        parquet.check_readable(path)
