"""Small images of one colour, whose tags the toy bundle knows."""

import io
from pathlib import Path

from PIL import Image

RED, GREEN, BLUE, WHITE = "red", "lime", "blue", "white"

TAG_OF = {RED: "red", GREEN: "green_(colour)", BLUE: "blue_fox", WHITE: ":3"}


def image(colour: str, form: str = "PNG", size: tuple[int, int] = (24, 24)) -> bytes:
    """Returns an image file of one colour. form: of Pillow."""
    return _encode(Image.new("RGB", size, colour), form)


def animation(colours: list[str], form: str) -> bytes:
    """Returns an animation whose frames have these colours."""
    first, *rest = [Image.new("RGB", (24, 24), colour) for colour in colours]
    return _encode(first, form, save_all=True, append_images=rest)


def write(path: Path, colour: str) -> Path:
    """Writes an image in the format that its name asks for; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = Image.registered_extensions()[path.suffix.lower()]
    path.write_bytes(image(colour, form))
    return path


def _encode(image: Image.Image, form: str, **options: object) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, form, **options)
    return encoded.getvalue()
