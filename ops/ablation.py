"""`e6tag ablation`: what each choice of `train` is worth, measured run by run.

Reads       ablation.yaml, params.yaml, dvc.yaml, dvc.lock and the data they name
Writes      ablation/<site>.csv     a row per run (pipeline/ablation_results.py)
            ablation/<site>.md      the differences, for people
            .work/ablation/         unfinished runs (ops/ablation_workspace.py)
Guarantees  a run is known by the fingerprint of its parameters, the code of `train` and
            the shards: a finished one is never run again, a killed one resumes, and
            rows of other code or data leave the table. Each result is on disk before
            the next run starts. A failed run fails alone.

    python -m ops.ablation [--factor NAME] [--seeds 1,2] [--jobs N] [--dry-run]
"""

import hashlib
import os
import queue
import shutil
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from ops import ablation_table, ablation_workspace, dvc, processes
from ops.ablation_workspace import STAGES, Source
from pipeline import ablation, ablation_results, locks, params, progress, train
from pipeline.ablation import Condition
from pipeline.ablation_results import Measurement, Result
from pipeline.data import shards
from pipeline.data.shards import Split
from pipeline.errors import BadInput, BadParameter, E6tagError
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.train import code, initial
from pipeline.train.initial import Initial

FactorOption = Annotated[
    list[str] | None, typer.Option(help="Only this factor; may be repeated")
]
SeedsOption = Annotated[
    str | None, typer.Option(help="Instead of ablation.yaml's, such as 1,2,3")
]
JobsOption = Annotated[
    int | None, typer.Option(min=1, help="Runs at a time; one per GPU")
]
"""Options of the command, and of the flow that does the same."""

STAGE = "ablation"
"""Name of the lock and of the folder of unfinished work."""

_MEASURING = (
    "pipeline/evaluate/evaluators/ranking.py",
    "pipeline/evaluate/predicting.py",
    "pipeline/metrics/tag_ranking.py",
    "pipeline/metrics/tag_scores.py",
)
"""The code, beside that of `train`, that the metrics of the table come from."""


class RunsFailed(E6tagError):
    """Some runs of the ablation failed; the others are in the table."""


@dataclass(frozen=True, slots=True)
class Run:
    """A condition with a seed.

    fingerprint: of what decides the result; equal ones are one run.
    """

    condition: Condition
    seed: int
    fingerprint: str

    @property
    def params(self) -> Params:
        """Returns the parameters of the run."""
        return self.condition.with_seed(self.seed)

    @property
    def label(self) -> str:
        """Returns the run as people read it."""
        return f"{self.condition.label}, seed {self.seed}"


@dataclass
class Plan:
    """The runs that are wanted, and the table they belong to.

    every: all conditions with all seeds, of ablation.yaml and of earlier rows, so that
    the table keeps rows that are not wanted at the moment. shards: digest of all
    shards. known: measurements by fingerprint. timed: the rows as they were read, also
    outdated ones, to estimate from.
    """

    paths: Paths
    site: str
    shards: str
    every: list[Run]
    runs: list[Run]
    known: dict[str, Measurement]
    timed: list[Result]
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def table(self) -> Path:
        """Returns the path of the table."""
        return ablation_results.file(self.paths.ablation, self.site)

    def todo(self) -> list[Run]:
        """Returns the runs that are not measured, each once."""
        missing: dict[str, Run] = {}
        for run in self.runs:
            if run.fingerprint not in self.known:
                missing.setdefault(run.fingerprint, run)
        return list(missing.values())

    def add(self, run: Run, measured: Measurement) -> None:
        """Writes a result into the table; may be called from several threads."""
        with self.lock:
            self.known[run.fingerprint] = measured
            self.write()

    def write(self) -> None:
        """Writes the table, and the page of differences."""
        results = self.results()
        ablation_results.write(self.table, results)
        page = self.table.with_suffix(".md")
        ablation_table.write(page, self.site, results)

    def results(self) -> list[Result]:
        """Returns a row for every condition and seed that is measured."""
        rows = []
        for run in self.every:
            measured = self.known.get(run.fingerprint)
            if measured is not None:
                rows.append(_row(run, measured, self.shards))
        return rows


def make_plan(
    root: Path, factors: Sequence[str] | None, seeds: Sequence[int] | None
) -> Plan:
    """Returns what to run in a project. None: all factors, the seeds of ablation.yaml.

    Raises BadParameter, and BadInput where the shards are not there.
    """
    paths = Paths(root)
    given = params.load(paths.params)
    wanted = ablation.load(paths.ablation_plan)
    conditions = ablation.conditions(wanted, given, paths.ablation_plan)
    selected = ablation.select(conditions, factors)
    splits = shards.read_splits(paths)
    shards.require(splits, "train", "validation", "test")
    timed = ablation_results.read(
        ablation_results.file(paths.ablation, given.site.name)
    )
    seeds = seeds or wanted.seeds
    others = sorted({*seeds, *(row.seed for row in timed)})
    # Those of the file first, so that the table has the same order after every command.
    every_seed = dict.fromkeys([*wanted.seeds, *others])
    sums = [digest for split in splits.values() for digest in split.sums]
    return Plan(
        paths,
        given.site.name,
        ablation_results.shards_digest(sums),
        every=_with_seeds(conditions, list(every_seed), splits, paths),
        runs=_with_seeds(selected, seeds, splits, paths),
        known={row.run: row.measured for row in timed},
        timed=timed,
    )


