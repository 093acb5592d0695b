"""WebP files: the chunks, a lost end filled with zeros, and the number of pixels."""

from collections.abc import Iterator

from e6tag.image_files.damage import MAX_LOST, Damage, Undecodable
from e6tag.image_files.exif import read_orientation
from e6tag.image_files.image_file import ImageFile


def read_webp(body: bytes) -> ImageFile:
    """Reads a WebP, with zeros in place of lost bytes; raises Undecodable."""
    length = 8 + int.from_bytes(body[4:8], "little")
    missing = length - len(body)
    if missing > MAX_LOST * length:
        raise Undecodable(Damage.PARTIAL)
    frames = 0
    orientation = 1
    for kind, content in _webp_chunks(body):
        if kind == b"ANMF":
            frames += 1
        if kind == b"EXIF":
            orientation = read_orientation(content)
    if frames > 1:
        raise Undecodable(Damage.ANIMATION)
    # The decoder wants the length that is promised; its coder reads zeros where bytes
    # are lost.
    whole = body + bytes(max(0, missing))
    return ImageFile("webp", whole, orientation, is_cut=missing > 0)


def _webp_chunks(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields kind and content of each chunk."""
    position = 12
    while position + 8 <= len(body):
        kind = body[position : position + 4]
        size = int.from_bytes(body[position + 4 : position + 8], "little")
        yield kind, body[position + 8 : position + 8 + size]
        position += 8 + size + size % 2


def webp_pixels(body: bytes) -> int:
    """Returns how many pixels a WebP says it has, 0 where it is none or does not say.

    RFC 9649, sections 2.5 to 2.7; RFC 6386, section 9.1.
    """
    if body[8:12] != b"WEBP":
        return 0
    for kind, content in _webp_chunks(body):
        if kind == b"VP8X":
            width = 1 + int.from_bytes(content[4:7], "little")
            return width * (1 + int.from_bytes(content[7:10], "little"))
        if kind == b"VP8L":
            sides = int.from_bytes(content[1:5], "little")
            return (1 + (sides & 0x3FFF)) * (1 + (sides >> 14 & 0x3FFF))
        if kind == b"VP8 ":
            width = int.from_bytes(content[6:8], "little") & 0x3FFF
            return width * (int.from_bytes(content[8:10], "little") & 0x3FFF)
    return 0
