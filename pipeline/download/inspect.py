"""Looks at the bytes that arrived: are they the picture that was asked for?"""

import hashlib
import io
import warnings

from PIL import Image

from pipeline.download.variants import Wanted
from pipeline.packs import Picture
from pipeline.pictures import BROKEN
from pipeline.schemas import Refusal
from pipeline.site.client import Answer, Refused, Unavailable

FORMATS = {"JPEG": "jpeg", "PNG": "png", "WEBP": "webp"}
"""What Pillow calls the formats that rule 5 allows, and what a pack calls them."""

SIZE_TOLERANCE = 1  # pixels; the site rounds the sizes of samples


def picture(wanted: Wanted, answer: Answer, max_pixels: int) -> Picture:
    """Returns the picture. Raises Refused, or Unavailable where the same question may be answered better.

    An original is told by its md5, other variants by decoding and size: the site publishes no hash of those.
    """
    if (
        wanted.variant == "original"
        and (md5 := hashlib.md5(answer.body, usedforsecurity=False).hexdigest()) != wanted.md5
    ):
        if looks_like_html(answer):
            raise Unavailable(f"{answer.content_type}: HTML where a picture belongs", reason=Refusal.NOT_A_PICTURE)
        # A cut-off answer without a length looks the same; both are worth another try.
        raise Unavailable(f"the bytes have md5 {md5}", reason=Refusal.MD5_MISMATCH)
    if looks_like_html(answer):
        raise Unavailable(f"{answer.content_type}: HTML where a picture belongs", reason=Refusal.NOT_A_PICTURE)
    kind, width, height = _decoded(answer.body, max_pixels)
    if wanted.variant == "sample" and _far(width, wanted.width) | _far(height, wanted.height):
        raise Refused(Refusal.WRONG_DIMENSIONS, f"{width} x {height} instead of {wanted.width} x {wanted.height}")
    return Picture(wanted.md5, wanted.post_id, wanted.variant, answer.body, kind, width, height)


def known(wanted: Wanted, body: bytes) -> Picture:
    """Returns a picture that was judged before; reads only its header."""
    with Image.open(io.BytesIO(body)) as opened:
        return Picture(
            wanted.md5, wanted.post_id, wanted.variant, body, FORMATS[str(opened.format)], opened.width, opened.height
        )


def looks_like_html(answer: Answer) -> bool:
    """Returns whether a page came instead of a file, whatever its status."""
    return "html" in answer.content_type or answer.body[:512].lstrip().lower().startswith((b"<!doctype", b"<html"))


def _decoded(body: bytes, max_pixels: int) -> tuple[str, int, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # judged below, by our own limit
            with Image.open(io.BytesIO(body)) as opened:
                if opened.format not in FORMATS or getattr(opened, "n_frames", 1) > 1:
                    raise Refused(
                        Refusal.UNSUPPORTED_FORMAT, f"{opened.format}, {getattr(opened, 'n_frames', 1)} frames"
                    )
                if opened.width * opened.height > max_pixels:
                    raise Refused(Refusal.DECOMPRESSION_BOMB, f"{opened.width} x {opened.height} pixels")
                opened.load()
                return FORMATS[opened.format], opened.width, opened.height
    except Image.DecompressionBombError as error:
        raise Refused(Refusal.DECOMPRESSION_BOMB, str(error)) from error
    except BROKEN as error:
        raise Unavailable(f"cannot be decoded: {error}", reason=Refusal.BROKEN_PICTURE) from error


def _far(got: int, expected: int) -> bool:
    return abs(got - expected) > SIZE_TOLERANCE
