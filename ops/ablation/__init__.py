"""`e6tag ablation`: what each choice of `train` is worth, measured run by run.

Reads       ablation.yaml, params.yaml, dvc.yaml, dvc.lock and the data they name
Writes      ablation/<site>.csv     a row per run (pipeline/ablation_results.py)
            ablation/<site>.md      the differences, for people
            .work/ablation/         unfinished runs (workspace.py)
Guarantees  a run is known by the fingerprint of its parameters, the code of `train` and
            the shards: a finished one is never run again, a killed one resumes, and
            rows of other code or data leave the table. Each result is on disk before
            the next run starts. A failed run fails alone.

    python -m ops.ablation [--factor NAME] [--seeds 1,2] [--jobs N] [--dry-run]
"""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from ops import dvc, processes
from ops.ablation import workspace
from ops.ablation.plan import Plan, Run, make_plan
from ops.ablation.slots import Slots
from ops.ablation.workspace import STAGES, Source
from pipeline import ablation, locks, progress
from pipeline.errors import BadInput, E6tagError
from pipeline.paths import Paths

STAGE = "ablation"
"""Name of the lock and of the folder of unfinished work."""


class RunsFailed(E6tagError):
    """Some runs of the ablation failed; the others are in the table."""


def check_inputs(root: Path) -> None:
    """Raises BadInput where a stage before `train` or `evaluate` is not up to date."""
    for stage in dvc.plan(root, STAGES):
        if stage not in STAGES and dvc.changed(root, stage):
            raise BadInput(
                f"{stage} is not up to date, and an ablation runs on data that "
                "dvc.lock names. Run dvc repro validate@shards, then the same command "
                "again."
            )


@contextmanager
def opened(
    root: Path, factors: Sequence[str] | None, seeds: Sequence[int] | None
) -> Iterator[tuple[Plan, Source]]:
    """Yields a plan whose runs can start, and holds the lock of the ablation.

    Removes folders of finished runs, and of other parameters, code or shards.
    """
    ablation.check_seeds(seeds or ())  # a flow is given numbers, not the option
    paths = Paths(root)
    with locks.stage_lock(paths, STAGE):
        check_inputs(root)
        plan = make_plan(root, factors, seeds)
        _remove_outdated(plan)
        yield plan, workspace.source(root)


def _remove_outdated(plan: Plan) -> None:
    unfinished = {run.fingerprint for run in plan.every} - plan.known.keys()
    for folder in plan.paths.work(STAGE).iterdir():
        if folder.is_dir() and folder.name not in unfinished:
            processes.end_all_in(folder)
            shutil.rmtree(folder)


def measure(
    plan: Plan,
    project: Source,
    run: Run,
    devices: str | None,
    stop: threading.Event,
    log: Callable[[str], None] = progress.log,
) -> None:
    """Does one run and writes its result into the table.

    devices: GPUs that it may use, as CUDA_VISIBLE_DEVICES; None: as this process. stop:
    ends the run once it is set. log: called with each line of output. Raises
    StageFailed, BadInput and processes.Stopped.
    """

    def show(line: str) -> None:
        log(f"[{run.label}] {line}")

    folder = plan.paths.work(STAGE) / run.fingerprint
    variables = {} if devices is None else {"CUDA_VISIBLE_DEVICES": devices}
    measured = workspace.measure(project, folder, run.params, show, variables, stop)
    plan.add(run, measured)
    shutil.rmtree(folder)  # not before its result is on disk
    show(f"test macro mAP {measured.test_macro_map:.4f}")


Measure = Callable[[Plan, Source, Run, str | None, threading.Event], None]
"""Does one run, as `measure`."""


def execute(
    plan: Plan, project: Source, jobs: int | None, do: Measure = measure
) -> None:
    """Does the runs that are not done, some at a time; raises RunsFailed at the end.

    jobs: None for one per GPU, and one where there is none. do: called for each run
    from a thread.
    """
    todo = plan.todo()
    free = Slots(jobs)
    progress.log(
        f"ablation: {len(plan.runs)} runs, {len(todo)} to do, {free.count} at a time; "
        f"results go to {plan.table}"
    )
    stop = threading.Event()

    def work(run: Run) -> None:
        with free.one() as devices:
            do(plan, project, run, devices, stop)

    with ThreadPoolExecutor(free.count) as pool:
        futures = {pool.submit(work, run): run for run in todo}
        try:
            failed = _failures(futures)
        finally:  # also on Ctrl-C: the runs end, and the pool waits for them
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
    plan.write()
    if failed:
        raise RunsFailed(
            f"{len(failed)} of {len(todo)} runs failed: {'; '.join(failed)}. The "
            "others are in the table; the same command runs these again."
        )
    progress.log(f"ablation: all {len(plan.runs)} runs are in {plan.table}")


def _failures(futures: dict[Future[None], Run]) -> list[str]:
    """Waits for all runs; returns what failed and why."""
    failed = []
    for future in as_completed(futures):
        error = future.exception()
        if isinstance(error, dvc.StageFailed | E6tagError):
            progress.log(f"[{futures[future].label}] failed: {error}")
            failed.append(f"{futures[future].label}: {error}")
        elif error is not None:
            raise error
    return failed
