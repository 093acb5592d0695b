"""Images with the quirks of real uploads, each with what every viewer shows of it.

tests/cases/images holds them, and beside each a `.right.png`: upright, in sRGB, on
white.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from e6tag import images

FOLDER = Path(__file__).parents[1] / "cases" / "images"
RIGHT = ".right.png"


@dataclass(frozen=True, slots=True)
class Case:
    """A file, and the pixels that it shows."""

    name: str
    body: bytes
    right: Image.Image

    def difference(self) -> float:
        """Returns how far our pixels are from the right ones on average, of 255."""
        ours = np.asarray(images.decode(self.body), np.float64)
        return float(np.abs(ours - np.asarray(self.right)).mean())


def load() -> list[Case]:
    """Returns all cases, by name."""
    cases = []
    for path in sorted(FOLDER.iterdir()):
        if path.name.endswith(RIGHT):
            continue
        with Image.open(path.with_name(path.name + RIGHT)) as right:
            cases.append(Case(path.name, path.read_bytes(), right.convert("RGB")))
    return cases


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    """Returns an image as a file of Pillow's format `form`."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    """Returns EXIF data that says no more than an orientation."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()
