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
    starts = range(0, width * height, width)
    rows = b"".join(b"\0" + indices[start : start + width] for start in starts)
    chunks = [
        (b"IHDR", header),
        (b"PLTE", palette),
        (b"tRNS", alpha),
        (b"IDAT", _stored(rows)),
    ]
    parts = [chunk(kind, data) for kind, data in chunks if data]
    return b"".join([_SIGNATURE, *parts, chunk(b"IEND", b"")])


def chunk(kind: bytes, data: bytes) -> bytes:
    """Returns a chunk of a PNG with its length and checksum."""
    length = struct.pack(">I", len(data))
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return length + kind + data + checksum


def _stored(data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.adler32(data))
    return b"\x78\x01" + b"".join(_blocks(data)) + checksum


def _blocks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        last = start + _BLOCK >= len(data)
        yield struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block
