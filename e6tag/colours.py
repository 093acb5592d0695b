"""Colours as a screen shows them: sRGB, on a background where an image is transparent.

Every function takes an image of Pillow as its decoder left it, and its `info`.
"""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

BACKGROUND = (255, 255, 255)
"""What transparency is flattened on, and what fills a padded square: white, for every
format and every variant. Packs keep an image as it was served; code that needs pixels
flattens it here. Samples and previews of originals that may be transparent are fetched
as WebP, which keeps transparency: the site's JPEGs come flattened on a colour of the
post's own (download.variants)."""

_ROUNDING = 1
"""Levels, of 255, by which a conversion from sRGB to sRGB may change a colour."""


def flatten(image: Image.Image) -> Image.Image:
    """Returns an image in sRGB, its transparency flattened on BACKGROUND."""
    profile = image.info.get("icc_profile")
    if isinstance(image.info.get("transparency"), bytes):
        # A palette with several transparent colours: made RGB at once, Pillow warns.
        image = image.convert("RGBA")
    if image.mode == "RGBA" and profile is None:  # most of those with transparency
        return _on_background(image)
    opacity = _opacity(image)
    colours = _to_srgb(_opaque(image), profile)
    if opacity is None:
        return colours
    colours.putalpha(opacity)
    return _on_background(colours)


def _on_background(image: Image.Image) -> Image.Image:
    background = Image.new("RGBA", image.size, (*BACKGROUND, 255))
    return Image.alpha_composite(background, image).convert("RGB")


def _opaque(image: Image.Image) -> Image.Image:
    """Returns the image in L, RGB or CMYK, without its transparency."""
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips all above 255 to white.
        return image.convert("I").point(_high_byte).convert("L")
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    if image.mode in ("1", "LA"):
        return image.convert("L")
    return image.convert("RGB")


def _high_byte(value: float) -> float:
    return value / 256


def _opacity(image: Image.Image) -> Image.Image | None:
    """Returns how opaque each pixel is, as an image in L; None where all are."""
    if image.mode in ("RGBA", "LA", "PA"):
        return image.getchannel("A")
    transparent = image.info.get("transparency")
    if transparent is None:
        return None
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        return Image.fromarray(np.where(levels == transparent, 0, 255).astype(np.uint8))
    return image.convert("RGBA").getchannel("A")


def _to_srgb(colours: Image.Image, profile: bytes | None) -> Image.Image:
    """Returns the colours in sRGB.

    A profile that cannot be read, or of another colour space than the image's, is
    ignored, as viewers do.
    """
    transform = _transform(profile, colours.mode) if profile else None
    if transform is None:
        return colours.convert("RGB")
    return _apply(transform, colours)


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Returns the transform of a profile to sRGB.

    None where the profile cannot be read, is of another colour space than `mode`, or is
    sRGB itself.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB")
    except (OSError, ImageCms.PyCMSError):
        return None
    return None if _keeps_colours(transform, mode) else transform


def _keeps_colours(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Returns whether a transform changes no colour by more than rounding does.

    Most profiles are sRGB in one of many spellings; converting from it costs as much as
    decoding the image.
    """
    if mode != "RGB":
        return False
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    converted = _apply(transform, Image.fromarray(grid))
    change = np.asarray(converted, np.int16) - grid
    return bool(np.abs(change).max() <= _ROUNDING)


def _apply(transform: ImageCms.ImageCmsTransform, colours: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(colours, transform)
    if converted is None:  # only where it is asked to work in place
        raise RuntimeError("the transform gave no image")
    return converted


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
