"""Runs checks with Great Expectations, chunk by chunk, and merges the results.

Guarantees  the result does not depend on where chunks are cut: counts are summed, and
            samples are the first in the order of the rows.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.errors import BadInput
from pipeline.validate.checks import Check
from pipeline.validate.rows import IDENTITY
from pipeline.validate.violations import SAMPLES

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation import Expectation


@dataclass(slots=True)
class ExpectationResult:
    """The result of one check over all chunks of its table."""

    table: str
    column: str
    rule: str  # the type of the expectation
    given: dict[str, Any]  # its arguments
    description: str
    severity: str
    text: str  # the rule in Great Expectations' words
    success: bool = True
    checked: int = 0
    unexpected: int = 0
    # The first offending rows: the columns that identify the row, and the value.
    samples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def observed(self) -> str:
        """How many values were unexpected, in words."""
        return f"{self.unexpected:,} of {self.checked:,} unexpected"

    @property
    def fails_gate(self) -> bool:
        """Whether this result fails the gate."""
        return not self.success and self.severity == "critical"

    @property
    def is_warning(self) -> bool:
        """Whether the check failed without failing the gate."""
        return not self.success and self.severity != "critical"


@dataclass(frozen=True, slots=True)
class GateResult:
    """All results of a gate."""

    dataset: str
    results: list[ExpectationResult]
    rows: Mapping[str, int]  # by file
    tables: Mapping[str, pl.DataFrame]  # measured tables by name

    @property
    def failed(self) -> list[ExpectationResult]:
        """Results that fail the gate."""
        return [result for result in self.results if result.fails_gate]

    @property
    def warnings(self) -> list[ExpectationResult]:
        """Results that are reported and do not fail the gate."""
        return [result for result in self.results if result.is_warning]


class GateRunner:
    """One Great Expectations context without a store: checks in, results out."""

    def __init__(self) -> None:
        gx = _great_expectations()
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        source = context.data_sources.add_pandas("polars")
        asset = source.add_dataframe_asset("chunk")
        self._batches = asset.add_batch_definition_whole_dataframe("chunk")

    def run(
        self, table: str, checks: list[Check], chunks: Iterable[pl.DataFrame]
    ) -> list[ExpectationResult]:
        """Returns a result per check, in their order.

        A table without rows is passed as one chunk without rows.
        """
        gx = _great_expectations()
        expectations = []
        results = []
        for number, check in enumerate(checks):
            expectation = _to_expectation(check, number)
            expectations.append(expectation)
            results.append(_initial_result(table, check, expectation))
        suite = gx.ExpectationSuite(name=table, expectations=expectations)
        for chunk in chunks:
            for found in self._validate(suite, chunk):
                number = found.expectation_config.meta["number"]
                _merge(results[number], found, chunk)
        for check, result in zip(checks, results, strict=True):
            _show_violations(check, result)
        return results

    def _validate(
        self, suite: Any, chunk: pl.DataFrame
    ) -> "list[ExpectationValidationResult]":
        """Returns the results for one chunk, in an order of Great Expectations' own."""
        batch = self._batches.get_batch({"dataframe": chunk.to_pandas()})
        # SUMMARY costs as much as BOOLEAN_ONLY plus the counts, and no more memory:
        # the samples are 20 at most.
        form = {"result_format": "SUMMARY", "partial_unexpected_count": SAMPLES}
        return list(batch.validate(suite, result_format=form).results)


def _great_expectations() -> Any:
    """Imports Great Expectations with its telemetry off."""
    # The variable is read when the package is imported.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations

    return great_expectations


def _to_expectation(check: Check, number: int) -> "Expectation":
    """Returns the check as an expectation, with its number as meta data.

    Great Expectations returns results in an order of its own: the number identifies
    each of them.
    """
    kind = getattr(_great_expectations().expectations, check.expectation)
    return kind(
        **check.arguments,
        description=check.description,
        severity=check.severity,
        meta={"number": number},
    )


def _initial_result(
    table: str, check: Check, expectation: "Expectation"
) -> ExpectationResult:
    """Returns the result of a check before any chunk was read."""
    configuration = expectation.configuration
    given = {}
    for key, value in configuration.kwargs.items():
        if value is not None:
            given[key] = _integral(value)
    column = given.pop("column", None) or given["column_A"]
    arguments = json.dumps(configuration.kwargs, default=str, sort_keys=True)
    return ExpectationResult(
        table=table,
        column=str(column),
        rule=configuration.type,
        given=given,
        description=check.description,
        severity=check.severity,
        text=_rendered_text(configuration.type, arguments),
    )


def _integral(value: Any) -> Any:
    """Returns 2 for the 2.0 that Great Expectations makes of 2."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@cache
def _rendered_text(rule: str, arguments: str) -> str:
    """Returns the rule in Great Expectations' own words.

    arguments: as JSON. Cached: it takes 6 ms, and splits share their rules.
    """
    from great_expectations.expectations.expectation_configuration import (
        ExpectationConfiguration,
    )
    from great_expectations.render.renderer.inline_renderer import InlineRenderer

    kwargs = json.loads(arguments)
    for key, value in kwargs.items():
        kwargs[key] = _integral(value)
    configuration = ExpectationConfiguration(type=rule, kwargs=kwargs)
    renderer = InlineRenderer(render_object=configuration)
    for content in renderer.get_rendered_content():
        words = _fill_template(content.value.template or "", content.value.params or {})
        if words:
            return words
    return ""


def _fill_template(template: str, params: Mapping[str, Any]) -> str:
    """Replaces $name by the value of each parameter."""
    words = str(template)
    # Longest names first: $v__10 must not be taken for $v__1.
    for name in sorted(params, key=len, reverse=True):
        value = _integral(params[name]["value"])
        words = words.replace(f"${name}", str(value))
    return words


def _merge(
    result: ExpectationResult,
    found: "ExpectationValidationResult",
    chunk: pl.DataFrame,
) -> None:
    """Adds the result of one chunk."""
    counts = found.result
    if "element_count" not in counts:
        cause = _exception_message(found.exception_info)
        raise BadInput(
            f"{result.table}.{result.column} cannot be checked by {result.rule}: "
            f"{cause}. The check does not fit the table: this is a bug of e6tag, "
            "please report it."
        )
    result.success = result.success and bool(found.success)
    result.checked += counts["element_count"]
    result.unexpected += counts["unexpected_count"]
    shown = _shown_columns(result, chunk)
    for index in counts.get("partial_unexpected_index_list") or []:
        if len(result.samples) == SAMPLES:
            break
        result.samples.append(chunk.select(shown).row(index, named=True))


def _shown_columns(result: ExpectationResult, chunk: pl.DataFrame) -> list[str]:
    """Returns the columns that identify a row, then those that were checked."""
    checked = [result.column]
    if "column_B" in result.given:
        checked.append(str(result.given["column_B"]))
    identifying = [name for name in IDENTITY if name in chunk.columns]
    return [name for name in identifying if name not in checked] + checked


def _show_violations(check: Check, result: ExpectationResult) -> None:
    """Replaces the one row of the table `findings` by the rows that were counted."""
    found = check.violations
    if found is None:
        return
    result.checked = found.checked
    result.unexpected = found.count
    result.samples = found.rows


def _exception_message(exception: Any) -> str:
    """Returns the message of the exception that Great Expectations caught.

    exception: the message under `exception_message`, or a mapping of such mappings.
    """
    nested = (exception or {}).values()
    candidates = [exception, *nested]
    for candidate in candidates:
        if isinstance(candidate, dict) and candidate.get("exception_message"):
            return str(candidate["exception_message"])
    return "no counts"
