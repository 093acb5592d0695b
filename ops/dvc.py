"""The adapter to DVC: which stages, in which order, what is stale, and running one.

Knows nothing of Prefect.

Reads       dvc.yaml, dvc.lock and what they name, through `dvc.repo`
Writes      nothing itself; `run` starts `dvc repro --single-item`, which writes what
            the stage does, and dvc.lock; `record` writes dvc.lock and the cache
Guarantees  the order is DVC's own, with the names of a foreach expanded
            (`validate@snapshot`); a stage that fails keeps its own exit status; nothing
            of a stage outlives `run`. What DVC cannot read, such as a damaged dvc.yaml,
            is a BadInput with DVC's own words.

DVC has no public interface for the plan. What is used of its inside is imported here
and nowhere else.
"""

import contextlib
import enum
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops import processes

TAIL = 20
"""Lines of output that a failure carries with it."""

# Another DVC, a person's perhaps, works on the same files.
_BUSY = "is busy, it is being blocked by"
# The last line of a failed command, after the one with the reason.
_ADVERTISEMENT = "Having any troubles?"
# DVC's own exit status is 255, whatever the stage's was.
_EXITED = re.compile(r"failed to run: .*, exited with (-?\d+)$")


class Outcome(enum.StrEnum):
    """How a stage that did not fail came to its outputs."""

    UP_TO_DATE = "UpToDate"
    RESTORED = "Restored"  # DVC's run cache held the outputs of just these inputs
    REBUILT = "Rebuilt"


class StageFailed(Exception):
    """A stage ended with another exit status than 0.

    `exit_status` is the stage's own (negative for a signal), or DVC's where DVC failed
    before it could run the stage, or 75, "try again later", where another DVC works on
    the same files. `tail` holds the last lines of output.
    """

    def __init__(self, stage: str, exit_status: int, tail: Sequence[str]) -> None:
        self.stage = stage
        self.exit_status = exit_status
        self.tail = tuple(tail)
        # All arguments again, so that the exception survives pickling.
        super().__init__(stage, exit_status, self.tail)

    def __str__(self) -> str:
        messages = [line for line in self.tail if not _EXITED.search(line)]
        message = messages[-1] if messages else "it printed nothing"
        return f"{self.stage}: exit status {self.exit_status}: {message}"


def plan(root: Path, targets: Sequence[str] | None = None) -> tuple[str, ...]:
    """Returns the stages that `dvc repro TARGETS` would check, in its order.

    Without targets: all stages of dvc.yaml.
    """
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    with _repository(root) as repo, repo.lock:
        wanted = collect_stages(repo, targets or ["dvc.yaml"])
        graph = get_active_graph(repo.index.graph)
        return tuple(stage.addressing for stage in plan_repro(graph, wanted))


def changed(root: Path, stage: str) -> bool:
    """Returns whether `dvc repro --single-item STAGE` would do anything.

    In process: a tenth of a second against DVC's one.
    """
    from dvc.lock import LockError

    try:
        with _repository(root) as repo, repo.lock:
            return any(found.changed() for found in repo.stage.collect(stage))
    except LockError as error:
        raise StageFailed(stage, os.EX_TEMPFAIL, str(error).splitlines()) from error


@dataclass(frozen=True, slots=True)
class StageStatus:
    """A stage as DVC sees it.

    outputs: paths. after: the stages that write what it reads. has_run: whether
    dvc.lock has it. changes: what differs from dvc.lock, such as `data/shards
    modified`; none where it is up to date.
    """

    name: str
    outputs: tuple[str, ...]
    after: tuple[str, ...]
    has_run: bool
    changes: tuple[str, ...]


def status(root: Path) -> tuple[StageStatus, ...]:
    """Returns all stages in the order of `dvc repro`, each with what changed.

    A stage is compared with what is there now: what an earlier one will write is not
    known.
    """
    order = plan(root)
    found = {}
    with _repository(root) as repo, repo.lock:
        graph = repo.index.graph
        for stage in repo.index.stages:
            if stage.addressing not in order:
                continue
            (entries,) = list(stage.status(check_updates=False).values()) or [[]]
            found[stage.addressing] = StageStatus(
                name=stage.addressing,
                outputs=tuple(out.def_path for out in stage.outs),
                after=tuple(sorted(each.addressing for each in graph[stage])),
                has_run=any(bool(out.hash_info) for out in stage.outs),
                changes=tuple(_changes(entries)),
            )
    return tuple(found[name] for name in order)


def _changes(entries: Sequence[Any]) -> Iterator[str]:
    """Yields what differs, of DVC's tree: by kind, and parameters by file."""
    for entry in entries:
        if isinstance(entry, str):  # changed command
            yield entry
            continue
        for changed_paths in entry.values():
            for path, change in changed_paths.items():
                if isinstance(change, str):
                    yield f"{path} {change}"
                    continue
                for name, how in change.items():
                    yield f"{name} {how}"


