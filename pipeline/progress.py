"""How long work shows itself: a bar on a terminal, a plain line every ten seconds elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")
PLAIN_INTERVAL = 10.0  # seconds between plain lines


class Meter:
    """Counts finished units. `note` is shown beside the count, such as failures so far."""

    def __init__(self, label: str, unit: str, total: int | None) -> None:
        self.label, self.unit, self.total, self.done, self.note = label, unit, total, 0, ""
        self._started = time.monotonic()

    def advance(self, units: int = 1, note: str | None = None) -> None:
        """Counts `units` more as done."""
        self.done += units
        if note is not None:
            self.note = note
        self._show()

    def line(self) -> str:
        """Returns the state as one line: done, total, rate, time left."""
        seconds = max(time.monotonic() - self._started, 1e-3)
        rate = self.done / seconds
        if self.unit == "bytes":
            return f"{self.label}: {self.done / 1e6:,.1f} MB{self._of_megabytes()}, {rate / 1e6:,.1f} MB/s"
        of = f" of {self.total:,}" if self.total is not None else ""
        left = (
            f", {(self.total - self.done) / rate:,.0f} s left"
            if self.total and rate > 0 and self.done < self.total
            else ""
        )
        note = f", {self.note}" if self.note else ""
        return f"{self.label}: {self.done:,}{of} {self.unit}, {rate:,.1f}/s{left}{note}"

    def _of_megabytes(self) -> str:
        return f" of {self.total / 1e6:,.1f} MB" if self.total is not None else ""

    def _show(self) -> None:
        """Shows the state, where it is time to."""


class _PlainMeter(Meter):
    def __init__(self, label: str, unit: str, total: int | None) -> None:
        super().__init__(label, unit, total)
        self._next = time.monotonic() + PLAIN_INTERVAL

    def _show(self) -> None:
        if (now := time.monotonic()) >= self._next:
            self._next = now + PLAIN_INTERVAL
            say(self.line())


@contextmanager
def meter(label: str, *, unit: str, total: int | None = None) -> Iterator[Meter]:
    """Shows a meter while the block runs and its last state as a plain line afterwards."""
    if not sys.stderr.isatty():
        plain = _PlainMeter(label, unit, total)
        yield plain
        say(plain.line())
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    from rich.console import Console

    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, note="")

        class _BarMeter(Meter):
            def _show(self) -> None:
                bar.update(task, completed=self.done, note=self.note)

        shown = _BarMeter(label, unit, total)
        yield shown
    say(shown.line())


def track(things: Iterable[_T], label: str, *, unit: str, total: int | None = None) -> Iterator[_T]:
    """Yields the things one by one, showing a meter."""
    if total is None and isinstance(things, Sized):
        total = len(things)
    with meter(label, unit=unit, total=total) as shown:
        for thing in things:
            yield thing
            shown.advance()


def say(line: str) -> None:
    """Prints one plain line to stderr at once."""
    print(line, file=sys.stderr, flush=True)
