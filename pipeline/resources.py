"""What stages take: time and memory of each one's last run that ended well.

Reads       data/resources.json                stage -> the fields of Usage
Writes      the same; no output of DVC, and no stage depends on it
Guarantees  the file appears whole, by a rename; stages that end at the same moment each
            add their own entry. A failure to save ends no stage, but is reported.

Stages have the names of dvc.yaml, such as `validate@sample`. What ran in other
processes of this machine is counted, what ran on other machines is not.
"""

import dataclasses
import fcntl
import json
import resource
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from pipeline import files, progress
from pipeline.errors import E6tagError
from pipeline.paths import Paths

INTERVAL = 1.0
"""Seconds between two looks at the memory of all processes: a look takes 1.6 ms of a
core where 76 processes run. A shorter peak of the workers is missed, and one of the
stage's own process is not."""

_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes of ru_maxrss: bytes on macOS, kilobytes elsewhere."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one run of a stage took.

    seconds: by the wall clock. cpu_seconds: of the stage's process and of the processes
    it waited for. peak_bytes: the most memory of them all at one moment; pages that
    they share count for each. finished: when, in UTC, as ISO 8601.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    finished: str


class Meter:
    """Measures what this process and those it starts take during a `with` block."""

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._cpu_before = _cpu_seconds()
        self._sampled_peak = 0
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._sampler.join()

    def usage(self) -> Usage:
        """Returns what was taken up to now."""
        peak = max(self._sampled_peak, _largest_process())
        now = datetime.now(UTC)
        return Usage(
            seconds=round(time.monotonic() - self._started, 3),
            cpu_seconds=round(_cpu_seconds() - self._cpu_before, 3),
            peak_bytes=peak,
            finished=now.isoformat(timespec="seconds"),
        )

    def _sample(self) -> None:
        while True:
            self._sampled_peak = max(self._sampled_peak, _bytes_of_all_processes())
            if self._ended.wait(INTERVAL):
                return


def _bytes_of_all_processes() -> int:
    """Returns the resident memory of this process and of all below it."""
    own = psutil.Process()
    total = int(own.memory_info().rss)
    for child in own.children(recursive=True):
        with suppress(psutil.Error):  # it has ended
            total += int(child.memory_info().rss)
    return total


def _largest_process() -> int:
    """Returns the peak of this process, or of one it waited for where that is more."""
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(_own_peak(), of_children * _MAXRSS_UNIT)


def _own_peak() -> int:
    """Returns the peak of this process.

    On Linux, ru_maxrss is not less than what the process had that started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def _cpu_seconds() -> float:
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    return total


def read(paths: Paths) -> dict[str, Usage]:
    """Returns the last run of each stage; empty where none was recorded.

    A file that does not hold that is set aside and reported.
    """
    path = paths.resources
    try:
        tree = json.loads(path.read_bytes())
        return {stage: _parsed(fields) for stage, fields in tree.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        progress.log(
            f"{path} cannot be read ({error}): kept as {aside.name}; times are "
            "recorded anew"
        )
        return {}


def _parsed(fields: dict[str, Any]) -> Usage:
    """Returns a stage's entry; raises ValueError or TypeError for other fields."""
    usage = Usage(**fields)
    numbers = (usage.seconds, usage.cpu_seconds, usage.peak_bytes)
    if not all(isinstance(number, int | float) for number in numbers):
        raise ValueError(f"not numbers: {numbers}")
    datetime.fromisoformat(usage.finished)
    return usage


def save(paths: Paths, stage: str, usage: Usage) -> None:
    """Records a stage's run in place of its last one."""
    lock = paths.work("resources") / "lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            known = read(paths) | {stage: usage}
            tree = {name: dataclasses.asdict(one) for name, one in known.items()}
            files.write_json(paths.resources, tree)
    except (E6tagError, OSError) as error:
        progress.log(f"{paths.resources}: what {stage} took is not saved: {error}")
