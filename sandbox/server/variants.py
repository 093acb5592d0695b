"""The files a site derives from an original: which exist, their sizes, their bytes.

Rules and checks are those of the contract's section 4. Everything here is a pure
function of a post's row and of the original's bytes, so a reader of the exports alone
can compute the same sizes.
"""

import io
from collections.abc import Callable
from typing import Literal

from PIL import Image, ImageCms, ImageOps

from sandbox.records import Post

Kind = Literal["sample", "preview"]
Encoding = Literal["jpg", "webp"]

VIDEO = frozenset({"webm", "mp4"})  # their sample is a poster frame
NEVER_SAMPLED = frozenset({"gif", "swf"})
ANIMATED_TAGS = frozenset({"animated_gif", "animated_png", "animated_webp"})

SAMPLE_SHORT = 850  # pixels; the shorter side of a sample ...
SAMPLE_LONG = 1700  # pixels; ... unless the longer side would pass this
PREVIEW_SHORT = 256  # pixels; small files are enlarged to it
PREVIEW_LONG = 512  # pixels; what is longer is cropped
QUALITY = 90  # of JPEG and WebP alike
# The site's dark blue, under transparency where a post names no bg_color
BACKGROUND = "152f56"

# What Pillow raises on bytes that are no picture it can read.
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombWarning,
    Image.DecompressionBombError,
)


class NoPicture(ValueError):
    """The original is nothing that can be drawn smaller."""


def has_sample(post: Post) -> bool:
    """Whether the site keeps a sample of this post's file."""
    if post.ext in VIDEO:
        return True
    if post.ext in NEVER_SAMPLED or not ANIMATED_TAGS.isdisjoint(post.tags):
        return False
    short, long = sorted((post.width, post.height))
    return short > SAMPLE_SHORT or long > SAMPLE_LONG


def sample_size(width: int, height: int) -> tuple[int, int]:
    """Shorter side 850, or longer side 1700 where that is smaller.

    1792 x 2400 gives 850 x 1138.
    """
    short, long = sorted((width, height))
    scale = min(SAMPLE_SHORT / short, SAMPLE_LONG / long)
    return max(1, round(width * scale)), max(1, round(height * scale))


def preview_size(width: int, height: int) -> tuple[int, int]:
    """Shorter side 256, longer side at most 512; 2500 x 1700 gives 376 x 256."""
    scale = PREVIEW_SHORT / min(width, height)
    preview_width = min(PREVIEW_LONG, round(width * scale))
    preview_height = min(PREVIEW_LONG, round(height * scale))
    return preview_width, preview_height


def render(
    original: bytes, kind: Kind, encoding: Encoding, bg_color: str | None
) -> bytes:
    """Returns the variant's bytes.

    Raises NoPicture where the original cannot be decoded, such as a video.
    """
    try:
        with Image.open(io.BytesIO(original)) as opened:
            # Since 2026-08-26 the site makes them upright.
            picture = _in_srgb(ImageOps.exif_transpose(opened))
    except UNREADABLE as error:
        raise NoPicture(str(error)) from error
    size_of = sample_size if kind == "sample" else preview_size
    # The site crops by content; the middle is as good for drawings, and needs no model
    # of what matters.
    picture = _cover(picture, size_of(*picture.size))
    if encoding == "jpg":
        return _encoded(_flattened(picture, bg_color), "JPEG", progressive=True)
    # Method 4, the default, costs twice the time for 2 % fewer bytes.
    return _encoded(picture, "WEBP", method=2)


def _in_srgb(picture: Image.Image) -> Image.Image:
    """RGB or RGBA in sRGB.

    An embedded profile that cannot be read is ignored, as browsers do.
    """
    convert = _profile_transform(picture.info.get("icc_profile"))
    mode = "RGBA" if _is_transparent(picture) else "RGB"
    picture = picture.convert(mode)
    if convert:
        return convert(picture)
    return picture


def _is_transparent(picture: Image.Image) -> bool:
    has_alpha = picture.mode in ("RGBA", "LA", "PA", "La")
    return has_alpha or "transparency" in picture.info


def _profile_transform(
    profile: bytes | None,
) -> Callable[[Image.Image], Image.Image] | None:
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, srgb, "RGB", "RGB")
    except (OSError, ImageCms.PyCMSError):
        return None

    def convert(picture: Image.Image) -> Image.Image:
        colours = ImageCms.applyTransform(picture.convert("RGB"), transform)
        if colours is None:
            return picture
        if picture.mode == "RGBA":
            colours.putalpha(picture.getchannel("A"))
        return colours

    return convert


def _cover(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scales to fill `size`, cutting what overhangs evenly from both ends."""
    scale = max(size[0] / picture.width, size[1] / picture.height)
    width = size[0] / scale
    height = size[1] / scale
    left = max(0.0, (picture.width - width) / 2)
    top = max(0.0, (picture.height - height) / 2)
    right = min(left + width, picture.width)
    bottom = min(top + height, picture.height)
    box = (left, top, right, bottom)
    return picture.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _flattened(picture: Image.Image, bg_color: str | None) -> Image.Image:
    if picture.mode != "RGBA":
        return picture
    ground = Image.new("RGBA", picture.size, f"#{bg_color or BACKGROUND}")
    return Image.alpha_composite(ground, picture).convert("RGB")


def _encoded(picture: Image.Image, encoding: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, encoding, quality=QUALITY, **options)
    return out.getvalue()
