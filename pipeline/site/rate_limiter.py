"""One rate over all requests, which leave on an even grid.

Never do more leave than the rate in one second.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

# Slots lie this much further apart than 1 / rate. What arrives is what counts, and one
# request may be delayed on its way and the next not: the first of any rate + 1 may be
# 12 ms late before they all arrive within one second. Costs 1.2 % of the rate, of
# which 2 % may be missing.
_WIDER = 1.012

# Seconds that hold at most `rate` departures, whatever the grid allows: after a late
# one the others stay apart.
_WINDOW = 1.011

# Seconds by which the grid may lie behind the clock. Timers wake up 1 to 2 ms late, 50
# on a busy machine, and an absolute grid compensates for that; after anything longer
# (an idle minute, a stopped process) it starts anew from now.
_CATCH_UP = 0.05


class RateLimiter:
    """Lets `rate` requests per second leave, first come, first served.

    Belongs to one event loop.

    Our own and not aiolimiter's, by measurement (bench/results/limiter.md, 5 runs at
    50/s on a busy machine): with a bucket of one it reached 89 % of the rate, since
    every late timer is lost, and 3 arrivals in one second at 2/s; with a larger bucket
    115 %, and 101 arrivals in one second. This reaches 98.7 %, and never more than 50
    in one second.
    """

    def __init__(self, rate: float) -> None:
        self._interval = _WIDER / rate
        self._next = 0.0  # monotonic seconds of the next slot of the grid
        # Times of the last departures, oldest first.
        self._left: deque[float] = deque(maxlen=math.ceil(rate))
        self._line = asyncio.Lock()  # first come, first served

    async def acquire(self) -> "Permit":
        """Returns when the next request may leave.

        No other request gets a permit before `Permit.left` is called.
        """
        await self._line.acquire()
        try:
            now = time.monotonic()
            is_on_grid = now - self._next <= _CATCH_UP
            slot = self._next if is_on_grid else now
            await self._sleep_until(slot)
        except BaseException:
            self._line.release()
            raise
        self._next = slot + self._interval
        return Permit(self._departed)

    async def _sleep_until(self, slot: float) -> None:
        departure = max(slot, self._window_end())
        # In a loop, because a sleep may end up to one tick of the clock too early.
        while (wait := departure - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(wait)

    def _departed(self) -> None:
        self._left.append(time.monotonic())
        self._line.release()

    def _window_end(self) -> float:
        is_full = len(self._left) == self._left.maxlen
        return self._left[0] + _WINDOW if is_full else 0.0


class Permit:
    """The right of one request to leave now.

    What counts is when it leaves, not when it might: a new connection takes hundreds of
    milliseconds (name, TCP, TLS), in which the next ones would come closer than the
    rate allows. So the line waits for `left`.
    """

    def __init__(self, departed: Callable[[], None]) -> None:
        self._departed: Callable[[], None] | None = departed

    def left(self) -> None:
        """Reports that the request has left, or never will. Later calls do nothing."""
        departed = self._departed
        self._departed = None
        if departed is not None:
            departed()
