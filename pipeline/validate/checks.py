"""The kinds of checks: each becomes one expectation of Great Expectations.

A check is a plain value: nothing here imports Great Expectations (5 s), which is needed
only when a gate runs. `gx_runner.py` converts checks into expectations.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from pipeline.validate.violations import Violations, listed

Severity = Literal["critical", "warning"]
"""A failed critical check stops the pipeline; a failed warning is only reported."""

FINDINGS = "findings"
"""The table with a column per rule that takes more than one row or file to check."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule about a column, or about two columns, of a table."""

    expectation: str  # name of a class in great_expectations.expectations
    arguments: Mapping[str, Any]  # of that class
    description: str  # what must hold, in words
    severity: Severity
    violations: Violations | None = None  # only of `no_violations`

    @property
    def columns(self) -> list[str]:
        """The columns that the check reads."""
        keys = ("column", "column_A", "column_B")
        return [self.arguments[key] for key in keys if key in self.arguments]


RowChecks = dict[str, list[Check]]
"""Checks of single rows, by the stem of the Parquet file."""


@dataclass(frozen=True, slots=True)
class MeasuredTable:
    """A small table that was measured from a dataset, and the checks of its rows."""

    name: str
    rows: pl.DataFrame
    checks: list[Check]


def findings_table(checks: Iterable[Check]) -> MeasuredTable:
    """Returns the counts of `no_violations` checks as a table of one row."""
    listed = list(checks)
    counts = {}
    for check in listed:
        if check.violations is not None:
            counts[check.columns[0]] = [check.violations.count]
    return MeasuredTable(FINDINGS, pl.DataFrame(counts), listed)


def matches(
    column: str, pattern: str, description: str, *, severity: Severity = "critical"
) -> Check:
    """Every value that is not null matches the pattern."""
    arguments = {"column": column, "regex": pattern}
    return Check("ExpectColumnValuesToMatchRegex", arguments, description, severity)


def one_of(
    column: str,
    values: Iterable[str | bool],
    description: str,
    *,
    severity: Severity = "critical",
) -> Check:
    """Every value that is not null is one of these."""
    allowed = [_plain(value) for value in values]
    arguments = {"column": column, "value_set": allowed}
    return Check("ExpectColumnValuesToBeInSet", arguments, description, severity)


def _plain(value: str | bool) -> str | bool:
    """Returns a member of an enum as a plain string."""
    return value if isinstance(value, bool) else str(value)


def between(
    column: str,
    description: str,
    *,
    low: Any = None,
    high: Any = None,
    severity: Severity = "critical",
) -> Check:
    """Every value that is not null is within these bounds; both are inclusive."""
    arguments = {"column": column, "min_value": low, "max_value": high}
    return Check("ExpectColumnValuesToBeBetween", arguments, description, severity)


def no_violations(
    column: str,
    description: str,
    found: Violations,
    *,
    severity: Severity = "critical",
) -> Check:
    """No row breaks the rule. column: the name of the rule in the table `findings`."""
    arguments = {"column": column, "value_set": [0]}
    kind = "ExpectColumnValuesToBeInSet"
    return Check(kind, arguments, description, severity, found)


def no_findings(
    column: str, found: Iterable[dict[str, Any]], checked: int, description: str
) -> Check:
    """Nothing was found that breaks the rule. checked: how many were looked at."""
    return no_violations(column, description, listed(list(found), checked))


def columns_equal(column: str, other: str, description: str) -> Check:
    """The two columns agree in every row."""
    arguments = {"column_A": column, "column_B": other}
    return Check("ExpectColumnPairValuesToBeEqual", arguments, description, "critical")


def greater_than(
    column: str, other: str, description: str, *, severity: Severity = "critical"
) -> Check:
    """The first column is greater than the second in every row.

    As a warning, the first may also equal the second.
    """
    arguments = {
        "column_A": column,
        "column_B": other,
        "or_equal": severity == "warning",
    }
    kind = "ExpectColumnPairValuesAToBeGreaterThanB"
    return Check(kind, arguments, description, severity)
