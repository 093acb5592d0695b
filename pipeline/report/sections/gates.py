"""Section: the decision of every gate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.paths import DATASETS
from pipeline.report.sections.section import PageData, Values

TITLE = "Gates"
LINK = "Gates"


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate in one line."""

    dataset: str
    rows: int
    expectations: int
    hold: int
    noted: int  # expectations that fail, but are not critical
    success: bool


def build(data: PageData) -> Values:
    """Returns every gate, in the order of the stages."""
    verdicts = data.inputs.verdicts
    return {"gates": [_gate(name, verdicts[name]) for name in DATASETS]}


def _gate(dataset: str, verdict: Mapping[str, Any]) -> Gate:
    expectations = verdict["expectations"]
    hold, noted = 0, 0
    for expectation in expectations:
        if expectation["success"]:
            hold += 1
        elif expectation["severity"] != "critical":
            noted += 1
    return Gate(
        dataset=dataset,
        rows=sum(verdict["rows"].values()),
        expectations=len(expectations),
        hold=hold,
        noted=noted,
        success=bool(verdict["success"]),
    )
