"""From bytes to pixels: an RGB image on white, fitted to a square.

The only such code in the project: verification, hashing, shards, the report and the
users of a bundle all call it.
"""

import io
import warnings

from PIL import Image, ImageOps

BACKGROUND = (255, 255, 255)
"""What transparency is flattened on, and what fills a padded square: white, for every
format and every variant. Packs keep an image as it was served; code that needs pixels
flattens it here. Samples and previews of originals that may be transparent are fetched
as WebP, which keeps transparency: the site's JPEGs come flattened on a colour of the
post's own (download.variants)."""

DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    MemoryError,
    Image.DecompressionBombError,
)
"""What Pillow raises on damaged bytes."""


class Undecodable(ValueError):
    """An image that cannot be decoded."""


def flat(image: Image.Image) -> Image.Image:
    """Returns the image in RGB, transparency flattened on BACKGROUND."""
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips all above 255 to white.
        image = image.convert("I").point(_high_byte).convert("L")
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    background = Image.new("RGBA", rgba.size, (*BACKGROUND, 255))
    return Image.alpha_composite(background, rgba).convert("RGB")


def _high_byte(value: float) -> float:
    return value / 256


def fit_jpeg(body: bytes, *, size: int, fit: str, quality: int) -> bytes:
    """Returns an image as a square JPEG of `size` pixels a side; raises Undecodable.

    fit: see `square`. quality: of the JPEG, 1 to 95.
    """
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(body)) as opened:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # JPEG only: decodes at 1/2 to 1/8 of the size, at least as large as `size`.
            opened.draft("RGB", (size, size))
            fitted = square(flat(opened), size=size, fit=fit)
    except DECODE_ERRORS as error:
        raise Undecodable(f"cannot be decoded: {error}") from error
    encoded = io.BytesIO()
    fitted.save(encoded, "JPEG", quality=quality)
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
