"""Gives up on a site that fails every request.

So nobody knocks on a closed door all night.
"""

import time
from datetime import UTC, datetime, timedelta

from pipeline.errors import SiteUnreachable

# Requests in a row without one success: it is the site that fails, not what is asked
# for
LIMIT = 25


class CircuitBreaker:
    """Counts failures over all requests together; any success forgets them.

    least: seconds that a run of failures must last. Many requests under way at once all
    fail at one hiccup; each of them must have had the time to be tried again. pause:
    seconds after which another try makes sense.
    """

    def __init__(self, *, least: float, pause: float, limit: int = LIMIT) -> None:
        self._least, self._pause, self._limit = least, pause, limit
        self._failures, self._since, self._last = 0, 0.0, ""

    def succeeded(self) -> None:
        """The site answers."""
        self._failures = 0

    def failed(
        self, host: str, detail: str, *, wait: float | None = None, spare: int = 0
    ) -> None:
        """Counts one failure; raises SiteUnreachable where it was the last straw.

        wait: seconds that the site asked for. spare: failures more than the limit that
        are bearable.
        """
        if not self._failures:
            self._since = time.monotonic()
        self._failures += 1
        if (
            self._failures < self._limit + spare
            or time.monotonic() - self._since < self._least
        ):
            return
        raise SiteUnreachable(
            f"{host} failed {self._failures:,} requests in a row, the last: {detail}. "
            "Everything fetched is kept. " + retry_hint(max(self._pause, wait or 0.0))
        )


def retry_hint(seconds: float) -> str:
    """Says when to try again: in words.

    And by the clock where it is more than a minute.
    """
    if seconds <= 60:
        return "Run the same command again in a minute."
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    clock = (
        f"{moment:%H:%M} UTC" if seconds < 43_200 else f"{moment:%Y-%m-%d %H:%M} UTC"
    )
    return f"Run the same command again in {_rough(seconds)}, after {clock}."


def _rough(seconds: float) -> str:
    for size, one, many in (
        (86_400, "a day", "days"),
        (3_600, "an hour", "hours"),
        (60, "a minute", "minutes"),
    ):
        if seconds >= 0.95 * size:
            count = round(seconds / size)
            return one if count <= 1 else f"{count:,} {many}"
    return "a minute"
