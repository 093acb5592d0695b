"""The verdict of a gate as JSON. The next stage depends on this file."""

import json
from typing import Any

from pipeline.validate.gx_runner import ExpectationResult, GateResult


def to_json(result: GateResult) -> str:
    """Returns the content of verdict.json: the same for the same data."""
    content = {
        "dataset": result.dataset,
        "success": not result.failed,
        "rows": result.rows,
        "expectations": [_expectation(each) for each in result.results],
    }
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _expectation(result: ExpectationResult) -> dict[str, Any]:
    return {
        "table": result.table,
        "column": result.column,
        "rule": result.rule,
        "given": to_json_value(result.given),
        "description": result.description,
        "severity": result.severity,
        "success": result.success,
        "checked": result.checked,
        "unexpected": result.unexpected,
    }


def to_json_value(value: Any) -> Any:
    """Returns an argument of a check as JSON can represent it: times become text."""
    if isinstance(value, dict):
        return {key: to_json_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(part) for part in value]
    if isinstance(value, str | int | float | bool | None):
        return value
    return str(value)
