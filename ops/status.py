"""`e6tag status`: what is there, what is stale and why, and what is unfinished.

Reads       dvc.yaml, dvc.lock and what they name, through DVC; snapshot.json; the
            verdicts of the gates; .work
Writes      nothing; DVC notes checksums of files that it had not read before

    python -m ops.status [--json]
"""

import dataclasses
import enum
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psutil

from ops import dvc, leftovers
from ops.dvc import StageStatus
from ops.leftovers import Leftover, as_size
from pipeline import pin
from pipeline.errors import BadInput
from pipeline.paths import Paths
from pipeline.stage_runner import exit_on_failure

SHOWN = 3
"""Reasons that are shown of a stage; the others are counted."""

_VERDICT = "verdict.json"
_UNREADABLE = "unreadable verdict"
_HOLDER = re.compile(r"process (\d+)")


class State(enum.StrEnum):
    """How a stage's outputs stand to its inputs."""

    UP_TO_DATE = "up to date"
    STALE = "stale"
    MAY_CHANGE = "may change"  # it is up to date, and a stage before it is not
    NEVER_RUN = "never run"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class StageReport:
    """A stage for people. size: bytes of its outputs; written: seconds since 1970.

    verdict: of a gate: whether it passed, and how many expectations do not hold.
    """

    name: str
    state: State
    reasons: tuple[str, ...]
    size: int
    written: float
    verdict: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """All that `e6tag status` says. cache: bytes of DVC's cache."""

    site: str
    moment: str
    stages: tuple[StageReport, ...]
    leftovers: tuple[Leftover, ...]
    cache: int


def collect(root: Path) -> Report:
    """Looks at a project; raises BadInput where there is none that DVC can read."""
    paths = Paths(root)
    if not (root / "dvc.yaml").is_file() or not (root / ".dvc").is_dir():
        raise BadInput("no DVC project here: run it in the folder with dvc.yaml.")
    site, moment = _pinned(paths)
    cache, _ = leftovers.measure([dvc.cache_folder(root)])
    return Report(
        site=site,
        moment=moment,
        stages=tuple(_reports(paths, dvc.status(root))),
        leftovers=tuple(leftovers.find(paths)),
        cache=cache,
    )


def _pinned(paths: Paths) -> tuple[str, str]:
    """Returns the site and the moment that snapshot.json pins."""
    if not paths.pin.is_file():
        return "no site", "nothing is pinned: run e6tag refresh"
    found = pin.load(paths.pin)
    return pin.site_name(found), found.moment


def _reports(paths: Paths, stages: Sequence[StageStatus]) -> Iterator[StageReport]:
    # Stages that are not up to date, and those after them.
    moving: set[str] = set()
    for stage in stages:
        state, reasons = _state(paths, stage, moving)
        if state is not State.UP_TO_DATE:
            moving.add(stage.name)
        outputs = [paths.root / path for path in stage.outputs]
        size, written = leftovers.measure(outputs)
        yield StageReport(stage.name, state, reasons, size, written, _verdict(outputs))


def _state(
    paths: Paths, stage: StageStatus, moving: set[str]
) -> tuple[State, tuple[str, ...]]:
    """Returns the state of a stage and why it is that."""
    if _is_running(paths.work(stage.name.replace("@", "-")) / "lock"):
        return State.RUNNING, ()
    if not stage.has_run:
        return State.NEVER_RUN, ()
    if stage.changes:
        return State.STALE, stage.changes
    before = tuple(name for name in stage.after if name in moving)
    if before:
        return State.MAY_CHANGE, tuple(f"after {name}" for name in before)
    return State.UP_TO_DATE, ()


def _is_running(lock: Path) -> bool:
    """Returns whether the process that a lock names is alive.

    The lock itself is not tried: a stage that starts at that moment would give up.
    """
    try:
        match = _HOLDER.match(lock.read_text())
        if match is None:
            return False
        started = psutil.Process(int(match[1])).create_time()
        return started <= lock.stat().st_mtime
    except (OSError, psutil.Error):
        return False


def _verdict(outputs: Sequence[Path]) -> str | None:
    """Returns what a gate decided, in words; None of other stages."""
    for path in outputs:
        if path.name == _VERDICT:
            try:
                return _in_words(path.read_bytes())
            except FileNotFoundError:  # or it is being written anew
                return None
            except (OSError, ValueError, KeyError, TypeError):
                return _UNREADABLE
    return None


def _in_words(content: bytes) -> str:
    """Returns what a verdict says; raises ValueError, KeyError, TypeError.

    content: of verdict.json.
    """
    verdict = json.loads(content.decode())
    failed = [one for one in verdict["expectations"] if not one["success"]]
    word = "passed" if verdict["success"] else "failed"
    if failed:
        word += f", {len(failed)} of {len(verdict['expectations'])} do not hold"
    return word


def to_lines(report: Report) -> Iterator[str]:
    """Yields the report for people."""
    yield f"{report.site}, {report.moment}"
    yield ""
    width = max((len(one.name) for one in report.stages), default=0)
    for one in report.stages:
        size = as_size(one.size) if one.size else "-"
        line = f"{one.name:<{width}}  {one.state:<10}  {size:>10}  {_when(one.written)}"
        yield f"{line}  {one.verdict or ''}".rstrip()
        yield from _reason_lines(one, width)
    yield ""
    if report.leftovers:
        yield "left from earlier runs (e6tag clean):"
    for left in report.leftovers:
        yield (
            f"  {left.kind:<11}  {as_size(left.size):>10}  {_when(left.modified)}  "
            f"{left.place}"
        )
    yield f"DVC's cache: {as_size(report.cache)}"
    yield _conclusion(report)


def _reason_lines(one: StageReport, width: int) -> Iterator[str]:
    indent = " " * (width + 2)
    for reason in one.reasons[:SHOWN]:
        yield f"{indent}{reason}"
    if len(one.reasons) > SHOWN:
        yield f"{indent}and {len(one.reasons) - SHOWN} more"


def _when(seconds: float) -> str:
    if not seconds:
        return "-" + " " * 15
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _conclusion(report: Report) -> str:
    counts = []
    for state in (State.RUNNING, State.STALE, State.NEVER_RUN, State.MAY_CHANGE):
        count = sum(one.state is state for one in report.stages)
        if count:
            counts.append(f"{count} {state}")
    if not counts:
        return "Everything is up to date."
    return f"{', '.join(counts)} of {len(report.stages)} stages: dvc repro"


def to_json(report: Report) -> str:
    """Returns the report for programs."""
    content = dataclasses.asdict(report)
    return json.dumps(content, indent=2, default=os.fspath)


def main() -> None:
    """Entry point of `python -m ops.status`, which `e6tag status` runs."""
    import typer

    def run(
        json_: Annotated[
            bool, typer.Option("--json", help="Print it for programs.")
        ] = False,
        debug: Annotated[
            bool, typer.Option(help="Show the traceback of an expected failure")
        ] = False,
    ) -> None:
        """Says what is there, what is stale and why, and what is unfinished."""
        try:
            with exit_on_failure(debug=debug):
                report = collect(Path())
                print(to_json(report) if json_ else "\n".join(to_lines(report)))
        except dvc.StageFailed as error:
            if debug:
                raise
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_status) from error

    typer.run(run)


if __name__ == "__main__":
    main()
