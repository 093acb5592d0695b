"""The flow `e6tag`: the DVC graph, stage by stage, as Prefect tasks.

DVC decides their order.

Reads       the project in the working directory; parameters of the flow (see
            `pipeline`)
Writes      what the stages write; snapshot.json when the site has news; artifacts (see
            flows.artifacts)
Guarantees  a task run per stage, named as the stage, whose log holds the stage's
            output; the state is `UpToDate`, `Restored` or `Rebuilt`; only exit status
            75 is tried again; the first failure ends the run, after a gate's verdict
            has been published; a cancelled run leaves no process behind.

    # With or without a Prefect server:
    python -m flows.nightly [--no-refresh] [TARGET ...]
"""
# mypy: disallow-untyped-decorators=False

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from flows import artifacts
from ops import dvc, processes
from ops.dvc import Outcome, StageFailed

REFRESH = "refresh"
TRY_AGAIN = os.EX_TEMPFAIL
"""75: the same command may succeed later, nothing is lost (pipeline/errors.py)."""

RETRIES = 3
RETRY_DELAY = 3_600
"""Seconds: an hour, as after a challenge page and where a site fails."""


def is_retryable(_task: Any, _task_run: Any, state: Any) -> bool:
    """Returns whether the same command may succeed later."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StageFailed) and error.exit_status == TRY_AGAIN


# DVC is the cache. A second one, of Prefect's, would sooner or later disagree with it.
TASK = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retry_condition_fn": is_retryable,
}


@flow(name="e6tag", persist_result=False)
def pipeline(
    targets: list[str] | None = None,
    refresh: bool = True,
    retries: int = RETRIES,
    retry_delay: float = RETRY_DELAY,
) -> None:
    """Brings the project in the working directory up to date.

    Args:
        targets: stages to bring up to date, with all they need, as `dvc repro` takes
            them; null: everything.
        refresh: first check whether the site has newer exports than snapshot.json pins.
        retries: how often a stage that ends with "try again later" is run again.
        retry_delay: seconds before each of these runs.
    """
    root = Path.cwd()
    patience = {"retries": retries, "retry_delay_seconds": retry_delay}
    if refresh:
        refresh_pin.with_options(**patience)(root)
    stages = dvc.plan(root, targets)
    get_run_logger().info("%d stages: %s", len(stages), ", ".join(stages))
    rows = []
    for stage in stages:
        started = time.monotonic()
        state = run_stage.with_options(**patience)(root, stage, return_state=True)
        seconds = time.monotonic() - started
        completed = state.is_completed()
        rows.append(artifacts.StageRow(stage, state.name, completed, seconds))
        if not completed:
            break
    artifacts.publish_run(root, rows)
    if rows:
        state.result()  # raises the last stage's failure


@task(task_run_name=REFRESH, **TASK)
def refresh_pin(root: Path) -> None:
    """Rewrites snapshot.json if the site has newer exports.

    The change in git is for people to review and commit.
    """
    lines: list[str] = []
    log = get_run_logger().info

    def read(line: str) -> None:
        lines.append(line)
        log("%s", line)

    command = [sys.executable, "-m", "pipeline", "refresh"]
    status = processes.stream(command, root, read)
    if status:
        raise StageFailed(REFRESH, status, lines[-dvc.TAIL :])


@task(task_run_name="{stage}", **TASK)
def run_stage(root: Path, stage: str) -> Any:
    """Brings one stage up to date and publishes its verdict if it is a gate.

    The state's name is the outcome.
    """
    log = get_run_logger().info
    outcome = Outcome.UP_TO_DATE
    if dvc.changed(root, stage):
        try:
            outcome = dvc.run(root, stage, lambda line: log("%s", line))
        except StageFailed:
            artifacts.publish_verdict(root, stage, failed=True)
            raise
    artifacts.publish_verdict(root, stage)
    return Completed(name=outcome.value, message=f"{stage}: {outcome.value}")


def main() -> None:
    """Runs the flow once, in this process."""
    import typer

    def run(
        targets: Annotated[
            list[str] | None, typer.Argument(help="Stages, as dvc repro takes them")
        ] = None,
        refresh: Annotated[
            bool, typer.Option(help="Ask the site for news first")
        ] = True,
        retries: Annotated[
            int, typer.Option(help="Further tries of a stage that exits with 75")
        ] = RETRIES,
        retry_delay: Annotated[
            float, typer.Option(help="Seconds before each of them")
        ] = RETRY_DELAY,
    ) -> None:
        """Brings the project in the working directory up to date, as a Prefect flow."""
        state = pipeline(
            targets or None, refresh, retries, retry_delay, return_state=True
        )
        raise SystemExit(0 if state.is_completed() else 1)

    typer.run(run)


if __name__ == "__main__":
    main()
