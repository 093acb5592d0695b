"""Small JPEGs as data URIs, for a page that requests nothing."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from e6tag import images
from pipeline import packs
from pipeline.paths import Paths

SIDE = 192  # pixels of the longer side at most
QUALITY = 82  # of the JPEG: about 8 kB each


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


def encode(image: Image.Image, side: int = SIDE) -> Thumbnail:
    """Returns an RGB image, made smaller where a side is longer than `side`."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    jpeg = images.encode_jpeg(small, quality=QUALITY)
    encoded = base64.b64encode(jpeg).decode()
    uri = f"data:image/jpeg;base64,{encoded}"
    return Thumbnail(uri, small.width, small.height)


def read_bodies(
    paths: Paths, records: Iterable[Mapping[str, Any]]
) -> dict[str, tuple[str, bytes]]:
    """Returns pack and file of stored images by md5, reading each pack only once.

    records: with `pack` and `md5`.
    """
    reader = packs.PackReader(paths.images)
    wanted = sorted({(record["pack"], record["md5"]) for record in records})
    return {md5: (pack, reader.bytes(pack, md5)) for pack, md5 in wanted}