def _with_seeds(
    conditions: Sequence[Condition],
    seeds: Sequence[int],
    splits: dict[str, Split],
    paths: Paths,
) -> list[Run]:
    """Returns each condition with each seed.

    Seed by seed: a killed ablation then has whole comparisons for the first ones.
    """
    tag_names = initial.read_tag_names(paths)
    trained = [condition.params.train for condition in conditions]
    starts = [initial.read(given, tag_names, paths) for given in trained]
    runs = []
    for seed in seeds:
        for condition, start in zip(conditions, starts, strict=True):
            name = fingerprint(condition.with_seed(seed), splits, start)
            runs.append(Run(condition, seed, name))
    return runs


def fingerprint(given: Params, splits: dict[str, Split], start: Initial | None) -> str:
    """Returns 32 hex digits: `train`'s fingerprint, then that of the test.

    start: the model that train.init names.
    """
    trained = train.fingerprint(
        given.train, splits["train"], splits["validation"], start
    )
    measuring = [(code.ROOT / name).read_bytes() for name in _MEASURING]
    digests = [hashlib.sha256(content).hexdigest() for content in measuring]
    tested = ablation_results.shards_digest([*splits["test"].sums, *digests])
    return f"{trained}{tested}"


def _row(run: Run, measured: Measurement, digest: str) -> Result:
    condition = run.condition
    return Result(
        condition.factor,
        condition.level,
        condition.reference,
        run.seed,
        condition.params.train.epochs,
        condition.params.train.size,
        measured,
        run.fingerprint,
        digest,
    )


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
        yield plan, ablation_workspace.source(root)


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
    measured = ablation_workspace.measure(
        project, folder, run.params, show, variables, stop
    )
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
    slots = device_slots(jobs)
    progress.log(
        f"ablation: {len(plan.runs)} runs, {len(todo)} to do, {len(slots)} at a time; "
        f"results go to {plan.table}"
    )
    stop = threading.Event()
    free: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for devices in slots:
        free.put(devices)
    shares: queue.SimpleQueue[set[int]] = queue.SimpleQueue()
    for cores in core_shares(len(slots)):
        shares.put(cores)

    def take_cores() -> None:
        # What a thread starts inherits its cores, and TensorFlow starts as many
        # threads as it has cores.
        if sys.platform == "linux":
            os.sched_setaffinity(0, shares.get())

    def work(run: Run) -> None:
        devices = free.get()
        try:
            do(plan, project, run, devices, stop)
        finally:
            free.put(devices)

    with ThreadPoolExecutor(len(slots), initializer=take_cores) as pool:
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


def device_slots(jobs: int | None) -> list[str | None]:
    """Returns the GPUs of each run that may go on at the same time; None without any.

    Several GPUs are shared out between the runs. Raises BadParameter where there are
    fewer GPUs than jobs: two runs do not fit the memory of one.
    """
    gpus = visible_gpus()
    if jobs is not None and gpus and jobs > len(gpus):
        raise BadParameter(
            f"--jobs {jobs} with {len(gpus)} GPUs: a run needs one of its own. Give at "
            f"most --jobs {len(gpus)}."
        )
    count = jobs or max(1, len(gpus))
    if not gpus:
        return [None] * count
    return [",".join(gpus[slot::count]) for slot in range(count)]


def core_shares(count: int) -> list[set[int]]:
    """Returns the cores of each run of some at the same time.

    Each has cores of its own where there are enough of them. Two trainings on all cores
    wait for each other.
    """
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
    else:
        cores = list(range(os.cpu_count() or 1))
    return [set(cores[slot::count] or cores) for slot in range(count)]


def visible_gpus() -> list[str]:
    """Returns the names of NVIDIA's GPUs that this process may use."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name and name != "-1"]
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    if shutil.which(command[0]) is None:
        return []
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return listed.stdout.split() if listed.returncode == 0 else []


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


def main() -> None:
    """Runs the command in the working directory's project."""
    from pipeline.stage_runner import exit_on_failure

    def run(
        factor: FactorOption = None,
        seeds: SeedsOption = None,
        jobs: JobsOption = None,
        *,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="List the runs and their hours")
        ] = False,
        debug: Annotated[
            bool, typer.Option(help="Show the traceback of an expected failure")
        ] = False,
    ) -> None:
        """Measures what each choice of train is worth."""
        with exit_on_failure(debug=debug):
            chosen = parse_seeds(seeds)
            if dry_run:
                plan = make_plan(Path(), factor, chosen)
                for line in describe(plan, jobs):
                    print(line)
                return
            with opened(Path(), factor, chosen) as (plan, project):
                execute(plan, project, jobs)

    # A terminated ablation ends its runs, as one interrupted does.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    typer.run(run)


def parse_seeds(text: str | None) -> list[int] | None:
    """Returns the seeds of an option such as 1,2,3; raises BadParameter."""
    if text is None:
        return None
    seeds = []
    for part in text.split(","):
        if not part.strip().isdecimal():
            raise BadParameter(
                f"--seeds {text} is not a list of whole numbers, such as 1,2,3."
            )
        seeds.append(int(part))
    ablation.check_seeds(seeds)
    return list(dict.fromkeys(seeds))


if __name__ == "__main__":
    main()
