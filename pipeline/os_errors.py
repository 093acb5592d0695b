"""Trouble of the machine, told apart from damaged files and wrong parameters.

Memory, open files or room on the disk run out, a disk fails, a permission is missing:
the file that is at hand then is neither damaged nor to be deleted.
"""

import errno
import os
import re
import resource
import sqlite3
from pathlib import Path

from pipeline.errors import E6tagError, NoPermission, NoSpace, OutOfResources

_DISK = {
    errno.ENOSPC: "is full",
    errno.EDQUOT: "is over its quota",
    errno.EROFS: "is read-only",
}
_PERMISSION = frozenset({errno.EACCES, errno.EPERM})
_RESOURCE = frozenset(
    {
        errno.EAGAIN,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ESTALE,
    }
)

# In the messages of Polars, whose errors and panics have no number.
_NUMBER_IN_TEXT = re.compile(r"\(os error (\d+)\)|Os \{ code: (\d+)")
# What the dynamic loader says where the address space is used up.
_NO_SEGMENT = "failed to map segment from shared object"
_NO_THREAD = "can't start new thread"
# How TensorFlow and JAX name a lack of memory, that of a GPU too.
_EXHAUSTED = ("ResourceExhaustedError", "XlaRuntimeError", "JaxRuntimeError")
_SQLITE_LATER = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_LOCKED}
)


def explain(
    error: BaseException, path: Path | str | None = None, *, verb: str = "read or write"
) -> E6tagError | None:
    """Returns trouble of the machine as the error to raise, None for any other error.

    path: the file at hand, where `error` names none. verb: what was to be done with it.
    """
    number = _number(error)
    place = path or getattr(error, "filename", None)
    if number in _DISK:
        subject = f"{place} cannot be written" if place else "nothing can be written"
        return NoSpace(
            f"{subject}: the disk {_DISK[number]}. What is finished is kept. "
            "Make room, then run the same command again."
        )
    if number in _PERMISSION:
        reason = os.strerror(number)
        return NoPermission(
            f"no permission to {verb} {place or 'a file'}: {reason}. What is finished "
            "is kept. Make it yours (chown) or give yourself the permission (chmod), "
            "then run the same command again."
        )
    return out_of_resources(error, path)


def raise_for_machine(error: BaseException, path: Path) -> None:
    """Raises what `explain` returns, where it returns one, for a file being read."""
    explained = explain(error, path, verb="read")
    if explained is not None:
        raise explained from error


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether main memory, or that of a GPU, ran out."""
    return _number(error) == errno.ENOMEM


def out_of_resources(
    error: BaseException, path: Path | str | None = None
) -> OutOfResources | None:
    """Returns OutOfResources where the machine lacks something, None otherwise."""
    number = _number(error)
    if number not in _RESOURCE:
        return None
    place = path or getattr(error, "filename", None)
    subject = f"{place}: " if place else ""
    what, remedy = _lack(number)
    return OutOfResources(
        f"{subject}{what}. What is finished is kept. {remedy}, then run the same "
        "command again."
    )


def explain_sqlite(error: sqlite3.OperationalError, path: str) -> E6tagError:
    """Returns the error to raise where SQLite cannot use a database."""
    message = f"{path}: {error}. What is finished is kept"
    code = error.sqlite_errorcode & 0xFF  # the rest are details of the same kind
    if code in _SQLITE_LATER:
        return OutOfResources(f"{message}: run the same command again.")
    if code == sqlite3.SQLITE_FULL:
        return NoSpace(f"{message}. Make room, then run the same command again.")
    if code == sqlite3.SQLITE_READONLY:
        return NoPermission(
            f"no permission to write {message}. Make it yours (chown), then run the "
            "same command again."
        )
    # It does not say why: open files and permissions are two of the causes.
    if code == sqlite3.SQLITE_CANTOPEN:
        try:
            os.close(os.open(path, os.O_RDWR))
        except OSError as reason:
            explained = explain(reason, path)
            if explained is not None:
                return explained
    return E6tagError(f"{message}: fix it, then run the same command again.")


def _lack(number: int) -> tuple[str, str]:
    """Returns what the machine lacks, and what to do."""
    if number == errno.ENOMEM:
        remedy = (
            "Close other programs, or lower cluster.workers, train.cache_bytes or "
            "train.batch_size"
        )
        return "memory ran out", remedy
    if number == errno.EMFILE:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return (
            f"too many open files, of which a process may have {limit:,} here",
            "Raise the limit (ulimit -n 4096)",
        )
    if number == errno.ENFILE:
        return "too many open files on this machine", "Close other programs"
    if number == errno.EAGAIN:
        return (
            "no more processes or threads can be started",
            "Close other programs, or raise the limits (ulimit -u, ulimit -v)",
        )
    return (
        f"the disk does not read or write ({os.strerror(number)})",
        "Look for its errors in dmesg, and at the connection of a network disk",
    )


def _number(error: BaseException) -> int:
    """Returns the number of an error as in `errno`; 0 where it has none.

    A lack of memory is ENOMEM, whatever it is called.
    """
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    text = str(error)
    match = _NUMBER_IN_TEXT.search(text)
    if match:
        return int(match[1] or match[2])
    if isinstance(error, RuntimeError) and _NO_THREAD in text:
        return errno.EAGAIN
    if isinstance(error, ImportError) and _NO_SEGMENT in text:
        return errno.ENOMEM
    if isinstance(error, ImportError) or _has_no_number(error):
        return _number_by_sentence(error, text)
    return 0


def _has_no_number(error: BaseException) -> bool:
    """Returns whether a library raised it that gives errors a sentence only."""
    kind = type(error)
    # ArrowException itself: its subclasses quote the contents of files.
    is_unknown_to_arrow = kind.__name__ == "ArrowException"
    return is_unknown_to_arrow or kind.__module__.startswith(("tensorflow", "jax"))


def _number_by_sentence(error: BaseException, text: str) -> int:
    """Returns the number whose sentence an error without a number holds."""
    for number in (*_DISK, *_PERMISSION, *_RESOURCE):
        if os.strerror(number) in text:
            return number
    is_exhausted = type(error).__name__ in _EXHAUSTED
    if is_exhausted and ("OOM" in text or "RESOURCE_EXHAUSTED" in text):
        return errno.ENOMEM
    return 0
