"""Decoded pictures, the same way in every room that looks at pixels."""

from PIL import Image

GROUND = (255, 255, 255)
"""What transparency is flattened on: white, for every format and every variant.

Packs keep it as it was served; who looks at pixels flattens it, here. Samples and
previews of originals that may have any are fetched as WebP, which keeps it: the site's
JPEGs come flattened on a colour of the post's own (download.variants)."""

BROKEN = (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError)
"""What Pillow raises on damaged bytes."""


def flat(picture: Image.Image) -> Image.Image:
    """Returns the picture in RGB, transparency flattened on GROUND."""
    if picture.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips all above 255 to white.
        picture = picture.convert("I").point(lambda value: value / 256).convert("L")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(
            Image.new("RGBA", rgba.size, (*GROUND, 255)), rgba
        ).convert("RGB")
    return picture.convert("RGB")
