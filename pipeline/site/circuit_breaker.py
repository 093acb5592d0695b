"""Stops a run whose requests all fail, so that a dead site is not queried all night."""

import time
from datetime import UTC, datetime, timedelta

from pipeline.errors import SiteUnreachable

LIMIT = 25  # failures in a row: the site fails, not single addresses of it

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400  # seconds
_CLOCK_ONLY = 43_200  # seconds; a later moment is given with its date


class CircuitBreaker:
    """Counts failures over all requests together; any success resets the count.

    least: seconds that a run of failures must last. Many concurrent requests all fail
    at one hiccup, and each of them must have had time for a retry.
    pause: seconds after which another run makes sense.
    """

    def __init__(self, *, least: float, pause: float, limit: int = LIMIT) -> None:
        self._least = least
        self._pause = pause
        self._limit = limit
        self._failures = 0
        self._since = 0.0

    def succeeded(self) -> None:
        """Records that the site answers."""
        self._failures = 0

    def failed(
        self, host: str, detail: str, *, wait: float | None = None, spare: int = 0
    ) -> None:
        """Counts one failure; raises SiteUnreachable when the limit is reached.

        wait: seconds that the site requested. spare: failures allowed beyond the limit.
        """
        now = time.monotonic()
        if not self._failures:
            self._since = now
        self._failures += 1
        if self._failures < self._limit + spare:
            return
        if now - self._since < self._least:
            return
        pause = max(self._pause, wait or 0.0)
        raise SiteUnreachable(
            f"{host} failed {self._failures:,} requests in a row, the last: {detail}. "
            f"Everything fetched is kept. {retry_hint(pause)}"
        )


def retry_hint(seconds: float) -> str:
    """Returns a sentence that names when to try again.

    It gives the time of day too, where that is more than a minute ahead.
    """
    if seconds <= _MINUTE:
        return "Run the same command again in a minute."
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    form = "%H:%M" if seconds < _CLOCK_ONLY else "%Y-%m-%d %H:%M"
    clock = moment.strftime(form)
    return f"Run the same command again in {_rough(seconds)}, after {clock} UTC."


def _rough(seconds: float) -> str:
    units = (
        (_DAY, "a day", "days"),
        (_HOUR, "an hour", "hours"),
        (_MINUTE, "a minute", "minutes"),
    )
    for size, one, many in units:
        if seconds >= 0.95 * size:
            count = round(seconds / size)
            return one if count <= 1 else f"{count:,} {many}"
    return "a minute"
