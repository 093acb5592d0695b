"""Runs the gate of a dataset: its files, then its rows, then what was measured."""

from collections.abc import Mapping
from typing import Protocol

import polars as pl

from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.validate import (
    bundle,
    dataset_files,
    evaluation,
    manifest,
    mining,
    rows,
    sample,
    shards,
    snapshot,
)
from pipeline.validate.checks import FINDINGS, Check, MeasuredTable, RowChecks, one_of
from pipeline.validate.dataset_files import AS_DECLARED
from pipeline.validate.gx_runner import ExpectationResult, GateResult, GateRunner


class DatasetRules(Protocol):
    """What the module of a dataset provides."""

    def row_checks(self, params: Params, labels: int, /) -> RowChecks:
        """Returns the checks of single rows. labels: tags in the vocabulary."""
        ...

    def measure(self, params: Params, paths: Paths, /) -> list[MeasuredTable]:
        """Returns measured tables with their checks.

        The files of the dataset, and those it is compared with, must be as declared.
        """
        ...


RULES: Mapping[str, DatasetRules] = {
    "snapshot": snapshot,
    "sample": sample,
    "manifest": manifest,
    "shards": shards,
    "evaluation": evaluation,
    "mining": mining,
    "bundle": bundle,
}
"""The rules of every dataset with a gate."""


def check_dataset(dataset: str, params: Params, paths: Paths) -> GateResult:
    """Checks the files and, if all are as declared, their rows and measurements."""
    states = dataset_files.states(dataset, paths)
    if not bool((states["state"] == AS_DECLARED).all()):
        return _check_only_files(dataset, states)
    # Measured before Great Expectations is imported: so the two peaks of memory do not
    # add up.
    measured = RULES[dataset].measure(params, paths)
    runner = GateRunner()
    results = runner.run("files", [_file_check()], [states])
    results += _check_rows(runner, dataset, params, paths)
    tables = {"files": states}
    for table in measured:
        results += runner.run(table.name, table.checks, [table.rows])
        if table.name != FINDINGS:
            tables[table.name] = table.rows
    counts = dataset_files.row_counts(dataset, paths)
    return GateResult(dataset, results, counts, tables)


def _check_only_files(dataset: str, states: pl.DataFrame) -> GateResult:
    """Reports which files are not as declared: nothing in them can be measured."""
    results = GateRunner().run("files", [_file_check()], [states])
    return GateResult(dataset, results, {}, {"files": states})


def _file_check() -> Check:
    description = "every file is there, readable, and of the declared columns and types"
    return one_of("state", [AS_DECLARED], description)


def _check_rows(
    runner: GateRunner, dataset: str, params: Params, paths: Paths
) -> list[ExpectationResult]:
    """Checks the rows of every Parquet file of the dataset."""
    labels = dataset_files.vocabulary_size(paths)
    folder = dataset_files.folder(dataset, paths)
    results = []
    for stem, checks in RULES[dataset].row_checks(params, labels).items():
        path = folder / f"{stem}.parquet"
        results += runner.run(path.name, checks, rows.chunks(path, checks))
    return results
