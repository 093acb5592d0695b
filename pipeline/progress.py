"""Shows how far long work is: a bar on a terminal, else a line every ten seconds."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from functools import partial
from threading import Event, Thread
from typing import TypeVar

from e6tag.image_files.damage import Undecodable

_T = TypeVar("_T")
PLAIN_INTERVAL = 10.0  # seconds between plain lines
# seconds after which rate and time left are computed again where no unit was finished
_BAR_INTERVAL = 1.0


class Meter:
    """Counts finished units. `note` is shown beside the count, such as failures."""

    def __init__(self, label: str, unit: str, total: int | None) -> None:
        self.label = label
        self.unit = unit
        self.total = total
        self.done = 0
        self.note = ""
        self._skipped = 0
        self._bytes = 0
        self._started = time.monotonic()

    def advance(
        self,
        units: int = 1,
        note: str | None = None,
        bytes: int = 0,  # noqa: A002  # the unit's name
    ) -> None:
        """Counts `units` more as done.

        bytes: size of what was transferred for them; if any, MB/s are shown too.
        """
        self.done += units
        self._bytes += bytes
        if note is not None:
            self.note = note
        self._show()

    def skip_done(self, units: int) -> None:
        """Counts units that an earlier run finished: they do not count for the rate."""
        self._skipped += units
        self.advance(units)

    def line(self) -> str:
        """Returns the state as one line."""
        return f"{self.label}: {self.state()}"

    def state(self) -> str:
        """Returns done, total, rate, bytes per second, time left and note.

        What does not apply is left out.
        """
        seconds = max(time.monotonic() - self._started, 1e-3)
        rate = (self.done - self._skipped) / seconds
        parts = [self._done_of_total(), f"{self._counted(rate, '.1f')}/s"]
        if self._bytes:
            parts.append(f"{self._bytes / seconds / 1e6:,.1f} MB/s")
        if self.total and rate > 0 and self.done < self.total:
            seconds_left = (self.total - self.done) / rate
            parts.append(f"{_roughly(seconds_left)} left")
        if self.note:
            parts.append(self.note)
        return ", ".join(parts)

    def _done_of_total(self) -> str:
        text = self._counted(self.done)
        if self.total is not None:
            text += f" of {self._counted(self.total)}"
        if self.unit != "bytes":
            text += f" {self.unit}"
        return text

    def _counted(self, units: float, form: str = "") -> str:
        if self.unit == "bytes":
            return f"{units / 1e6:,.1f} MB"
        return f"{units:,{form}}"

    def _show(self) -> None:
        """Shows the state at once, where that is wanted."""


@contextmanager
def meter(label: str, *, unit: str, total: int | None = None) -> Iterator[Meter]:
    """Shows a meter while the block runs, and its last state as a line afterwards."""
    show = _bar_meter if sys.stderr.isatty() else _plain_meter
    with show(Meter(label, unit, total)) as shown:
        yield shown
    log(shown.line())


@contextmanager
def _plain_meter(plain: Meter) -> Iterator[Meter]:
    def show() -> None:
        log(plain.line())

    with _every(PLAIN_INTERVAL, show):
        yield plain


@contextmanager
def _bar_meter(plain: Meter) -> Iterator[Meter]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[state]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(plain.label, total=plain.total, state="")

        class _BarMeter(Meter):
            def _show(self) -> None:
                bar.update(
                    task, completed=self.done, total=self.total, state=self.state()
                )

        shown = _BarMeter(plain.label, plain.unit, plain.total)
        with _every(_BAR_INTERVAL, partial(shown.advance, 0)):
            yield shown


@contextmanager
def _every(seconds: float, show: Callable[[], None]) -> Iterator[None]:
    """Calls `show` at an interval while the block runs.

    It does so also while the block waits: silence looks like a hung process.
    """
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
    """Returns a time left: seconds below two minutes, then minutes, hours or days.

    Hours are given from two hours on, days from two days on.
    """
    if seconds < 120:
        return f"{seconds:,.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:,.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3_600:,.1f} h"
    return f"{seconds / 86_400:,.1f} days"


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


def log_undecodable(stage: str, md5: str, error: Undecodable) -> None:
    """Logs what a decoder said of an image: its words are not for data."""
    if error.__cause__ is not None:
        log(f"{stage}: {md5}: {error.damage}: {error.__cause__}")
