"""Reads and writes Parquet files.

They are cast to a schema of `pipeline.schemas` and ordered, either whole or not there,
and the same rows give the same bytes. The descriptions of the columns stay in the code:
a better sentence changes no file.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import files, os_errors
from pipeline.errors import CorruptFile, E6tagError

SCHEMA_VERSION = 2
"""Version of the names of tables and columns, in each file's metadata.

1 had no such key: `left_out.parquet`, `dropped.parquet`, `given_ids`, `taken_for`.
"""
ROW_GROUP = 100_000  # rows; bounds the memory of readers that go group by group


def write(
    path: Path,
    rows: pa.Table | pl.DataFrame | Iterable[Mapping[str, Any]],
    schema: pa.Schema,
    *,
    order_by: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes one Parquet file.

    metadata: what else the file says of itself.
    """
    table = cast(rows, stored_schema(schema, metadata))
    if order_by is not None:
        table = table.sort_by(order_by)
    with files.open_atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROW_GROUP)


def stored_schema(
    schema: pa.Schema, metadata: Mapping[str, str] | None = None
) -> pa.Schema:
    """Returns a schema of `pipeline.schemas` as a file holds it.

    Its columns have no descriptions; its metadata is `schema_version` and `metadata`.
    """
    columns = [column.remove_metadata() for column in schema]
    return pa.schema(
        columns, {"schema_version": str(SCHEMA_VERSION), **(metadata or {})}
    )


def cast(
    rows: pa.Table | pl.DataFrame | Iterable[Mapping[str, Any]], schema: pa.Schema
) -> pa.Table:
    """Returns the rows as a table of exactly this schema.

    Raises TypeError or pyarrow.ArrowInvalid where a value does not fit.
    """
    if not isinstance(rows, pa.Table | pl.DataFrame):
        rows = frame(list(rows), schema)
    if isinstance(rows, pl.DataFrame):
        rows = rows.select(schema.names).to_arrow()
    return rows.select(schema.names).cast(schema)


def frame(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pl.DataFrame:
    """Returns rows as a frame of the schema's types, also where there are none.

    Raises TypeError where a value is of another type. Not by pyarrow, which imports
    pandas as soon as it sees a list: a second of CPU in every stage.
    """
    columns = []
    for name, kind in pl.Schema(schema).items():
        values = [row.get(name) for row in rows]
        columns.append(pl.Series(name, values, kind))
    return pl.DataFrame(columns)


def read(path: Path, columns: list[str] | None = None) -> pl.DataFrame:
    """Reads one Parquet file; raises CorruptFile naming it when it cannot be read."""
    try:
        # Not pq.read_table, which imports pandas: a second of CPU in every stage.
        with pq.ParquetFile(path) as file:
            lacking = set(columns or ()) - set(file.schema_arrow.names)
            if lacking:
                names = ", ".join(sorted(lacking))
                raise corrupt_file_error(path, ValueError(f"it has no column {names}"))
            return pl.from_arrow(file.read(columns=columns))  # type: ignore[return-value]
    except (pa.ArrowInvalid, OSError) as error:
        raise corrupt_file_error(path, error) from error


def check_readable(path: Path) -> None:
    """Reads every page of a file; raises CorruptFile naming it when one is damaged.

    Holds one column of one row group at a time, so that memory does not grow with rows.
    """
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                for column in file.schema_arrow.names:
                    file.read_row_group(group, columns=[column])
    except (pa.ArrowInvalid, OSError) as error:
        raise corrupt_file_error(path, error) from error


def metadata(path: Path) -> dict[str, str]:
    """Returns the text metadata of a file without the keys of Arrow and pandas."""
    try:
        raw = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise corrupt_file_error(path, error) from error
    text = {}
    for key, value in raw.items():
        if not key.startswith((b"ARROW", b"pandas")):
            text[key.decode()] = value.decode()
    return text


def corrupt_file_error(path: Path, error: Exception) -> E6tagError:
    """Returns the error to raise for a file that cannot be read, or is not there.

    It is CorruptFile unless the machine is to blame: no file is damaged because memory
    or open files run out.
    """
    explained = os_errors.explain(error, path, verb="read")
    if explained is not None:
        return explained
    if isinstance(error, FileNotFoundError):
        return CorruptFile(
            f"{path} is not there. Run dvc repro: the stage that writes it makes it."
        )
    why = " ".join(str(error).split())[:200]
    return CorruptFile(
        f"{path} cannot be read: {why}. Delete it and run dvc repro again: the stage "
        "that writes it makes it anew."
    )
