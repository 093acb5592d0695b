"""Opens image files with Pillow, and tells damaged ones from trouble of the machine."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageFile

from e6tag.image_files.damage import Damage, Undecodable
from e6tag.image_files.webp import webp_pixels

DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    EOFError,
    RuntimeError,  # of AVIF
    struct.error,
    zlib.error,
)
"""What Pillow raises on damaged bytes."""

_SILENT = ("AVIF", "WEBP")
"""Formats whose decoders say the same of damage and of a want of memory."""

_SILENT_BYTES = 12
"""Of memory that those take per pixel at most: canvases of 4 bytes, and what the
decoder works in."""

# Of damaged EXIF, which Pillow reads while it opens a file: of AVIF for an orientation,
# without which the image lies as it is; of JPEG for a resolution, which nobody needs,
# where e6tag.image_files did not find the EXIF to leave it out. For the whole process:
# files are opened by several threads, and warnings.catch_warnings is not safe there.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.TiffImagePlugin")


@contextmanager
def opened(
    decoder: type[ImageFile.ImageFile], body: bytes, max_pixels: int
) -> Iterator[ImageFile.ImageFile]:
    """Opens a file for a decoder of Pillow, which is closed afterwards.

    What is raised in the context because of the bytes becomes Undecodable; a want of
    memory is a MemoryError, and an OSError with a number one of the operating system.
    """
    pixels = None
    try:
        with decoder(io.BytesIO(body)) as image:
            pixels = image.width * image.height
            _check_pixels(pixels, max_pixels)
            yield image
    except Undecodable:
        raise
    except Image.DecompressionBombError as error:  # of WebP, whose decoder has a limit
        raise Undecodable(Damage.TOO_MANY_PIXELS) from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if "out of memory" in str(error).lower():  # how the other decoders tell it
            raise MemoryError(str(error)) from error
        if decoder.format in _SILENT:
            known = webp_pixels(body) if pixels is None else pixels
            _require_memory(min(known, max_pixels))
        damage = Damage.HEADER if pixels is None else Damage.PIXELS
        raise Undecodable(damage) from error


def _check_pixels(pixels: int, max_pixels: int) -> None:
    if pixels > max_pixels:
        raise Undecodable(Damage.TOO_MANY_PIXELS)


def _require_memory(pixels: int) -> None:
    """Raises MemoryError where there is no memory to decode so many pixels."""
    bytearray(_SILENT_BYTES * pixels)
