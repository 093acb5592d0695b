"""What an ablation would run, and how long that takes by the runs that are timed."""

import statistics
from collections.abc import Iterator, Sequence

from ops.ablation.plan import Plan, Run
from ops.ablation.slots import device_slots
from pipeline import ablation
from pipeline.ablation_results import Result


def describe(plan: Plan, jobs: int | None) -> Iterator[str]:
    """Yields what would run, a line per run, and the hours that it would take."""
    todo = {run.fingerprint for run in plan.todo()}
    total, unknown = 0.0, 0
    counted = set()
    for run in plan.runs:
        if run.fingerprint not in todo:
            yield f"{run.label}: done"
            continue
        if run.fingerprint in counted:
            yield f"{run.label}: the same run as one above"
            continue
        counted.add(run.fingerprint)
        seconds = estimate(plan.timed, run)
        total += seconds or 0.0
        unknown += seconds is None
        yield f"{run.label}: {_minutes(seconds)}"
    at_once = len(device_slots(jobs))
    yield _sum(len(plan.runs), len(todo), total / at_once, at_once, unknown)


def estimate(timed: Sequence[Result], run: Run) -> float | None:
    """Returns the seconds that training took before; None where nothing was timed.

    The median of the same condition, else of all runs, each scaled by images of the
    training seen and their area.
    """
    cost = run.params.train.epochs * run.params.train.size**2
    own, others = [], []
    for result in timed:
        if result.measured.seconds is None:
            continue
        scaled = result.measured.seconds * cost / (result.epochs * result.size**2)
        others.append(scaled)
        condition = run.condition
        if (result.factor, result.level) == (condition.factor, condition.level):
            own.append(scaled)
    found = own or others
    return statistics.median(found) if found else None


def _minutes(seconds: float | None) -> str:
    if seconds is None:
        return "to do"
    return f"to do, about {seconds / 60:,.1f} min of training"


def _sum(runs: int, todo: int, seconds: float, at_once: int, unknown: int) -> str:
    text = f"{runs} runs, {todo} to do"
    if unknown:
        return (
            f"{text}; no run is timed yet, so the hours are unknown: run one first, "
            f"with --factor {ablation.BASELINE}"
        )
    return (
        f"{text}, about {seconds / 3_600:,.2f} hours of training with {at_once} at a "
        "time, by runs that are timed"
    )
