"""Section: time and memory of every stage's last run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.paths import DATASETS
from pipeline.report.inputs import Inputs
from pipeline.report.sections.section import PageData, Values

TITLE = "What each stage took"
LINK = "Time and memory"

STAGES = (
    "harvest",
    "sample",
    "download",
    "manifest",
    "shard",
    "train",
    "evaluate",
    "mine",
    "export",
    "report",
)
"""Shown even where nothing is known of them."""


@dataclass(frozen=True, slots=True)
class Run:
    """The last completed run of a stage, None where unknown. share: of all seconds."""

    stage: str
    seconds: float | None
    peak_bytes: int | None
    finished: str | None
    share: float


def build(data: PageData) -> Values:
    """Returns a row for each stage, and the sum of the times that are known."""
    rows = runs(data.inputs)
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return {
        "is_known": bool(seconds),
        "runs": rows,
        "seconds": sum(seconds),
        "unknown": len(rows) - len(seconds),
    }


def runs(inputs: Inputs) -> list[Run]:
    """Returns the stages in the order of the pipeline, then what else was measured."""
    measured = {}
    for name, run in inputs.resources.items():
        measured[name] = run if isinstance(run, dict) else {}
    gates = [f"validate@{dataset}" for dataset in DATASETS]
    known = [*STAGES, *gates]
    names = [*STAGES, *(name for name in gates if name in measured)]
    names += [name for name in sorted(measured) if name not in known]
    times = [_number(measured.get(name, {}), "seconds") or 0.0 for name in names]
    total = sum(times) or 1.0
    return [
        _run(name, measured.get(name, {}), seconds / total)
        for name, seconds in zip(names, times, strict=True)
    ]


def _run(stage: str, measured: Mapping[str, Any], share: float) -> Run:
    peak = _number(measured, "peak_bytes")
    finished = measured.get("finished")
    return Run(
        stage=stage,
        seconds=_number(measured, "seconds"),
        peak_bytes=None if peak is None else int(peak),
        finished=str(finished)[:16].replace("T", " ") if finished else None,
        share=share,
    )


def _number(measured: Mapping[str, Any], name: str) -> float | None:
    value = measured.get(name)
    return float(value) if isinstance(value, int | float) else None
