"""The gates: a dataset is judged by Great Expectations before the next stage may read it.

Reads       data/<dataset>/ and the dataset before it    as in `dvc.yaml`
Writes      data/gates/<dataset>/verdict.json            every expectation with its outcome; sorted, no times
            reports/gates/<dataset>/index.html           the same as a page, with offending rows
Guarantees  same data and parameters, same verdict; both are written also when the gate fails; memory is flat in rows.

Great Expectations judges, Polars measures: row-local rules run over the files chunk by chunk, global rules over small
tables that Polars computes. The rules are in `pipeline/validate/expectations.py`.
"""

import json
from typing import TYPE_CHECKING, Any

from pipeline import files, progress
from pipeline.errors import BadParameter, GateFailed
from pipeline.params import Params
from pipeline.paths import DATASETS, Paths

if TYPE_CHECKING:
    from pipeline.validate.gx_runner import ExpectationResult, GateResult

PRINTED = 5  # offending rows printed per failed expectation


def run(dataset: str, params: Params, paths: Paths) -> None:
    """Judges one dataset; raises GateFailed when a critical expectation does not hold."""
    if dataset not in DATASETS:
        raise BadParameter(
            f"there is no gate for {dataset!r}. Gates: {', '.join(DATASETS)}."
        )
    import polars as pl
    import pyarrow as pa

    from pipeline.validate import page

    try:
        judgement = examine(dataset, params, paths)
    except (pl.exceptions.ComputeError, pa.ArrowInvalid, OSError):
        _name_damaged(
            paths
        )  # pages are read here first: a whole footer says nothing of them
        raise
    outcomes = judgement.outcomes
    files.write_text(paths.verdict(dataset), verdict(judgement))
    page.write(paths.data_docs(dataset), judgement)
    failed = [outcome for outcome in outcomes if not outcome.success]
    for outcome in failed:
        progress.log(_details(dataset, outcome))
    stopping = [outcome for outcome in failed if outcome.stops]
    if stopping:
        raise GateFailed(_summary_line(dataset, stopping, paths))
    noted = f", {len(failed)} only noted" if failed else ""
    progress.log(
        f"validate {dataset}: {len(outcomes) - len(failed)} of {len(outcomes)} expectations hold{noted}"
    )


def _name_damaged(paths: Paths) -> None:
    """Raises CorruptFile naming the first table of any dataset that cannot be read to its end."""
    from pipeline import parquet

    for path in sorted(paths.data.glob("*/*.parquet")):
        if path.parent != paths.images:
            parquet.read(path)


def examine(dataset: str, params: Params, paths: Paths) -> "GateResult":
    """Judges the files, then, if all are as declared, their rows and what was measured over them."""
    from pipeline.validate import (
        dataset_files,
        gx_runner,
        importing,
        measurements,
        rows,
    )

    states = dataset_files.states(dataset, paths)
    whole = bool((states["state"] == dataset_files.AS_DECLARED).all())
    # Measured before Great Expectations is imported: the two peaks of memory do not add up.
    measured = (
        measurements.measure(dataset, params, paths)
        if whole
        else measurements.Measurements()
    )
    importing.great_expectations()
    from pipeline.validate import expectations

    court = gx_runner.GateRunner()
    outcomes = court.judge("files", expectations.files(), [states])
    if not whole:
        return gx_runner.GateResult(dataset, outcomes, {}, {"files": states})
    for stem, suite in expectations.rows(
        dataset, params, dataset_files.vocabulary_size(paths)
    ).items():
        path = dataset_files.folder(dataset, paths) / f"{stem}.parquet"
        outcomes += court.judge(path.name, suite, rows.chunks(path, suite))
    suites = expectations.profile(dataset, params)
    for table, frame in measured.frames().items():
        outcomes += court.judge(table, suites[table], [frame])
    for outcome in outcomes:
        if outcome.table == measurements.FINDINGS:
            finding = measured.findings[outcome.column]
            outcome.checked, outcome.unexpected, outcome.samples = (
                finding.checked,
                finding.count,
                finding.rows,
            )
    return gx_runner.GateResult(
        dataset,
        outcomes,
        dataset_files.row_counts(dataset, paths),
        {"files": states, **measured.tables},
    )


def verdict(judgement: "GateResult") -> str:
    """Returns the content of verdict.json."""
    told = [
        {
            "table": outcome.table,
            "column": outcome.column,
            "rule": outcome.rule,
            "given": {
                key: to_json_value(value) for key, value in outcome.given.items()
            },
            "description": outcome.description,
            "severity": outcome.severity,
            "success": outcome.success,
            "checked": outcome.checked,
            "unexpected": outcome.unexpected,
        }
        for outcome in judgement.outcomes
    ]
    success = not any(outcome.stops for outcome in judgement.outcomes)
    content = {
        "dataset": judgement.dataset,
        "success": success,
        "rows": judgement.rows,
        "expectations": told,
    }
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def to_json_value(value: Any) -> Any:
    """Returns an argument or a value of a row as JSON can say it."""
    if isinstance(value, list | tuple):
        return [to_json_value(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _details(dataset: str, outcome: "ExpectationResult") -> str:
    """Returns what is printed for a failed expectation: what must hold, how often it does not, a few rows."""
    head = "failed" if outcome.stops else "noted (warning)"
    lines = [
        f"validate {dataset}: {head}: {outcome.description}",
        f"  expectation {outcome.rule} {json.dumps({key: to_json_value(value) for key, value in outcome.given.items()})}",
        f"  column {outcome.table}: {outcome.column}",
        f"  {outcome.observed}",
    ]
    rows = outcome.samples[:PRINTED]
    lines += [
        "    " + "  ".join(f"{name}={str(value)[:120]}" for name, value in row.items())
        for row in rows
    ]
    return "\n".join(lines)


def _summary_line(
    dataset: str, stopping: list["ExpectationResult"], paths: Paths
) -> str:
    first, page = stopping[0], paths.data_docs(dataset) / "index.html"
    others = f" {len(stopping) - 1} more failed." if len(stopping) > 1 else ""
    return (
        f"gate {dataset}: {first.rule} on {first.table}: {first.column} failed, {first.observed}: "
        f"{first.description}.{others} See {page}, mend what it shows, then run dvc repro."
    )
