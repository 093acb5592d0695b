"""The gates: Great Expectations checks a dataset before the next stage may read it.

Reads       data/<dataset>/ and the dataset before it    as in `dvc.yaml`
Writes      data/gates/<dataset>/verdict.json            every check with its result;
                                                         sorted, without times
            reports/gates/<dataset>/index.html           the same with offending rows
Guarantees  same data and parameters, same verdict; both are written also when the gate
            fails; memory does not grow with rows.

Rules about single rows run over the files chunk by chunk. Rules that take more than one
row are counted by Polars, and Great Expectations checks the small tables of counts.
Each dataset has a module here, such as `snapshot.py`, with all of its rules; `bundle/`
has a module per kind of rule. A new rule is one `yield` there.
"""

import json
from typing import TYPE_CHECKING

from pipeline import files, progress
from pipeline.errors import BadParameter, GateFailed
from pipeline.params import Params
from pipeline.paths import DATASETS, Paths

if TYPE_CHECKING:
    from pipeline.validate.gx_runner import ExpectationResult, GateResult

PRINTED = 5  # offending rows printed per failed check
MAX_VALUE = 120  # characters of a value that are printed


def run(dataset: str, params: Params, paths: Paths) -> None:
    """Checks one dataset; raises GateFailed when a critical check fails."""
    if dataset not in DATASETS:
        gates = ", ".join(DATASETS)
        raise BadParameter(f"there is no gate for {dataset!r}. Gates: {gates}.")
    from pipeline.validate import page, verdict

    result = _run_gate(dataset, params, paths)
    files.write_text(paths.verdict(dataset), verdict.to_json(result))
    page.write(paths.data_docs(dataset), result)
    for failure in result.results:
        if not failure.success:
            progress.log(_details(dataset, failure))
    if result.failed:
        raise GateFailed(_summary_of_failure(result.failed, dataset, paths))
    progress.log(_summary_of_success(result))


def _run_gate(dataset: str, params: Params, paths: Paths) -> "GateResult":
    """Runs the gate; raises CorruptFile naming a table that cannot be read."""
    import polars as pl
    import pyarrow as pa

    from pipeline.validate import gate

    try:
        return gate.check_dataset(dataset, params, paths)
    except (pl.exceptions.ComputeError, pa.ArrowInvalid, OSError):
        # The state of a file comes from its footer: its pages may still be damaged.
        _raise_for_corrupt_table(paths)
        raise


def _raise_for_corrupt_table(paths: Paths) -> None:
    """Raises CorruptFile for the first table of any dataset that cannot be read."""
    from pipeline import parquet

    for path in sorted(paths.data.glob("*/*.parquet")):
        if path.parent != paths.images:
            parquet.check_readable(path)


def _details(dataset: str, result: "ExpectationResult") -> str:
    """Returns the lines that are printed for a failed check, with a few rows."""
    from pipeline.validate.verdict import to_json_value

    head = "failed" if result.fails_gate else "warning"
    given = json.dumps(to_json_value(result.given))
    lines = [
        f"validate {dataset}: {head}: {result.description}",
        f"  expectation {result.rule} {given}",
        f"  column {result.table}: {result.column}",
        f"  {result.observed}",
    ]
    for row in result.samples[:PRINTED]:
        values = [f"{name}={str(value)[:MAX_VALUE]}" for name, value in row.items()]
        lines.append("    " + "  ".join(values))
    return "\n".join(lines)


def _summary_of_failure(
    failed: list["ExpectationResult"], dataset: str, paths: Paths
) -> str:
    """Returns the message of a failed gate: the first failed check in full."""
    first = failed[0]
    page = paths.data_docs(dataset) / "index.html"
    others = f" {len(failed) - 1} more failed." if len(failed) > 1 else ""
    return (
        f"gate {dataset}: {first.rule} on {first.table}: {first.column} failed, "
        f"{first.observed}: {first.description}.{others} "
        f"See {page}, fix what it shows, then run dvc repro."
    )


def _summary_of_success(result: "GateResult") -> str:
    """Returns the line that is printed for a gate that passed."""
    total = len(result.results)
    warnings = len(result.warnings)
    line = f"validate {result.dataset}: {total - warnings} of {total} expectations hold"
    return f"{line}, {warnings} warnings" if warnings else line
