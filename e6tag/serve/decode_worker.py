"""The process that decodes uploads: what it reads may crash it, and only it.

It reads requests from standard input and answers on standard output until its input
ends, as it does when the server is gone. It can write no file, and takes no more memory
than it may; the server ends it when it takes too long.

First it says READY. A request is REQUEST, then the image file. An answer is ANSWER,
then the pixels (uint8 [size, size, 3], RGB), the bytes of a JPEG, or the text of a
failure. Of an animation it is the first frame.
"""

import os
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from e6tag import bundle, images, stills
from e6tag.images import Undecodable

REQUEST = struct.Struct("<BIIQ")
"""What to do (PIXELS or THUMBNAIL), the size in pixels a side, the number of the fit in
bundle.FITS, and the bytes that follow."""

ANSWER = struct.Struct("<B?Q")
"""What follows (DONE or a failure), whether the image is only the first frame of an
animation, and the bytes that follow."""

READY = b"\x01"

PIXELS = 0
THUMBNAIL = 1

DONE = 0
UNDECODABLE = 1
"""The text is a value of images.Damage."""
NOT_READ = 2
"""The text says what the file is."""
OUT_OF_MEMORY = 3

THUMBNAIL_QUALITY = 85


def main() -> None:
    """Serves until standard input ends. Arguments: bytes, pixels at most."""
    max_bytes, max_pixels = (int(argument) for argument in sys.argv[1:])
    _limit(max_bytes)
    # The only descriptors: nothing that a library prints gets between the answers.
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(nothing, number)
    _write(answers, READY)
    serve(requests, answers, max_pixels)


def _limit(max_bytes: int) -> None:
    """Lets this process take no more memory, write no files and leave no core dump."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    for kind, most in (
        (resource.RLIMIT_AS, max_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def serve(requests: BinaryIO, answers: BinaryIO, max_pixels: int) -> None:
    """Answers requests until there are no more."""
    while head := _read(requests, REQUEST.size):
        task, size, fit, length = REQUEST.unpack(head)
        body = _read(requests, length)
        decode = partial(
            _TASKS[task], size=size, fit=bundle.FITS[fit], max_pixels=max_pixels
        )
        kind, is_first_frame, content = _answer(body, decode, max_pixels)
        _write(answers, ANSWER.pack(kind, is_first_frame, len(content)))
        _write(answers, content)


def _answer(
    body: bytes, decode: Callable[[bytes], bytes], max_pixels: int
) -> tuple[int, bool, bytes]:
    """Returns what follows, whether it is a first frame, and the content."""
    try:
        prepared = stills.prepare(body, decode, max_pixels=max_pixels)
    except Undecodable as error:
        return UNDECODABLE, False, error.damage.value.encode()
    except stills.NotRead as error:
        return NOT_READ, False, str(error).encode()
    except MemoryError:
        return OUT_OF_MEMORY, False, b""
    return DONE, prepared.note is not None, prepared.result


def _pixels(body: bytes, *, size: int, fit: str, max_pixels: int) -> bytes:
    decoded = images.decode(body, at_least=size, max_pixels=max_pixels)
    return images.square(decoded, size=size, fit=fit).tobytes()


def _thumbnail(body: bytes, *, size: int, fit: str, max_pixels: int) -> bytes:
    decoded = images.decode(body, at_least=size, max_pixels=max_pixels)
    fitted = images.square(decoded, size=size, fit=fit)
    return images.encode_jpeg(fitted, quality=THUMBNAIL_QUALITY)


_TASKS: dict[int, Callable[..., bytes]] = {
    PIXELS: _pixels,
    THUMBNAIL: _thumbnail,
}


def _read(stream: BinaryIO, length: int) -> bytes:
    """Returns `length` bytes, or none where the stream ends."""
    parts = bytearray()
    while len(parts) < length:
        part = stream.read(length - len(parts))
        if not part:
            return b""
        parts += part
    return bytes(parts)


def _write(stream: BinaryIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        written = stream.write(rest)
        rest = rest[written:]


if __name__ == "__main__":
    main()
