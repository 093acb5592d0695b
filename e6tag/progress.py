"""A bar on a terminal that shows how far long work is; nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(
    label: str, count: Callable[[], int | None], *, is_shown: bool
) -> Iterator[Callable[[], None]]:
    """Yields a function that counts one as done; shows a bar on stderr meanwhile.

    count: tells how many there are, None where that is not known; called where the bar
    is shown. Where it is not, nothing is counted.
    """
    if not is_shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False
    ) as progress:
        task = progress.add_task(label, total=count())
        yield lambda: progress.advance(task)


def is_wanted(*, prints_answers: bool) -> bool:
    """Returns whether a bar can be shown: on a terminal that shows nothing else.

    prints_answers: whether standard output is in use; lines that appear there show by
    themselves how far the work is.
    """
    if not sys.stderr.isatty():
        return False
    return not (prints_answers and sys.stdout.isatty())
