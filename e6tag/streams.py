"""Standard input and output as bytes, also where the shell has closed them."""

import errno
import sys
from pathlib import Path
from typing import BinaryIO

from e6tag.files import CannotWrite


def standard_input() -> BinaryIO:
    """Returns standard input; raises OSError where it is closed, as by `<&-`."""
    # Python has None for a stream that was closed before it started.
    if sys.stdin is None:
        raise OSError(errno.EBADF, "standard input is closed")
    return sys.stdin.buffer


def standard_output() -> BinaryIO:
    """Returns standard output; raises CannotWrite where it is closed, as by `>&-`."""
    if sys.stdout is None:
        error = OSError(errno.EBADF, "standard output is closed")
        raise CannotWrite(Path("-"), error)
    return sys.stdout.buffer


def print_bytes(content: bytes) -> None:
    """Writes to standard output at once; raises CannotWrite."""
    output = standard_output()
    try:
        output.write(content)
        output.flush()
    except BrokenPipeError:  # as of `| head`: the command line ends quietly
        raise
    except OSError as error:
        raise CannotWrite(Path("-"), error) from error


def print_lines(*lines: str) -> None:
    """Writes lines to standard output as UTF-8, whatever the terminal's encoding.

    A name may hold letters that the encoding lacks, and the other outputs are UTF-8.
    Raises CannotWrite.
    """
    print_bytes("".join(f"{line}\n" for line in lines).encode())
