"""Great Expectations at work: suites are run over tables, chunk by chunk, and the results of chunks merged.

Guarantees  the outcome does not depend on where chunks are cut: counts are summed, samples are the first in row order.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.errors import BadInput
from pipeline.validate import importing

if TYPE_CHECKING:
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation import Expectation

SAMPLES = 20  # offending rows kept per expectation: five are printed, all of them stand on the page
IDENTITY = (
    "post_id",
    "md5",
    "label_id",
    "tag_id",
    "relation_id",
    "name",
    "shard",
    "split",
    "export",
    "row",
    "file",
    "metric",
)
"""Columns that tell which row is meant; those that a table has are shown beside the offending value."""


@dataclass(slots=True)
class ExpectationResult:
    """What Great Expectations found for one expectation, over all chunks of its table."""

    table: str
    column: str
    rule: str  # the type of the expectation
    given: dict[str, Any]  # its arguments
    description: str
    severity: str
    text: str  # the rule as Great Expectations words it
    success: bool = True
    checked: int = 0
    unexpected: int = 0
    samples: list[dict[str, Any]] = field(
        default_factory=list
    )  # the first offending rows: identity and value

    @property
    def observed(self) -> str:
        """What was seen, in words."""
        return f"{self.unexpected:,} of {self.checked:,} unexpected"

    @property
    def stops(self) -> bool:
        """Whether this outcome fails the gate."""
        return not self.success and self.severity == "critical"


@dataclass(frozen=True, slots=True)
class GateResult:
    """All that a gate found. `rows`: by file; `tables`: what was measured, by name."""

    dataset: str
    outcomes: list[ExpectationResult]
    rows: Mapping[str, int]
    tables: Mapping[str, pl.DataFrame]


class GateRunner:
    """One Great Expectations context without a store: suites in, outcomes out."""

    def __init__(self) -> None:
        gx = importing.great_expectations()
        self._context = gx.get_context(mode="ephemeral")
        self._context.variables.progress_bars = {"globally": False}
        asset = self._context.data_sources.add_pandas("polars").add_dataframe_asset(
            "chunk"
        )
        self._batches = asset.add_batch_definition_whole_dataframe("chunk")

    def judge(
        self,
        table: str,
        expectations: "list[Expectation]",
        chunks: Iterable[pl.DataFrame],
    ) -> list[ExpectationResult]:
        """Returns an outcome per expectation, in their order. A table without rows is one chunk without rows."""
        gx = importing.great_expectations()
        outcomes = [_unjudged(table, expectation) for expectation in expectations]
        # The order of GX's results is its own: each is found again by its number, carried through as meta.
        numbered = [
            one.copy(update={"meta": {"number": i}, "id": None})
            for i, one in enumerate(expectations)
        ]
        suite = gx.ExpectationSuite(name=table, expectations=numbered)
        for chunk in chunks:
            batch = self._batches.get_batch({"dataframe": chunk.to_pandas()})
            # SUMMARY costs as much as BOOLEAN_ONLY plus the counts, and no more memory: the samples are 20 at most.
            result = batch.validate(
                suite,
                result_format={
                    "result_format": "SUMMARY",
                    "partial_unexpected_count": SAMPLES,
                },
            )
            for one in result.results:
                _merge(outcomes[one.expectation_config.meta["number"]], one, chunk)
        return outcomes


def _unjudged(table: str, expectation: "Expectation") -> ExpectationResult:
    configuration = expectation.configuration
    given = {
        key: _whole(value)
        for key, value in configuration.kwargs.items()
        if value is not None
    }
    column = given.pop("column", None) or given["column_A"]
    return ExpectationResult(
        table=table,
        column=str(column),
        rule=configuration.type,
        given=given,
        description=expectation.description or "",
        severity=str(getattr(expectation.severity, "value", expectation.severity)),
        text=_worded(
            configuration.type,
            json.dumps(configuration.kwargs, default=str, sort_keys=True),
        ),
    )


def _whole(value: Any) -> Any:
    """Returns 2 for the 2.0 that Great Expectations makes of 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@cache
def _worded(rule: str, arguments: str) -> str:
    """Returns the rule in Great Expectations' own words. Kept, as it takes 6 ms and splits share their rules."""
    from great_expectations.expectations.expectation_configuration import (
        ExpectationConfiguration,
    )
    from great_expectations.render.renderer.inline_renderer import InlineRenderer

    kwargs = {key: _whole(value) for key, value in json.loads(arguments).items()}
    for content in InlineRenderer(
        render_object=ExpectationConfiguration(type=rule, kwargs=kwargs)
    ).get_rendered_content():
        words = str(content.value.template or "")
        # Longest names first: $v__10 must not be taken for $v__1.
        for name, param in sorted(
            (content.value.params or {}).items(), key=lambda pair: -len(pair[0])
        ):
            words = words.replace(f"${name}", str(_whole(param["value"])))
        if words:
            return words
    return ""


def _merge(
    outcome: ExpectationResult,
    result: "ExpectationValidationResult",
    chunk: pl.DataFrame,
) -> None:
    """Adds what one chunk showed."""
    found = result.result
    if "element_count" not in found:
        raise BadInput(
            f"{outcome.table}.{outcome.column} cannot be judged by {outcome.rule}: {_why(result.exception_info)}. "
            "The gate and the table do not fit together: this is a fault of e6tag, please report it."
        )
    outcome.success = outcome.success and bool(result.success)
    outcome.checked += found["element_count"]
    outcome.unexpected += found["unexpected_count"]
    columns = [
        outcome.column,
        *(str(value) for key, value in outcome.given.items() if key == "column_B"),
    ]
    shown = [
        name for name in IDENTITY if name in chunk.columns and name not in columns
    ] + columns
    for index in found.get("partial_unexpected_index_list") or []:
        if len(outcome.samples) < SAMPLES:
            outcome.samples.append(chunk.select(shown).row(index, named=True))


def _why(exception: Any) -> str:
    texts = [
        exception,
        *(value for value in (exception or {}).values() if isinstance(value, dict)),
    ]
    return next(
        (
            str(text["exception_message"])
            for text in texts
            if text and text.get("exception_message")
        ),
        "no counts",
    )
