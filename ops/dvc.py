"""The adapter to DVC: which stages, in which order, what is stale, and running one.

Knows nothing of Prefect.

Reads       dvc.yaml, dvc.lock and what they name, through `dvc.repo`
Writes      nothing itself; `run` starts `dvc repro --single-item`, which writes what
            the stage does, and dvc.lock; `record` writes dvc.lock and the cache
Guarantees  the order is DVC's own, with the names of a foreach expanded
            (`validate@snapshot`); a stage that fails keeps its own exit status; nothing
            of a stage outlives `run`.

DVC has no public interface for the plan. What is used of its inside is imported here
and nowhere else.
"""

import contextlib
import enum
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ops import processes

TAIL = 20  # lines of output that a failure carries with it
# Another DVC, a person's perhaps, works on the same files
BUSY = "is busy, it is being blocked by"
EXITED = re.compile(
    r"failed to run: .*, exited with (-?\d+)$"
)  # DVC's own exit status is 255 whatever the stage's was


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
        message = next(
            (line for line in reversed(self.tail) if not EXITED.search(line)),
            "it printed nothing",
        )
        return f"{self.stage}: exit status {self.exit_status}: {message}"


def plan(root: Path, targets: Sequence[str] | None = None) -> tuple[str, ...]:
    """The stages that `dvc repro TARGETS` would look at, in its order.

    All of dvc.yaml without targets.
    """
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    with _repository(root) as repo, repo.lock:
        wanted = collect_stages(repo, targets or ["dvc.yaml"])
        return tuple(
            stage.addressing
            for stage in plan_repro(get_active_graph(repo.index.graph), wanted)
        )


def changed(root: Path, stage: str) -> bool:
    """Whether `dvc repro --single-item STAGE` would do anything.

    In process: a tenth of a second against DVC's one.
    """
    from dvc.lock import LockError

    try:
        with _repository(root) as repo, repo.lock:
            return any(found.changed() for found in repo.stage.collect(stage))
    except LockError as error:
        raise StageFailed(stage, os.EX_TEMPFAIL, str(error).splitlines()) from error


def record(root: Path, stage: str) -> None:
    """Makes dvc.lock name the outputs of a stage as they lie here.

    And puts them into the cache.

    Its inputs stay as recorded, so that the stage is as stale as before. Raises
    StageFailed where DVC is at work.
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


def run(root: Path, stage: str, on_line: Callable[[str], None]) -> Outcome:
    """Brings one stage up to date, not those before it.

    Gives each line of output to `on_line`; raises StageFailed.
    """
    outcome = Outcome.REBUILT
    tail: deque[str] = deque(maxlen=TAIL)

    def listen(line: str) -> None:
        nonlocal outcome
        tail.append(line)
        if line == f"Stage '{stage}' didn't change, skipping":
            outcome = Outcome.UP_TO_DATE
        elif line == f"Stage '{stage}' is cached - skipping run, checking out outputs":
            outcome = Outcome.RESTORED
        on_line(line)

    # A subprocess and not Repo.reproduce(): that one cannot be listened to, handles
    # signals itself and dies with a crashing stage. --wait-for-lock, since the lock is
    # otherwise given up after 3 seconds.
    dvc_status = processes.stream(
        [
            sys.executable,
            "-m",
            "dvc",
            "--wait-for-lock",
            "repro",
            "--single-item",
            stage,
        ],
        root,
        listen,
    )
    if dvc_status:
        raise StageFailed(stage, _exit_status(tail, dvc_status), tail)
    return outcome


def _exit_status(tail: Sequence[str], dvc_status: int) -> int:
    """The exit status of the stage's command, which DVC gives only in its message."""
    if any(BUSY in line for line in tail):
        return os.EX_TEMPFAIL
    found = (EXITED.search(line) for line in reversed(tail))
    return next((int(match[1]) for match in found if match), dvc_status)


@contextlib.contextmanager
def _repository(root: Path) -> Iterator[Any]:
    """The DVC repository in `root`.

    DVC resolves targets against the working directory, so that is changed too.
    """
    from dvc.repo import Repo

    with contextlib.chdir(root), Repo(_wait_for_lock=True) as repo:
        yield repo
