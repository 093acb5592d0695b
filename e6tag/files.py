"""Files that are either whole or not there."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from e6tag.errors import E6tagError

_OF_ALL_FILES = frozenset(
    {
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENODEV,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ENXIO,
        errno.ESTALE,
    }
)
"""What a full or failing disk, or a lack of memory, makes of every file."""

_OPEN_FILES = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")
"""How the names of files begin that are open already."""


def reason(error: OSError) -> str:
    """Returns what the operating system says, without the path, within a sentence."""
    return (error.strerror or str(error)).lower()


class CannotWrite(E6tagError):
    """The operating system refuses to write a file."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"cannot write {path}: {error.strerror or error}. What is finished is "
            "kept: fix it, then run the same command again."
        )
        self.path = path
        self.reason = reason(error)
        self.is_of_one_file = error.errno not in _OF_ALL_FILES
        """Whether other files can be written all the same."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a name beside a file; what is written there then takes the file's place.

    Where anything is raised the file stays as it was. A process that is killed leaves
    at most the temporary file. A link stays one, and the file that it leads to is
    replaced; who may read and write a file stays as it was. Raises OSError.
    """
    try:
        permissions = stat.S_IMODE(path.stat().st_mode) & 0o777
    except FileNotFoundError:  # also of a link that leads nowhere yet
        permissions = None
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    # As short as can be: with more in it, a long name would become one too long. With
    # the process's id: two that write the same file do not write into each other's.
    digest = hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    temporary = path.with_name(f".{digest}.{os.getpid()}.tmp")
    try:
        yield temporary
        if permissions is not None:
            # Some disks of other systems know no permissions.
            with suppress(OSError):
                temporary.chmod(permissions)
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def is_stream(target: str) -> bool:
    """Returns whether a target is written to as it is, not replaced as a whole.

    Such as a pipe, a terminal, or a file that the shell has opened.
    """
    if target.startswith(_OPEN_FILES):
        return True
    return os.path.exists(target) and not os.path.isfile(target)  # noqa: PTH110, PTH113


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file as a whole; raises CannotWrite.

    A stream is written to and not replaced.
    """
    try:
        if is_stream(os.fspath(path)):
            # Else a file that the shell has opened would be emptied.
            with path.open("ab") as stream:
                stream.write(content)
            return
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise CannotWrite(path, error) from error
