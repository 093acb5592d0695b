"""A PNG writer whose bytes depend on nothing but its input.

Stored deflate blocks, no compressor.
"""

import struct
import zlib
from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BLOCK = 65_535  # bytes; the most that a stored deflate block can hold


def encode(
    width: int, height: int, indices: bytes, palette: bytes, alpha: bytes = b""
) -> bytes:
    """Returns a PNG of one palette index per pixel.

    `palette` is RGB triples, `alpha` the first entries' opacity.
    """
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    rows = b"".join(
        b"\0" + indices[start : start + width]
        for start in range(0, width * height, width)
    )
    chunks = [
        (b"IHDR", header),
        (b"PLTE", palette),
        (b"tRNS", alpha),
        (b"IDAT", _stored(rows)),
        (b"IEND", b""),
    ]
    return _SIGNATURE + b"".join(
        chunk(kind, data) for kind, data in chunks if data or kind == b"IEND"
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    """Returns a chunk of a PNG with its length and checksum."""
    return (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
    )


def _stored(data: bytes) -> bytes:
    return b"\x78\x01" + b"".join(_blocks(data)) + struct.pack(">I", zlib.adler32(data))


def _blocks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        last = start + _BLOCK >= len(data)
        yield struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block
