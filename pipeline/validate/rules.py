"""The kinds of rules that suites are made of: each is one Great Expectations expectation, with words and severity."""

from collections.abc import Iterable
from typing import Any, Literal

from great_expectations import expectations as gxe
from great_expectations.expectations.expectation import Expectation

Severity = Literal["critical", "warning"]


def matches(
    column: str, pattern: str, description: str, *, severity: Severity = "critical"
) -> Expectation:
    """Every value, where there is one, matches the pattern."""
    return gxe.ExpectColumnValuesToMatchRegex(
        column=column, regex=pattern, description=description, severity=severity
    )


def one_of(
    column: str,
    values: Iterable[str | bool],
    description: str,
    *,
    severity: Severity = "critical",
) -> Expectation:
    """Every value, where there is one, is one of these."""
    plain = [value if isinstance(value, bool) else str(value) for value in values]
    return gxe.ExpectColumnValuesToBeInSet(
        column=column, value_set=plain, description=description, severity=severity
    )


def between(
    column: str,
    description: str,
    *,
    low: Any = None,
    high: Any = None,
    severity: Severity = "critical",
) -> Expectation:
    """Every value, where there is one, is within these bounds, themselves included."""
    return gxe.ExpectColumnValuesToBeBetween(
        column=column,
        min_value=low,
        max_value=high,
        description=description,
        severity=severity,
    )


def no_violations(
    finding: str, description: str, *, severity: Severity = "critical"
) -> Expectation:
    """No row breaks the rule of this name: a column of the table `findings`."""
    return gxe.ExpectColumnValuesToBeInSet(
        column=finding, value_set=[0], description=description, severity=severity
    )


def columns_equal(column: str, other: str, description: str) -> Expectation:
    """The two columns agree in every row."""
    return gxe.ExpectColumnPairValuesToBeEqual(
        column_A=column, column_B=other, description=description, severity="critical"
    )


def greater_than(
    column: str, other: str, description: str, *, severity: Severity = "critical"
) -> Expectation:
    """The first column is above the second in every row; not below it is enough for a warning."""
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=column,
        column_B=other,
        or_equal=severity == "warning",
        description=description,
        severity=severity,
    )
