"""What people read in Prefect about a run: verdicts, stages, metrics and report.

Reads       data/gates/<dataset>/verdict.json, data/evaluation/metrics.json,
            reports/index.html
Writes      artifacts `gate-<dataset>`, `stages`, `metrics` and `report` of the current
            run
Guarantees  each metric is published beside its image-blind baseline; what the run did
            not write is not published.
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
_VERDICT_COLUMNS = (
    "table",
    "column",
    "rule",
    "severity",
    "success",
    "checked",
    "unexpected",
    "description",
)


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
    """Returns the file of the gate's verdict; None for a stage that is no gate."""
    if not stage.startswith(GATE):
        return None
    return Path("data/gates") / stage.removeprefix(GATE) / "verdict.json"


def publish_verdict(root: Path, stage: str, *, failed: bool = False) -> None:
    """Publishes a gate's verdict.

    failed: the stage failed. Then a verdict of success is of an earlier run, and is not
    published.
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
    """Returns a row per expectation, those that do not hold first."""
    rows = [_verdict_row(expectation) for expectation in verdict["expectations"]]
    return sorted(rows, key=lambda row: bool(row["success"]))


def _verdict_row(expectation: dict[str, Any]) -> dict[str, Any]:
    return {column: expectation.get(column) for column in _VERDICT_COLUMNS}


def verdict_summary(verdict: dict[str, Any]) -> str:
    """Returns the verdict in a line.

    A gate may pass although an expectation does not hold: one that is only a warning.
    """
    outcome = "passed" if verdict["success"] else "FAILED"
    expectations = verdict["expectations"]
    violated = [one for one in expectations if not one["success"]]
    hold = len(expectations) - len(violated)
    unexpected = sum(one.get("unexpected") or 0 for one in violated)
    return (
        f"{outcome}: {hold:,} of {len(expectations):,} expectations hold, "
        f"{unexpected:,} unexpected values where one does not"
    )


def publish_run(root: Path, rows: Sequence[StageRow]) -> None:
    """Publishes what a run did, whether it failed or not."""
    publish_stages(rows)
    # The files may be of an earlier run: only those that this run found or made up to
    # date are published.
    done = {row.stage for row in rows if row.completed}
    if "evaluate" in done:
        publish_metrics(root)
    if "report" in done:
        publish_report(root)


def publish_stages(rows: Sequence[StageRow]) -> None:
    """Publishes a row per stage, in the order in which they ran."""
    table = []
    for row in rows:
        seconds = round(row.seconds, 1)
        table.append({"stage": row.stage, "outcome": row.outcome, "seconds": seconds})
    total = sum(row.seconds for row in rows)
    summary = f"{len(rows)} stages in {total:,.0f} s"
    create_table_artifact(key="stages", table=table, description=summary)


def publish_metrics(root: Path) -> None:
    """Publishes the metrics, each with its baseline."""
    metrics = json.loads((root / METRICS).read_text(encoding="utf-8"))
    create_table_artifact(
        key="metrics",
        table=metric_rows(metrics),
        description="each beside what a model that never looks at the image reaches",
    )


def metric_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns a row per split and metric. metrics: metrics.json.

    A metric without a baseline is left out.
    """
    rows = []
    for split, by_name in metrics["splits"].items():
        for name, metric in by_name.items():
            if not {"value", "baseline"} <= metric.keys():
                continue
            row = {"split": split, "metric": name, "value": metric["value"]}
            rows.append(row | {"image-blind baseline": metric["baseline"]})
    return rows


def publish_report(root: Path) -> None:
    """Publishes a link to the report, which works on the machine that made it."""
    link = (root / REPORT).resolve().as_uri()
    create_link_artifact(key="report", link=link, link_text=str(REPORT))
