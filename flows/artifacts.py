"""What people read in Prefect about a run.

Each gate's verdict, the stages, the metrics, the report.

Reads       data/gates/<dataset>/verdict.json, data/evaluation/metrics.json,
            reports/index.html
Writes      artifacts `gate-<dataset>`, `stages`, `metrics` and `report` of the run they
            are called in
Guarantees  no metric without its image-blind baseline beside it; what has not been
            written is not published.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_table_artifact

GATE = "validate@"  # the gates' stages, as dvc.yaml's foreach names them
METRICS = Path("data/evaluation/metrics.json")
REPORT = Path("reports/index.html")


@dataclass(frozen=True, slots=True)
class StageRow:
    """One line of the table of stages.

    `outcome` is the name of the task's last state.
    """

    stage: str
    outcome: str
    completed: bool
    seconds: float


def verdict_path(stage: str) -> Path | None:
    """Where the gate that is this stage leaves its verdict.

    None for a stage that is no gate.
    """
    return (
        Path("data/gates") / stage.removeprefix(GATE) / "verdict.json"
        if stage.startswith(GATE)
        else None
    )


def publish_verdict(root: Path, stage: str, *, failed: bool = False) -> None:
    """Publishes a gate's verdict.

    After a failure only one that says so: else it is an older try's.
    """
    path = verdict_path(stage)
    if path is None or not (root / path).is_file():
        return
    verdict = json.loads((root / path).read_text(encoding="utf-8"))
    if failed and verdict["success"]:
        return
    dataset = path.parent.name
    summary = f"{verdict_summary(verdict)}. See reports/gates/{dataset}/index.html"
    create_table_artifact(
        key=f"gate-{dataset}", table=verdict_rows(verdict), description=summary
    )


def verdict_rows(verdict: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per expectation, those that do not hold first."""
    columns = (
        "table",
        "column",
        "rule",
        "severity",
        "success",
        "checked",
        "unexpected",
        "description",
    )
    rows = [
        {column: expectation.get(column) for column in columns}
        for expectation in verdict["expectations"]
    ]
    return sorted(rows, key=lambda row: bool(row["success"]))


def verdict_summary(verdict: dict[str, Any]) -> str:
    """The verdict in a line.

    A gate may pass although an expectation does not hold: one that is only a warning.
    """
    expectations = verdict["expectations"]
    hold = sum(bool(expectation["success"]) for expectation in expectations)
    unexpected = sum(
        expectation.get("unexpected") or 0
        for expectation in expectations
        if not expectation["success"]
    )
    return (
        f"{'passed' if verdict['success'] else 'FAILED'}: {hold:,} of "
        f"{len(expectations):,} expectations hold, "
        f"{unexpected:,} unexpected values where one does not"
    )


def publish_run(root: Path, rows: Sequence[StageRow]) -> None:
    """Publishes what a run did, whether it failed or not."""
    publish_stages(rows)
    # A file of an earlier run must not pass for this one's: only what this run brought,
    # or found, up to date.
    done = {row.stage for row in rows if row.completed}
    if "evaluate" in done:
        publish_metrics(root)
    if "report" in done:
        publish_report(root)


def publish_stages(rows: Sequence[StageRow]) -> None:
    """Publishes what was done, stage by stage, in the order it was done."""
    table = [
        {"stage": row.stage, "outcome": row.outcome, "seconds": round(row.seconds, 1)}
        for row in rows
    ]
    total = sum(row.seconds for row in rows)
    create_table_artifact(
        key="stages", table=table, description=f"{len(rows)} stages in {total:,.0f} s"
    )


def publish_metrics(root: Path) -> None:
    """Publishes the metrics, each with its baseline."""
    metrics = json.loads((root / METRICS).read_text(encoding="utf-8"))
    create_table_artifact(
        key="metrics",
        table=metric_rows(metrics),
        description="each beside what a model that never looks gets",
    )


def metric_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per split and metric. What has no baseline is no metric and is left out."""
    return [
        {
            "split": split,
            "metric": name,
            "value": found["value"],
            "image-blind baseline": found["baseline"],
        }
        for split, named in metrics.items()
        if isinstance(named, dict)
        for name, found in named.items()
        if isinstance(found, dict) and {"value", "baseline"} <= found.keys()
    ]


def publish_report(root: Path) -> None:
    """Publishes a link to the report, for those who sit at the machine that made it."""
    create_link_artifact(
        key="report", link=(root / REPORT).resolve().as_uri(), link_text=str(REPORT)
    )
