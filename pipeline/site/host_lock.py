"""One process at a time talks to a real site, over all stages and projects of this user on this machine.

And none asks it before the time is over for which it asked to be left alone. The rate that rule 6 of the policy
promises holds inside one process; this makes it hold for all of them together.
"""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from pipeline import files, locks, progress
from pipeline.errors import Busy, SiteUnreachable
from pipeline.site.circuit_breaker import retry_hint

_LONGEST = (
    7 * 86_400.0
    # Seconds for which a note holds; one that says more was written by a clock that was
    # wrong
)


@contextmanager
def lock_hosts(
    hosts: Iterable[str], purpose: str, *, longest_wait: float = 0.0
) -> Iterator[float]:
    """Holds the locks of these host names, which end with the process.

    Raises Busy naming who holds one of them.

    Yields the seconds for which they must still be left alone; raises SiteUnreachable where that is longer than
    `longest_wait`.
    """
    silence = 0.0
    with ExitStack() as stack:
        for host in sorted({host.lower().rstrip(".") for host in hosts}):
            stack.enter_context(
                locks.file_lock(
                    _folder() / f"{host}.lock", partial(_busy, host), purpose=purpose
                )
            )
            silence = max(silence, _left(host, longest_wait))
        yield silence


def record_backoff(host: str, seconds: float) -> None:
    """Notes that this host asked to be left alone for so long, for every process that starts before that is over."""
    files.write_text(_note(host), str(time.time() + min(seconds, _LONGEST)))


def _left(host: str, longest_wait: float) -> float:
    """Returns the seconds that are left of the time for which this host asked.

    Raises where they are too many.
    """
    try:
        left = float(_note(host).read_text()) - time.time()
    except (FileNotFoundError, ValueError):
        return 0.0
    if not 0 < left <= _LONGEST:
        _note(host).unlink(missing_ok=True)
        return 0.0
    if left > longest_wait:
        raise SiteUnreachable(
            f"{host} asked to be left alone (Retry-After), and nothing was asked. "
            f"{retry_hint(left)}"
        )
    progress.log(
        f"{host} asked an earlier run to wait (Retry-After): nothing is asked for "
        f"another {left:,.0f} s"
    )
    return left


def _note(host: str) -> Path:
    return _folder() / f"{host.lower().rstrip('.')}.not-before"


def _busy(host: str, holder: str) -> str:
    return (
        f"{host} is already being asked by {holder}: one process at a time talks to a "
        "real site, so that its "
        "rate holds. Wait until that ends, then run the same command again."
    )


def _folder() -> Path:
    """Returns where this user's processes meet.

    The state folder, or a temporary one where home cannot be written.
    """
    state = os.environ.get("XDG_STATE_HOME")
    preferred = (
        Path(state) if state else Path("~/.local/state").expanduser()
    ) / "e6tag"
    fallback = Path(tempfile.gettempdir()) / f"e6tag-{os.getuid()}"
    for folder in (preferred, fallback):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise Busy(
        f"neither {preferred} nor {fallback} can be written, so nobody can tell "
        "whether another process talks to the "
        "site. Set XDG_STATE_HOME to a folder that you may write, then run the same "
        "command again."
    )
