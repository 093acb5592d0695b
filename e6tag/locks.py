"""Work that one process at a time may do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_one(place: Path) -> Iterator[None]:
    """Waits until no other process is in a context of the same place.

    place: of an empty file, which is there meanwhile. Raises OSError. The lock goes
    with the process that has it, also where it is killed. Windows knows no such lock:
    nothing is waited for.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    while True:
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Who had it before has removed the file.
            if _is_at(descriptor, place):
                try:
                    yield
                finally:
                    place.unlink()
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, place: Path) -> bool:
    """Returns whether an open file is the one with this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), place.stat())
    except FileNotFoundError:
        return False
