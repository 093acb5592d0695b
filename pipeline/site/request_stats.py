"""Load on the site: requests by kind and status, bytes and waits of every stage.

They are summed over all runs.

Writes      data/politeness.json, which is no DVC output:
            {stage: statistics}, with only numbers at the leaves
              agents            requests by User-Agent
              bytes             of bodies, by kind (api, export, file), after
                                Content-Encoding
              requests          by kind, then by status or, where no whole response
                                came, by the name of the error
              rate_limit_per_second   in force in the last run; absent without a limit
              seconds_waited    by reason (rate_limit, retry_after, backoff): elapsed
                                seconds in which at least one request waited for it,
                                however many did
Guarantees  a kill loses the last ten seconds at most; a file that cannot be read is set
            aside and reported.
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
from pipeline.errors import E6tagError
from pipeline.paths import Paths

INTERVAL = 10.0  # seconds between two saves
_RATE = "rate_limit_per_second"


class WaitReason(StrEnum):
    """Why a request did not leave at once."""

    RATE_LIMIT = "rate_limit"
    RETRY_AFTER = "retry_after"
    BACKOFF = "backoff"


class RequestStats:
    """Requests and waits since the statistics were last taken."""

    def __init__(self, agent: str, rate: float | None) -> None:
        self._agent = agent
        self._rate = rate
        self._requests: Counter[tuple[str, str]] = Counter()
        self._bytes: Counter[str] = Counter()
        # Fractional seconds, though typeshed's Counter holds int.
        self._seconds: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()  # requests that wait now
        self._since: dict[str, float] = {}

    def record_request(self, kind: str, outcome: str, size: int) -> None:
        """Counts one request.

        outcome: its status or the name of its error; size: bytes of its body received.
        """
        self._requests[kind, outcome] += 1
        self._bytes[kind] += size

    @contextmanager
    def waiting(self, reason: WaitReason) -> Iterator[None]:
        """Counts the seconds of the block, only once where many wait for one reason."""
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
        """Returns the statistics as they are saved, and resets them."""
        for reason, waiting in self._waiting.items():
            if waiting:
                self._count_wait(reason)
        requests: dict[str, dict[str, int]] = {}
        for (kind, outcome), count in self._requests.items():
            requests.setdefault(kind, {})[outcome] = count
        seconds = {
            str(reason): round(waited, 3) for reason, waited in self._seconds.items()
        }
        taken: dict[str, Any] = {
            "agents": {self._agent: self._requests.total()},
            "bytes": dict(self._bytes),
            "requests": requests,
            "seconds_waited": seconds,
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
    paths: Paths, stage: str, stats: RequestStats
) -> AsyncIterator[None]:
    """Saves the statistics during the block and when it ends, however it ends."""
    ended = asyncio.Event()
    saving = asyncio.create_task(_save_periodically(paths, stage, stats, ended))
    try:
        yield
    finally:
        # Not cancelled: statistics that a save has taken would be lost with it.
        ended.set()
        await saving
        _save(paths, stage, stats.take())


def read(paths: Paths) -> dict[str, Any]:
    """Returns the statistics by stage.

    A file that does not hold statistics is set aside and reported.
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
            f"{path} cannot be read ({error}): kept as {aside.name}; "
            "politeness is counted anew"
        )
        return {}


def _parsed(content: bytes) -> dict[str, Any]:
    tree = json.loads(content)
    is_by_stage = isinstance(tree, dict) and all(
        isinstance(section, dict) for section in tree.values()
    )
    if not is_by_stage or not _has_only_numbers(tree):
        raise ValueError("it does not hold figures by stage")
    return tree


def _has_only_numbers(tree: Any) -> bool:
    if isinstance(tree, dict):
        return all(_has_only_numbers(child) for child in tree.values())
    return isinstance(tree, int | float)


async def _save_periodically(
    paths: Paths, stage: str, stats: RequestStats, ended: asyncio.Event
) -> None:
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), INTERVAL)
            return
        # In a thread, because a slow disk must not hold up the requests.
        await asyncio.to_thread(_save, paths, stage, stats.take())


def _save(paths: Paths, stage: str, news: dict[str, Any]) -> None:
    """Adds the statistics to the stage's section.

    A failure to save them does not end the work they are about, but is reported.
    """
    lock = paths.work("politeness") / "lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            tree = read(paths)
            before = dict(tree.get(stage, {}))
            before.pop(_RATE, None)
            tree[stage] = _sum(before, news)
            files.write_json(paths.politeness, tree)
    except (E6tagError, OSError) as error:
        progress.log(
            f"{paths.politeness}: politeness figures of {stage} are not saved: {error}"
        )


def _sum(before: Any, news: dict[str, Any]) -> dict[str, Any]:
    """Returns the sum, leaf by leaf; the rate limit is the last run's."""
    total: dict[str, Any] = dict(before) if isinstance(before, dict) else {}
    for key, value in news.items():
        if isinstance(value, dict):
            total[key] = _sum(total.get(key), value)
        elif key == _RATE or not isinstance(total.get(key), int | float):
            total[key] = value
        else:
            total[key] = round(total[key] + value, 3)
    return total
