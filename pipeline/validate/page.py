"""The Data Docs page of a gate: Great Expectations' results on one page of our own.

The stock Data Docs load styles, scripts and a tracking image from seven outside hosts;
offline the marks for pass and fail vanish. So the results, as worded by the renderer of
Great Expectations, go into this project's template and stylesheet: the page loads
nothing from anywhere.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import files, templates
from pipeline.validate import dataset_files
from pipeline.validate.gx_runner import ExpectationResult, GateResult

FOLDER = Path(__file__).parent
"""The folder of the template and the stylesheet."""

MAX_MEASURED = 60
"""Rows of a measured table that is shown in full; tables with a row per tag are not."""

MAX_CELL = 200  # characters of a value shown; a post may have 2,000 tags

ABOUT: Mapping[str, str] = {
    "files": "Is every file there, and of the declared form?",
    "findings": "Rules that take more than one row or file to check. "
    "A column counts the rows that break its rule.",
    "figures": "Totals and shares.",
    "tags": "One row per tag of the vocabulary.",
    "lineage": "One row per file.",
    "shards": "One row per shard: the index beside what the file holds.",
    "splits": "One row per split.",
    "chosen": "The sample in strategies.parquet beside what the sample holds.",
    "distances": "Sums of the columns of leakage.parquet.",
    "metrics": "One row per metric.",
    "headline": "The most important metrics, beside a model that never sees the image.",
    "others": "All other metrics, beside a model that never sees the image.",
}
"""What a measured table is. Tables of rows are named after their file."""


def write(folder: Path, result: GateResult) -> None:
    """Writes index.html, which holds all it needs."""
    files.write_text(folder / "index.html", render(result))


def render(result: GateResult) -> str:
    """Returns the page of a gate."""
    environment = templates.environment(FOLDER)
    environment.filters |= {"cell": _cell, "state": _state, "given": _given}
    results_by_table: dict[str, list[ExpectationResult]] = {}
    for each in result.results:
        results_by_table.setdefault(each.table, []).append(each)
    template = environment.get_template("page.html.jinja")
    return template.render(
        about=ABOUT,
        columns=_columns(result.dataset),
        complete=all(each.success for each in results_by_table["files"]),
        dataset=result.dataset,
        failed=result.failed,
        warnings=result.warnings,
        measured=_small_tables(result.tables),
        results=result.results,
        rows=result.rows,
        style=(FOLDER / "style.css").read_text(encoding="utf-8"),
        results_by_table=results_by_table,
    )


def _small_tables(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Returns the measured tables that are shown in full."""
    names = [name for name, table in tables.items() if table.height <= MAX_MEASURED]
    return {name: tables[name] for name in names}


def _columns(dataset: str) -> dict[str, list[tuple[str, str, str]]]:
    """Returns name, type and meaning of every column of every Parquet file."""
    columns = {}
    for stem, schema in dataset_files.PARQUET[dataset].items():
        described = []
        for field in schema:
            meaning = field.metadata[b"doc"].decode()
            described.append((field.name, str(field.type), meaning))
        columns[stem] = described
    return columns


def _state(result: ExpectationResult) -> str:
    """Returns the state of a result: also its class in the stylesheet."""
    if result.success:
        return "holds"
    return "failed" if result.fails_gate else "warning"


def _given(result: ExpectationResult) -> str:
    """Returns the arguments of a check as text."""
    return ", ".join(f"{key} = {value}" for key, value in result.given.items())


def _cell(value: Any) -> str:
    """Returns a value as the text of a table's cell."""
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_CELL else text[:MAX_CELL] + " …"
