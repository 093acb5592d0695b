"""One process of this user and machine at a time sends requests to a real site.

That holds for all stages and projects. No process sends a request until a pause that
the site requested is over. The rate that rule 6 of the policy promises holds inside one
process; this module makes it hold for all of them together.
"""

import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from pipeline import files, locks, progress
from pipeline.errors import Busy, SiteUnreachable
from pipeline.site.circuit_breaker import retry_hint

_MAX_BACKOFF = 7 * 86_400.0
"""Seconds for which a recorded backoff holds; a longer one was written by a process
whose clock was wrong."""


@contextmanager
def lock_hosts(
    hosts: Iterable[str], purpose: str, *, longest_wait: float = 0.0
) -> Iterator[float]:
    """Holds the locks of these host names, which end with the process.

    Raises Busy, naming the holder, where another process holds one of them. Yields the
    seconds for which no request may be sent yet; raises SiteUnreachable where that is
    more than `longest_wait`.
    """
    names = {_normalized(host) for host in hosts}
    remaining = 0.0
    with ExitStack() as stack:
        for name in sorted(names):
            lock = _folder() / f"{name}.lock"
            busy = partial(_busy_message, name)
            stack.enter_context(locks.file_lock(lock, busy, purpose=purpose))
            remaining = max(remaining, _remaining_backoff(name, longest_wait))
        yield remaining


def record_backoff(host: str, seconds: float) -> None:
    """Records that this host requested a pause of so many seconds.

    It holds for every process that starts before the pause is over.
    """
    until = time.time() + min(seconds, _MAX_BACKOFF)
    files.write_text(_backoff_path(host), str(until))


def _remaining_backoff(host: str, longest_wait: float) -> float:
    """Returns the seconds that remain of the pause that this host requested.

    Raises SiteUnreachable where they are more than `longest_wait`.
    """
    path = _backoff_path(host)
    try:
        remaining = float(path.read_text()) - time.time()
    except (FileNotFoundError, ValueError):
        return 0.0
    if not 0 < remaining <= _MAX_BACKOFF:
        path.unlink(missing_ok=True)
        return 0.0
    if remaining > longest_wait:
        raise SiteUnreachable(
            f"{host} requested a pause (Retry-After) in an earlier run; no request was "
            f"sent. {retry_hint(remaining)}"
        )
    progress.log(
        f"{host} asked an earlier run to wait (Retry-After): no request is sent for "
        f"another {remaining:,.0f} s"
    )
    return remaining


def _normalized(host: str) -> str:
    return host.lower().rstrip(".")


def _backoff_path(host: str) -> Path:
    return _folder() / f"{_normalized(host)}.not-before"


def _busy_message(host: str, holder: str) -> str:
    return (
        f"{host} is already in use by {holder}: one process at a time talks to a real "
        "site, so that its rate holds. Wait until that ends, then run the same command "
        "again."
    )


def _folder() -> Path:
    """Returns the folder that all processes of this user share.

    It is the state folder, or a temporary one where home cannot be written. Raises Busy
    where neither can be used.
    """
    state = os.environ.get("XDG_STATE_HOME")
    parent = Path(state) if state else Path("~/.local/state").expanduser()
    preferred = parent / "e6tag"
    fallback = Path(tempfile.gettempdir()) / f"e6tag-{os.getuid()}"
    for folder in (preferred, fallback):
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_private(folder):
                return folder
    raise Busy(
        f"neither {preferred} nor {fallback} is a folder that you own and that nobody "
        "else may write, so it cannot be known whether another process talks to the "
        "site. Set XDG_STATE_HOME to such a folder, then run the same command again."
    )


def _is_private(folder: Path) -> bool:
    """Returns whether nobody else can have put anything into a folder.

    Anybody may make a folder or a link in the temporary folder before this process
    does.
    """
    found = folder.lstat()
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    is_closed = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return is_own and is_closed and os.access(folder, os.W_OK)