def record(root: Path, stage: str) -> None:
    """Makes dvc.lock name the outputs of a stage as they are on disk.

    Adds them to the cache. The stage's inputs stay as recorded, so that it is as stale
    as before. Raises StageFailed where another DVC runs.
    """
    from dvc.lock import LockError

    try:
        with _repository(root) as repo, repo.lock:
            for found in repo.stage.collect(stage):
                found.save_outs()
                found.commit()
                found.dump(update_pipeline=False)
    except LockError as error:
        raise StageFailed(stage, os.EX_TEMPFAIL, str(error).splitlines()) from error


def inputs(root: Path, stages: Sequence[str]) -> tuple[str, ...]:
    """Returns what some stages read and others write, as paths relative to `root`."""
    from dvc.exceptions import OutputNotFoundError

    paths = set()
    with _repository(root) as repo, repo.lock:
        own = [found for name in stages for found in repo.stage.collect(name)]
        for stage in own:
            for dep in stage.deps:
                try:
                    written = repo.find_outs_by_path(dep.fs_path, strict=False)
                except OutputNotFoundError:  # a file of git, such as code
                    continue
                if written[0].stage not in own:
                    paths.add(dep.def_path)
    return tuple(sorted(paths))


def cache_folder(root: Path) -> Path:
    """Returns where the cache of a repository is."""
    with _repository(root) as repo:
        return Path(repo.cache.local_cache_dir)


def cached_object(cache: Path, md5: str) -> Path:
    """Returns where the cache in a folder holds a file. md5: as in dvc.lock."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def checkout(
    root: Path,
    paths: Sequence[str],
    on_line: Callable[[str], None],
    stop: threading.Event | None = None,
) -> None:
    """Puts outputs that dvc.lock names into place, from the cache.

    stop: as of `processes.stream`. Raises StageFailed where the cache lacks one.
    """
    tail: deque[str] = deque(maxlen=TAIL)

    def read(line: str) -> None:
        if not line.startswith(_ADVERTISEMENT):
            tail.append(line)
            on_line(line)

    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "checkout", "--force"]
    status = processes.stream([*command, *paths], root, read, stop=stop)
    if status:
        raise StageFailed("checkout", status, tail)


def run(
    root: Path,
    stage: str,
    on_line: Callable[[str], None],
    variables: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
    *,
    force: bool = False,
) -> Outcome:
    """Brings one stage up to date, not those before it.

    Calls `on_line` with each line of output; raises StageFailed. variables, stop: as
    of `processes.stream`. force: run it even where DVC finds it up to date.
    """
    outcome = Outcome.REBUILT
    tail: deque[str] = deque(maxlen=TAIL)

    def read(line: str) -> None:
        nonlocal outcome
        tail.append(line)
        if line == f"Stage '{stage}' didn't change, skipping":
            outcome = Outcome.UP_TO_DATE
        elif line == f"Stage '{stage}' is cached - skipping run, checking out outputs":
            outcome = Outcome.RESTORED
        on_line(line)

    # A subprocess and not Repo.reproduce(), which gives no output line by line, handles
    # signals itself and dies with a crashing stage. --wait-for-lock, since DVC
    # otherwise stops waiting for the lock after 3 seconds.
    command = [sys.executable, "-m", "dvc", "--wait-for-lock"]
    command += ["repro", "--single-item", stage]
    if force:
        command.append("--force")
    dvc_status = processes.stream(command, root, read, variables=variables, stop=stop)
    if dvc_status:
        raise StageFailed(stage, _exit_status(tail, dvc_status), tail)
    return outcome


def _exit_status(tail: Sequence[str], dvc_status: int) -> int:
    """Returns the exit status of the stage's command.

    DVC gives it only in its message.
    """
    status = dvc_status
    for line in tail:
        if _BUSY in line:
            return os.EX_TEMPFAIL
        match = _EXITED.search(line)
        if match:
            status = int(match[1])
    return status


@contextlib.contextmanager
def _repository(root: Path) -> Iterator[Any]:
    """Opens the DVC repository in `root`.

    DVC resolves targets against the working directory, so that is changed too. Raises
    BadInput where DVC cannot read what is there: dvc.yaml, dvc.lock, params.yaml, its
    configuration or the git repository.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    try:
        with contextlib.chdir(root), Repo(_wait_for_lock=True) as repo:
            yield repo
    except LockError:  # nothing is wrong with what is there
        raise
    except DvcException as error:
        # Here, since the flow takes nothing of the pipeline's code into its process.
        from pipeline.errors import BadInput

        reason = " ".join(str(error).split()).rstrip(".")
        raise BadInput(
            f"DVC cannot read this project: {reason}. Correct what it names, or bring "
            "it back with git checkout."
        ) from error
