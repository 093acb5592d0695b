"""How long work shows itself: a bar on a terminal, a plain line every ten seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from threading import Event, Thread
from typing import TypeVar

_T = TypeVar("_T")
PLAIN_INTERVAL = 10.0  # seconds between plain lines
_BAR_INTERVAL = 1.0  # seconds after which rate and time left are worked out anew where nothing was finished meanwhile


class Meter:
    """Counts finished units. `note` is shown beside the count, such as failures so far."""

    def __init__(self, label: str, unit: str, total: int | None) -> None:
        self.label, self.unit, self.total, self.done, self.note = (
            label,
            unit,
            total,
            0,
            "",
        )
        self._found = self._bytes = 0
        self._started = time.monotonic()

    def advance(self, units: int = 1, note: str | None = None, bytes: int = 0) -> None:  # noqa: A002  # the unit's name
        """Counts `units` more as done. bytes: what they brought with them; where any came, MB/s are shown too."""
        self.done += units
        self._bytes += bytes
        if note is not None:
            self.note = note
        self._show()

    def skip_done(self, units: int) -> None:
        """Counts units that an earlier run finished: they are done, and say nothing about how fast this one is."""
        self._found += units
        self.advance(units)

    def line(self) -> str:
        """Returns the state as one line."""
        return f"{self.label}: {self.state()}"

    def state(self) -> str:
        """Returns done, total, rate, bytes per second, time left, note; what does not apply is left out."""
        seconds = max(time.monotonic() - self._started, 1e-3)
        rate = (self.done - self._found) / seconds
        of = f" of {self._counted(self.total)}" if self.total is not None else ""
        unit = "" if self.unit == "bytes" else f" {self.unit}"
        parts = [
            f"{self._counted(self.done)}{of}{unit}",
            f"{self._counted(rate, '.1f')}/s",
        ]
        if self._bytes:
            parts.append(f"{self._bytes / seconds / 1e6:,.1f} MB/s")
        if self.total and rate > 0 and self.done < self.total:
            parts.append(f"{_roughly((self.total - self.done) / rate)} left")
        return ", ".join([*parts, *([self.note] if self.note else [])])

    def _counted(self, units: float, form: str = "") -> str:
        return f"{units / 1e6:,.1f} MB" if self.unit == "bytes" else f"{units:,{form}}"

    def _show(self) -> None:
        """Shows the state at once, where that is wanted."""


@contextmanager
def meter(label: str, *, unit: str, total: int | None = None) -> Iterator[Meter]:
    """Shows a meter while the block runs and its last state as a plain line afterwards."""
    if not sys.stderr.isatty():
        plain = Meter(label, unit, total)
        with _every(PLAIN_INTERVAL, lambda: log(plain.line())):
            yield plain
        log(plain.line())
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[state]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, state="")

        class _BarMeter(Meter):
            def _show(self) -> None:
                bar.update(
                    task, completed=self.done, total=self.total, state=self.state()
                )

        shown = _BarMeter(label, unit, total)
        with _every(_BAR_INTERVAL, lambda: shown.advance(0)):
            yield shown
    log(shown.line())


@contextmanager
def _every(seconds: float, show: Callable[[], None]) -> Iterator[None]:
    """Calls `show` so often while the block runs, also where it waits: silence looks like a hung process."""
    is_over = Event()

    def tick() -> None:
        while not is_over.wait(seconds):
            show()

    thread = Thread(target=tick, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _roughly(seconds: float) -> str:
    """Returns a time left: seconds below two minutes, then minutes, hours from two on, days from two on."""
    if seconds < 120:
        return f"{seconds:,.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:,.0f} min"
    return (
        f"{seconds / 3_600:,.1f} h"
        if seconds < 172_800
        else f"{seconds / 86_400:,.1f} days"
    )


def track(
    things: Iterable[_T], label: str, *, unit: str, total: int | None = None
) -> Iterator[_T]:
    """Yields the things one by one, showing a meter."""
    if total is None and isinstance(things, Sized):
        total = len(things)
    with meter(label, unit=unit, total=total) as shown:
        for thing in things:
            yield thing
            shown.advance()


def log(line: str) -> None:
    """Prints one plain line to stderr at once."""
    print(line, file=sys.stderr, flush=True)
