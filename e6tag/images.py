"""From bytes to pixels: an upright sRGB image on white, fitted to a square.

The only such code in the project: verification, hashing, shards, the report and the
users of a bundle all call it.

Bytes that give no image raise Undecodable. The machine's trouble does not: a want of
memory is a MemoryError, and an OSError with a number is one of the operating system.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from e6tag import colours, decoders, image_files
from e6tag.colours import BACKGROUND
from e6tag.image_files import image_file
from e6tag.image_files.damage import MAX_LOST, MAX_PIXELS, Damage, Undecodable
from e6tag.image_files.jpeg import first_scan

__all__ = [
    "BACKGROUND",
    "MAX_PIXELS",
    "Damage",
    "ImageInfo",
    "Undecodable",
    "decode",
    "encode_jpeg",
    "fit_jpeg",
    "prepare",
    "read_info",
    "square",
]

_DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "webp": WebPImageFile,
}
"""Called by name: what `Image.open` chooses depends on all plugins of Pillow, and on
their files being readable at this moment."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation (Exif 2.32, section 4.6.4)."""

_ON_ITS_SIDE = frozenset({5, 6, 7, 8})


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Format (one of image_files.FORMATS) and pixels of the upright image."""

    format: str
    width: int
    height: int


def read_info(
    body: bytes, *, max_pixels: int = MAX_PIXELS, to_the_end: bool = False
) -> ImageInfo:
    """Returns what an image file holds; raises Undecodable.

    to_the_end: demand that no byte of it is lost, and decode the pixels too, at the
    least cost that finds damage in them.
    """
    file = image_files.read(body)
    if to_the_end and file.is_cut:
        raise Undecodable(Damage.PARTIAL)
    with _opened(file, max_pixels) as opened:
        width, height = opened.size
        if to_the_end:
            _load_small(opened)
    if file.orientation in _ON_ITS_SIDE:
        width, height = height, width
    return ImageInfo(file.format, width, height)


def _load_small(opened: ImageFile.ImageFile) -> None:
    """Decodes all pixels; those of a JPEG in grey and at an eighth of the size.

    Most of the work falls away, and yet the compressed data is read to its end: 0.9
    instead of 1.5 ms at 0.5 Mpx.
    """
    eighth = (max(1, opened.width // 8), max(1, opened.height // 8))
    opened.draft("L", eighth)
    opened.load()


def decode(
    body: bytes,
    *,
    at_least: int | None = None,
    max_pixels: int = MAX_PIXELS,
    approximate: bool = False,
) -> Image.Image:
    """Returns an image upright, in sRGB, on BACKGROUND; raises Undecodable.

    at_least: pixels a side that suffice: a JPEG is decoded at 1/2 to 1/8 of its size
    where that has as many. approximate: where 1/8 suffices, of a progressive JPEG only
    the first scan is read, whose means of 8 x 8 pixels are nearly the final ones.
    """
    file = image_files.read(body)
    if file.is_cut and file.format == "jpeg":
        _check_rows(file, max_pixels)
    if approximate and at_least is not None and file.format == "jpeg":
        file = _shortened(file, at_least, max_pixels)
    with _opened(file, max_pixels) as opened:
        if at_least is not None:
            opened.draft("RGB", (at_least, at_least))
        return _finished(opened, file.orientation)


def _shortened(
    file: image_file.ImageFile, at_least: int, max_pixels: int
) -> image_file.ImageFile:
    """Returns a JPEG with no more than its first scan, where 1/8 of its size does."""
    with _opened(file, max_pixels) as opened:
        width = opened.width
        opened.draft("RGB", (at_least, at_least))
        is_eighth = opened.width * 8 >= width > opened.width * 4
        if not is_eighth or not opened.info.get("progressive"):
            return file
    scan = first_scan(file.body)
    return file if scan is None else replace(file, body=scan)


@contextmanager
def _opened(
    file: image_file.ImageFile, max_pixels: int
) -> Iterator[ImageFile.ImageFile]:
    """Opens a file for its decoder; see decoders.opened."""
    decoder = _DECODERS[file.format]
    with decoders.opened(decoder, file.body, max_pixels) as opened:
        if file.format == "png":
            _scale_transparency(opened, depth=file.body[24])
        yield opened


def _scale_transparency(opened: ImageFile.ImageFile, *, depth: int) -> None:
    """Gives a PNG's transparent level or colour on the scale of the decoded pixels.

    Pillow leaves it on that of the file, which has `depth` bits.
    """
    transparency = opened.info.get("transparency")
    highest = (1 << depth) - 1
    if isinstance(transparency, int) and opened.mode in ("1", "L"):
        opened.info["transparency"] = (transparency & highest) * 255 // highest
    if isinstance(transparency, tuple) and depth == 16:
        opened.info["transparency"] = tuple(level >> 8 for level in transparency)


def _finished(opened: ImageFile.ImageFile, orientation: int) -> Image.Image:
    """Returns the opened image with its colours converted, upright."""
    flat = colours.flatten(opened)
    turn = _UPRIGHT.get(orientation)
    return flat if turn is None else flat.transpose(turn)


def _check_rows(file: image_file.ImageFile, max_pixels: int) -> None:
    """Raises Undecodable where a JPEG that was cut off has lost too many rows.

    libjpeg makes lost blocks mid-grey (jdhuff.c), so the rows at the bottom that are
    equal all over are taken for lost.
    """
    with _opened(file, max_pixels) as opened:
        _load_small(opened)
        pixels = np.asarray(opened)
    is_lost = (pixels == pixels[-1, -1]).reshape(len(pixels), -1).all(axis=1)
    found = np.flatnonzero(~is_lost)
    last = int(found[-1]) if found.size else -1
    if len(pixels) - 1 - last > MAX_LOST * len(pixels):
        raise Undecodable(Damage.PARTIAL)


def fit_jpeg(body: bytes, *, size: int, fit: str, quality: int) -> bytes:
    """Returns an image as a square JPEG of `size` pixels a side; raises Undecodable.

    fit: see `square`. quality: of the JPEG, 1 to 95.
    """
    fitted = square(decode(body, at_least=size), size=size, fit=fit)
    return encode_jpeg(fitted, quality=quality)


def prepare(body: bytes, *, size: int, fit: str, fitted_size: int) -> NDArray[np.uint8]:
    """Returns the pixels that a model takes of an image, uint8 [size, size, 3], RGB.

    Raises Undecodable. The image is fitted to a square of `fitted_size` pixels a side,
    as for the shards that a model is trained on (`fit`: see `square`), and that is
    resized to `size` by antialiased bilinear interpolation, as the loader of the shards
    does. Training sees the same but for the JPEGs in between, which change a pixel by
    1.2 of 255 on average where 256 pixels become 96, and by 2.3 where they stay 256
    (40 images of the sandbox; 1.8 and 5.1 in the worst of them).
    """
    fitted = square(decode(body, at_least=fitted_size), size=fitted_size, fit=fit)
    resized = fitted.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def encode_jpeg(image: Image.Image, *, quality: int) -> bytes:
    """Returns an RGB image as a JPEG. quality: 1 to 95."""
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()


def square(image: Image.Image, *, size: int, fit: str) -> Image.Image:
    """Returns an RGB image as a square of `size` pixels a side.

    fit: `pad` adds BACKGROUND, `crop` cuts to the central square, `stretch` gives up
    the aspect.
    """
    sides = (size, size)
    lanczos = Image.Resampling.LANCZOS
    if fit == "pad":
        return ImageOps.pad(image, sides, lanczos, color=BACKGROUND)
    if fit == "crop":
        return ImageOps.fit(image, sides, lanczos)
    return image.resize(sides, lanczos, reducing_gap=2.0)
