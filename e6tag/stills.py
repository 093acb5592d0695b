"""The first frame of animations, and images of formats that e6tag.images leaves aside.

The pipeline reads JPEG, PNG and WebP of one frame, since those are what the tagger is
trained on. Users have more: animations are common on the site, and people convert their
images. What is read here becomes a file that e6tag.images reads, so that colours,
transparency and orientation are treated in one place.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from PIL import ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.WebPImagePlugin import WebPImageFile

from e6tag import decoders
from e6tag.image_files.damage import MAX_PIXELS, Damage, Undecodable
from e6tag.image_files.png import PNG_SIGNATURE, without_animation

_T = TypeVar("_T")

FIRST_FRAME = "an animation: its first frame"
"""What is said of an image of which no more is read."""

_DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "AVIF": AvifImageFile,
    "WebP": WebPImageFile,
}
"""Called by name, as in e6tag.images: files choose no other decoder."""

_SIGNATURES = (
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"BM", "BMP"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (8, b"WEBP", "WebP"),
    (0, PNG_SIGNATURE, "PNG"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftyphei", "HEIF"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftyp", "MP4"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\x1aE\xdf\xa3", "WebM"),
    (0, b"FWS", "Flash"),
    (0, b"CWS", "Flash"),
    (0, b"ZWS", "Flash"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML"),
    (0, b"<!DOCTYPE html", "HTML"),
    (0, b"<!doctype html", "HTML"),
    (0, b"<html", "HTML"),
)
"""Where a file says what it is. The formats that are not read are named to the user."""

READ = "JPEG, PNG, WebP, GIF, BMP and AVIF"
"""What is read, as messages say it."""


class NotRead(ValueError):
    """Bytes of a format that is not read. Its message says which."""


@dataclass(frozen=True, slots=True)
class Prepared(Generic[_T]):
    """What was made of an image, and what must be said of it: None in most cases."""

    result: _T
    note: str | None


def prepare(
    body: bytes, decode: Callable[[bytes], _T], *, max_pixels: int = MAX_PIXELS
) -> Prepared[_T]:
    """Returns what `decode` makes of an image, if need be of its first frame.

    decode: reads what e6tag.images reads, such as Tagger.prepare. max_pixels: of what
    e6tag.images does not read. Raises Undecodable, and NotRead for formats that are not
    read.
    """
    if not body:
        raise NotRead("an empty file")
    try:
        return Prepared(decode(body), None)
    except Undecodable as error:
        if error.damage not in (Damage.ANIMATION, Damage.NOT_AN_IMAGE):
            raise
    kind = _format(body)
    if kind == "PNG":
        return Prepared(decode(without_animation(body)), FIRST_FRAME)
    if kind not in _DECODERS:
        what = f"a file of {kind}" if kind else "not an image"
        raise NotRead(f"{what}; read are {READ}")
    with decoders.opened(_DECODERS[kind], body, max_pixels) as opened:
        note = FIRST_FRAME if getattr(opened, "is_animated", False) else None
        still = _as_png(opened)
    return Prepared(decode(still), note)


def _format(body: bytes) -> str | None:
    start = body[:64]
    for offset, signature, name in _SIGNATURES:
        if start.startswith(signature, offset):
            return name
    return None


def _as_png(opened: ImageFile.ImageFile) -> bytes:
    """Returns the frame that is open, with its colour profile and orientation."""
    opened.load()
    encoded = io.BytesIO()
    opened.save(
        encoded,
        "PNG",
        compress_level=1,
        icc_profile=opened.info.get("icc_profile"),
        exif=opened.info.get("exif", b""),
    )
    return encoded.getvalue()
