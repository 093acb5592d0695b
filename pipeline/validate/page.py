"""The Data Docs page of a gate: Great Expectations' results on one page of our own, with nothing fetched from anywhere.

The stock Data Docs load styles, scripts and a tracked picture from seven outside hosts; offline the marks for pass and
fail vanish. So the results, as worded by Great Expectations' renderer, go into this project's template and stylesheet.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from pipeline import files
from pipeline.validate import dataset_files

if TYPE_CHECKING:
    from pipeline.validate.gx_runner import ExpectationResult, GateResult

_HERE = Path(__file__).parent
MAX_MEASURED = 60  # rows of a measured table that is shown whole; one row per tag would bury the page
MAX_CELL = 200  # characters of a value shown; a post may have 2,000 tags

ABOUT: Mapping[str, str] = {
    "files": "Is every file there, and of the declared form?",
    "findings": "Rules that take more than one row or file to see. A column counts the rows that break its rule.",
    "figures": "Totals and shares.",
    "tags": "One row per tag of the vocabulary.",
    "lineage": "One row per file.",
    "shards": "One row per shard: what the index says beside what the file holds.",
    "splits": "One row per split.",
    "chosen": "What strategies.parquet says of the sample beside what the sample holds.",
    "distances": "What leakage.parquet adds up to.",
    "metrics": "One row per metric.",
    "headline": "The metrics that count, beside a model that never looks at the picture.",
    "others": "All other metrics, beside a model that never looks at the picture.",
}
"""What a measured table is. Tables of rows are named as their file."""


def write(place: Path, judgement: "GateResult") -> None:
    """Writes index.html, which holds all it needs."""
    files.write_text(place / "index.html", page(judgement))


def page(judgement: "GateResult") -> str:
    """Returns the page of a gate."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"cell": _cell, "state": _state, "given": _given}
    tables: dict[str, list[ExpectationResult]] = {}
    for outcome in judgement.outcomes:
        tables.setdefault(outcome.table, []).append(outcome)
    return environment.get_template("page.html.jinja").render(
        about=ABOUT,
        columns=_columns(judgement.dataset),
        complete=all(outcome.success for outcome in tables["files"]),
        dataset=judgement.dataset,
        measured={
            name: table
            for name, table in judgement.tables.items()
            if table.height <= MAX_MEASURED
        },
        outcomes=judgement.outcomes,
        rows=judgement.rows,
        style=(_HERE / "style.css").read_text(encoding="utf-8"),
        tables=tables,
    )


def _columns(dataset: str) -> dict[str, list[tuple[str, str, str]]]:
    """Returns name, type and meaning of every column of every Parquet file."""
    declared = dataset_files.PARQUET[dataset].items()
    return {
        stem: [
            (field.name, str(field.type), field.metadata[b"doc"].decode())
            for field in schema
        ]
        for stem, schema in declared
    }


def _state(outcome: "ExpectationResult") -> str:
    return "holds" if outcome.success else "failed" if outcome.stops else "noted"


def _given(outcome: "ExpectationResult") -> str:
    return ", ".join(f"{key} = {value}" for key, value in outcome.given.items())


def _cell(value: Any) -> str:
    text = (
        f"{value:.6g}"
        if isinstance(value, float)
        else ""
        if value is None
        else str(value)
    )
    return text if len(text) <= MAX_CELL else text[:MAX_CELL] + " …"
