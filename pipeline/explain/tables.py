"""Rows of the tables that an answer is made of, and names in a line."""

from pathlib import Path
from typing import Any

import polars as pl

from pipeline import parquet, policy
from pipeline.paths import Paths

SHOWN = 12  # names in a line


def effective(paths: Paths, name: str) -> pl.DataFrame:
    """Returns the aliases or implications that the site applies."""
    is_effective = pl.col("status").is_in(sorted(policy.EFFECTIVE))
    columns = ["antecedent", "consequent", "status"]
    return read_rows(paths.snapshot / f"{name}.parquet", is_effective, columns)


def find_row(path: Path, key: str, value: int | str) -> dict[str, Any] | None:
    """Returns the one row with this key.

    Reads only the row groups that may hold it by their statistics.
    """
    rows = read_rows(path, pl.col(key) == value).to_dicts()
    return rows[0] if rows else None


def read_rows(
    path: Path, condition: pl.Expr, columns: list[str] | None = None
) -> pl.DataFrame:
    """Returns the rows that fulfil the condition.

    By Polars alone: PyArrow's filters import pandas, half a second.
    """
    try:
        rows = pl.scan_parquet(path).filter(condition)
        if columns:
            rows = rows.select(columns)
        return rows.collect()
    except (pl.exceptions.ComputeError, OSError) as error:
        raise parquet.corrupt_file_error(path, error) from error


def join_names(names: list[str]) -> str:
    """Returns the first names, and how many more there are."""
    text = ", ".join(names[:SHOWN])
    if len(names) > SHOWN:
        text += f" and {len(names) - SHOWN:,} more"
    return text
