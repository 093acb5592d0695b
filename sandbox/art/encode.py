"""From a picture to the bytes of a file.

Small fillers stand for animations.
"""

import io
from hashlib import shake_128

from PIL import Image

from sandbox.art import png
from sandbox.art.render import render
from sandbox.world.scenes import Scene

MAGIC = {
    "gif": b"GIF89a",
    "webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08"
    b"B\x82\x84webm",
    "mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom",
    "swf": b"FWS\x09",
}
"""How the files begin that nobody decodes here.

They have the right first bytes and then noise.
"""


def file_bytes(scene: Scene) -> bytes:
    """Returns the file of a scene.

    The same bytes for the same scene and version of Pillow, anywhere.
    """
    if scene.ext in MAGIC:
        noise = shake_128(f"{scene.key}/{scene.ext}".encode())
        return MAGIC[scene.ext] + noise.digest(400 + 4 * (scene.width % 256))
    picture = _cut_to_size(render(scene), scene)
    if scene.ext == "png":
        return _png(picture, scene.place == "transparent_background")
    out = io.BytesIO()
    if scene.ext == "webp":
        picture.save(out, "WEBP", quality=scene.quality, method=0)
        return out.getvalue()
    if scene.finish == "greyscale" and scene.artist % 2 == 0:
        picture = picture.convert("L")
    picture.save(out, "JPEG", quality=scene.quality)
    return out.getvalue()


def final_size(scene: Scene) -> tuple[int, int]:
    """Returns the width and height of the file after cropping and shrinking."""
    width = scene.width - 2 * round(scene.width * scene.crop)
    height = scene.height - 2 * round(scene.height * scene.crop)
    return max(1, round(width * scene.shrink)), max(1, round(height * scene.shrink))


def _cut_to_size(picture: Image.Image, scene: Scene) -> Image.Image:
    if scene.crop:
        x, y = round(picture.width * scene.crop), round(picture.height * scene.crop)
        picture = picture.crop((x, y, picture.width - x, picture.height - y))
    if scene.shrink != 1.0:
        picture = picture.resize(final_size(scene), Image.Resampling.BILINEAR)
    return picture


def _png(picture: Image.Image, transparent: bool) -> bytes:
    flat = picture.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette = bytes(flat.getpalette() or [])[: 3 * 128]
    indices = flat.tobytes()
    # The top left pixel is never part of a figure.
    alpha = b""
    if transparent:
        alpha = b"\xff" * indices[0] + b"\0"
    return png.encode(flat.width, flat.height, indices, palette, alpha)
