"""The flow `ablation`: the runs of ablation.yaml as Prefect tasks.

Reads       the project in the working directory; parameters of the flow (see
            `ablation`)
Writes      what `ops.ablation` writes; an artifact with the differences
Guarantees  a task run per training that is not in the table, named as it, whose log
            holds the output of its stages; the plan, the table and how many run at a
            time are those of `e6tag ablation`; a failed run fails the flow at its end;
            a cancelled flow leaves no process behind.

    # With or without a Prefect server:
    python -m flows.ablation [--factor NAME] [--seeds 1,2] [--jobs N]
"""
# mypy: disallow-untyped-decorators=False

import contextvars
import threading
from collections.abc import Callable
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from ops import ablation as trainings
from ops.ablation import options
from ops.ablation.options import FactorOption, JobsOption, SeedsOption
from ops.ablation.plan import Plan, Run
from ops.ablation.workspace import Source

ARTIFACT = "ablation"
"""Key of the artifact with the differences."""

Measure = Callable[[Callable[[str], None]], None]
"""Does a run; takes what to call with each line of its output."""


@flow(name="ablation", persist_result=False)
def ablation(
    factors: list[str] | None = None,
    seeds: list[int] | None = None,
    jobs: int | None = None,
) -> None:
    """Measures what each choice of train is worth.

    Args:
        factors: of ablation.yaml; null: all of them.
        seeds: instead of those of ablation.yaml.
        jobs: runs at a time; null: one per GPU, one where there is none.
    """
    context = contextvars.copy_context()

    def in_task(
        plan: Plan,
        project: Source,
        run: Run,
        devices: str | None,
        stop: threading.Event,
    ) -> None:
        def measure(log: Callable[[str], None]) -> None:
            trainings.measure(plan, project, run, devices, stop, log)

        named = train_and_evaluate.with_options(task_run_name=run.label)
        # Called from a thread of the pool, which does not know the flow run.
        context.copy().run(named, measure)

    with trainings.opened(Path.cwd(), factors, seeds) as (plan, project):
        trainings.execute(plan, project, jobs, in_task)
        page = plan.table.with_suffix(".md")
        create_markdown_artifact(page.read_text(encoding="utf-8"), key=ARTIFACT)


# The table is the cache, and knows the code. A second one would sooner or later
# disagree with it.
@task(cache_policy=NO_CACHE, persist_result=False)
def train_and_evaluate(measure: Measure) -> None:
    """Does one run and writes its result into the table."""
    log = get_run_logger().info
    measure(lambda line: log("%s", line))


def main() -> None:
    """Runs the flow once, in this process."""
    import typer

    def run(
        factor: FactorOption = None,
        seeds: SeedsOption = None,
        jobs: JobsOption = None,
    ) -> None:
        """Measures what each choice of train is worth, as a Prefect flow."""
        chosen = options.parse_seeds(seeds)
        state = ablation(factor or None, chosen, jobs, return_state=True)
        raise SystemExit(0 if state.is_completed() else 1)

    typer.run(run)


if __name__ == "__main__":
    main()
