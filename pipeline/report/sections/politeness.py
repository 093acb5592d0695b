"""Section: the requests that the site answered, and how long they waited."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.report import counts
from pipeline.report.inputs import Inputs
from pipeline.report.sections.section import PageData, Values

TITLE = "Load on the site"
LINK = "Politeness"

WAITS = {
    "rate_limit": "to keep within the rate limit",
    "retry_after": "because the site requested a pause (Retry-After)",
    "backoff": "before another try",
}
"""Why requests waited, by the names in politeness.json."""


@dataclass(frozen=True, slots=True)
class RequestCount:
    """The requests of one kind that one stage made.

    `answers` counts them by status or error, commonest first; `bytes` is what was
    received.
    """

    stage: str
    kind: str
    requests: int
    answers: str
    bytes: int


@dataclass(frozen=True, slots=True)
class WaitTime:
    """How long a stage waited for one reason.

    `rate` is the limit of its last run in requests a second, None without a limit.
    """

    stage: str
    why: str
    seconds: float
    rate: float | None


def build(data: PageData) -> Values:
    """Returns requests, waits and User-Agents; all are empty without figures."""
    inputs = data.inputs
    return {
        "agents": agents(inputs),
        "requests": requests(inputs),
        "waits": waits(inputs),
    }


def agents(inputs: Inputs) -> list[str]:
    """Returns every User-Agent that requests were made with."""
    names: set[str] = set()
    for stats in inputs.politeness.values():
        names.update(stats.get("agents", {}))
    return sorted(names)


def requests(inputs: Inputs) -> list[RequestCount]:
    """Returns the requests of every stage, by kind."""
    rows = []
    for stage, stats in sorted(inputs.politeness.items()):
        kinds = sorted(stats.get("requests", {}))
        rows += [_request_count(stage, kind, stats) for kind in kinds]
    return rows


def _request_count(stage: str, kind: str, stats: Mapping[str, Any]) -> RequestCount:
    answers = stats["requests"][kind]
    received = int(stats.get("bytes", {}).get(kind, 0))
    total = sum(answers.values())
    return RequestCount(stage, kind, total, _answers(answers), received)


def _answers(by_status: Mapping[str, int]) -> str:
    ordered = sorted(by_status.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{status}: {count:,}" for status, count in ordered)


def waits(inputs: Inputs) -> list[WaitTime]:
    """Returns how long every stage waited, by reason."""
    rows = []
    for stage, stats in sorted(inputs.politeness.items()):
        rate = stats.get("rate_limit_per_second")
        for reason, seconds in sorted(stats.get("seconds_waited", {}).items()):
            why = WAITS.get(reason, counts.humanize(reason))
            rows.append(WaitTime(stage, why, float(seconds), rate))
    return rows
