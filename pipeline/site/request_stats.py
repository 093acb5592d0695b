"""What the site had to bear.

Requests by kind and status, bytes and waits of every stage, added up over all runs.

Writes      data/politeness.json, a DVC metric that no stage depends on: {stage: figures}, only numbers at the leaves
              agents            requests by User-Agent
              bytes             of bodies, by kind (api, export, file), after Content-Encoding
              requests          by kind, then by status or, where no whole answer came, by the name of the error
              rate_limit_per_second   in force in the last run; not there where there is none
              seconds_waited    by reason (rate_limit, retry_after, backoff); seconds by the clock in which at least one
                                request waited for it, however many did
Guarantees  a kill loses the last ten seconds at most; a file that cannot be read is set
aside and said.
"""

import asyncio
import fcntl
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from typing import Any

from pipeline import files, progress
from pipeline.errors import NoSpace
from pipeline.paths import Paths

INTERVAL = 10.0  # seconds between two savings
_RATE = "rate_limit_per_second"


class WaitReason(StrEnum):
    """Why a request did not leave at once."""

    RATE_LIMIT = "rate_limit"
    RETRY_AFTER = "retry_after"
    BACKOFF = "backoff"


class RequestStats:
    """What was asked and waited for since it was last taken."""

    def __init__(self, agent: str, rate: float | None) -> None:
        self._agent, self._rate = agent, rate
        self._requests: Counter[tuple[str, str]] = Counter()
        self._bytes: Counter[str] = Counter()
        self._seconds: Counter[str] = (
            Counter()
        )  # whole and broken seconds; typeshed's Counter says int
        self._waiting: Counter[str] = Counter()  # requests that wait now
        self._since: dict[str, float] = {}

    def record_request(self, kind: str, outcome: str, size: int) -> None:
        """Counts one request.

        outcome: its status or the name of its error; size: bytes of its body that came.
        """
        self._requests[kind, outcome] += 1
        self._bytes[kind] += size

    @contextmanager
    def waiting(self, reason: WaitReason) -> Iterator[None]:
        """Counts the seconds of the block.

        But only once where many wait for the same reason.
        """
        if not self._waiting[reason]:
            self._since[reason] = time.monotonic()
        self._waiting[reason] += 1
        try:
            yield
        finally:
            self._waiting[reason] -= 1
            if not self._waiting[reason]:
                self._count_wait(reason)

    def take(self) -> dict[str, Any]:
        """Returns the figures as they are saved, and starts anew."""
        for reason, waiting in self._waiting.items():
            if waiting:
                self._count_wait(reason)
        requests: dict[str, dict[str, int]] = {}
        for (kind, outcome), count in self._requests.items():
            requests.setdefault(kind, {})[outcome] = count
        taken: dict[str, Any] = {
            "agents": {self._agent: self._requests.total()},
            "bytes": dict(self._bytes),
            "requests": requests,
            "seconds_waited": {
                str(reason): round(seconds, 3)
                for reason, seconds in self._seconds.items()
            },
        }
        if self._rate is not None:
            taken[_RATE] = self._rate
        for counter in (self._requests, self._bytes, self._seconds):
            counter.clear()
        return taken

    def _count_wait(self, reason: str) -> None:
        now = time.monotonic()
        self._seconds[reason] += now - self._since[reason]  # type: ignore[assignment]
        self._since[reason] = now


@asynccontextmanager
async def record_stats(
    paths: Paths, stage: str, figures: RequestStats
) -> AsyncIterator[None]:
    """Saves the figures of the block while it runs and when it ends, however it ends."""
    saving = asyncio.create_task(_save_now_and_then(paths, stage, figures))
    try:
        yield
    finally:
        saving.cancel()
        with suppress(asyncio.CancelledError):
            await saving
        _save(paths, stage, figures.take())


def read(paths: Paths) -> dict[str, Any]:
    """Returns the figures by stage.

    A file that does not hold such is set aside and said.
    """
    path = paths.politeness
    try:
        return _parsed(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        progress.log(
            f"{path} cannot be read ({error}): kept as {aside.name}; politeness is "
            "counted anew"
        )
        return {}


def _parsed(content: bytes) -> dict[str, Any]:
    tree = json.loads(content)
    if not isinstance(tree, dict) or not all(
        isinstance(one, dict) and _is_figures(one) for one in tree.values()
    ):
        raise ValueError("it does not hold figures by stage")
    return tree


async def _save_now_and_then(paths: Paths, stage: str, figures: RequestStats) -> None:
    while True:
        await asyncio.sleep(INTERVAL)
        # In a thread, because a slow disk must not hold up the requests. One that
        # outlives the cancellation does no harm: what it saves is taken, and the last
        # saving waits for its lock.
        await asyncio.to_thread(_save, paths, stage, figures.take())


def _save(paths: Paths, stage: str, news: dict[str, Any]) -> None:
    """Adds to the stage's section.

    Figures that cannot be saved do not end the work they are about, but are said.
    """
    lock = paths.work("politeness") / "lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            tree = read(paths)
            before = {
                key: value for key, value in tree.get(stage, {}).items() if key != _RATE
            }
            tree[stage] = _sum(before, news)
            files.write_text(
                paths.politeness, json.dumps(tree, indent=2, sort_keys=True) + "\n"
            )
    except (NoSpace, OSError) as error:
        progress.log(
            f"{paths.politeness}: politeness figures of {stage} are not saved: {error}"
        )


def _sum(kept: Any, news: dict[str, Any]) -> dict[str, Any]:
    """Returns the figures added up, leaf by leaf; the rate limit is the last run's."""
    total: dict[str, Any] = {**kept} if isinstance(kept, dict) else {}
    for key, value in news.items():
        if isinstance(value, dict):
            total[key] = _sum(total.get(key), value)
        elif key == _RATE or not isinstance(total.get(key), int | float):
            total[key] = value
        else:
            total[key] = round(total[key] + value, 3)
    return total


def _is_figures(tree: Any) -> bool:
    if isinstance(tree, dict):
        return all(_is_figures(one) for one in tree.values())
    return isinstance(tree, int | float)
