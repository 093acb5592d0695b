"""The bytes of an image file: its format, and what viewers overlook in damaged ones.

`read` tells by the bytes what a decoder shall not decide: the format, whether the file
is an animation, and whether its end is lost. It passes on only what the pixels need, so
that no defect elsewhere costs an image: captions of any length, a wrong checksum of
metadata, a missing end marker.
"""

from e6tag.image_files.damage import Damage, Undecodable
from e6tag.image_files.image_file import ImageFile
from e6tag.image_files.jpeg import read_jpeg
from e6tag.image_files.png import PNG_SIGNATURE, read_png
from e6tag.image_files.webp import read_webp

FORMATS = ("jpeg", "png", "webp")
"""The formats that are read."""


def read(body: bytes) -> ImageFile:
    """Reads a file as far as its bytes tell; raises Undecodable."""
    if body.startswith(b"\xff\xd8\xff"):
        return read_jpeg(body)
    if body.startswith(PNG_SIGNATURE):
        return read_png(body)
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return read_webp(body)
    raise Undecodable(Damage.NOT_AN_IMAGE)
