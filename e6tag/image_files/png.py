"""PNG files: the chunks that the pixels need, and lost rows made white."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from e6tag.image_files.damage import MAX_LOST, MAX_PIXELS, Damage, Undecodable
from e6tag.image_files.exif import read_orientation
from e6tag.image_files.image_file import ImageFile

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_PROFILE = 1 << 20
"""Bytes of a colour profile in a PNG; a larger one is ignored."""

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples per pixel by colour type (PNG specification, section 11.2.1)."""

_PNG_PALETTE = 3
_ONE = (1).to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk of a PNG. encoded: all its bytes, as the file holds them.

    is_whole: whether all of it is there; is_valid: and its checksum is right.
    """

    kind: bytes
    content: bytes
    encoded: bytes
    is_whole: bool
    is_valid: bool

    @property
    def is_critical(self) -> bool:
        """Whether a decoder must understand it."""
        return not self.kind[0] & 0x20


def _encode_chunk(kind: bytes, content: bytes) -> bytes:
    length = len(content).to_bytes(4, "big")
    checksum = zlib.crc32(kind + content).to_bytes(4, "big")
    return length + kind + content + checksum


def read_png(body: bytes) -> ImageFile:
    """Reads a PNG, with rows in place of those lost; raises Undecodable."""
    chunks = list(_png_chunks(body))
    for chunk in chunks:
        _check_chunk(chunk)
    header = [chunk for chunk in chunks if _is_needed(chunk)]
    pixels = [chunk for chunk in chunks if chunk.kind == b"IDAT"]
    if not header or header[0].kind != b"IHDR" or len(header[0].content) != 13:
        raise Undecodable(Damage.HEADER)
    if not pixels:
        raise Undecodable(Damage.PARTIAL)
    is_cut = chunks[-1].kind != b"IEND"
    parts = [PNG_SIGNATURE, *(chunk.encoded for chunk in header)]
    if is_cut:
        compressed = b"".join(chunk.content for chunk in pixels)
        restored = _restore_pixels(header[0].content, compressed)
        parts.append(_encode_chunk(b"IDAT", restored))
    else:
        parts.extend(chunk.encoded for chunk in pixels)
    parts.append(_encode_chunk(b"IEND", b""))
    return ImageFile("png", b"".join(parts), _png_orientation(chunks), is_cut)


def _check_chunk(chunk: _Chunk) -> None:
    """Raises Undecodable where a chunk forbids to decode the image."""
    if chunk.is_critical and chunk.is_whole and not chunk.is_valid:
        raise Undecodable(Damage.PIXELS)
    if chunk.kind == b"acTL" and chunk.is_valid and chunk.content[:4] > _ONE:
        raise Undecodable(Damage.ANIMATION)


def without_animation(png: bytes) -> bytes:
    """Returns a PNG without the chunk that makes it an animation.

    What is left is the image for programs that know no animations, the first frame.
    """
    chunks = _png_chunks(png)
    kept = (chunk.encoded for chunk in chunks if chunk.kind != b"acTL")
    return PNG_SIGNATURE + b"".join(kept)


def _png_orientation(chunks: Iterable[_Chunk]) -> int:
    for chunk in chunks:
        if chunk.kind == b"eXIf" and chunk.is_valid:
            return read_orientation(chunk.content)
    return 1


def _png_chunks(body: bytes) -> Iterator[_Chunk]:
    position = len(PNG_SIGNATURE)
    while position + 8 <= len(body):
        length = int.from_bytes(body[position : position + 4], "big")
        end = position + 12 + length
        encoded = body[position:end]
        kind, content = encoded[4:8], encoded[8 : 8 + length]
        is_whole = len(encoded) == 12 + length
        checksum = int.from_bytes(encoded[-4:], "big")
        is_valid = is_whole and zlib.crc32(encoded[4:-4]) == checksum
        yield _Chunk(kind, content, encoded, is_whole, is_valid)
        if kind == b"IEND":
            return
        position = end


def _is_needed(chunk: _Chunk) -> bool:
    """Returns whether a decoder needs the chunk, besides pixels and the end marker."""
    if not chunk.is_valid or chunk.kind in (b"IDAT", b"IEND"):
        return False
    if chunk.kind == b"iCCP":
        return _is_small_profile(chunk.content)
    return chunk.is_critical or chunk.kind == b"tRNS"


def _is_small_profile(content: bytes) -> bool:
    """Returns whether a compressed profile is whole and no larger than MAX_PROFILE."""
    _, _, compressed = content.partition(b"\0")
    decompressor = zlib.decompressobj()
    try:
        decompressor.decompress(compressed[1:], MAX_PROFILE)
    except zlib.error:
        return False
    return decompressor.eof


def _restore_pixels(header: bytes, compressed: bytes) -> bytes:
    """Returns the compressed pixels of a PNG that was cut off, with what is lost.

    Lost rows become white. header: content of IHDR. Raises Undecodable where more than
    MAX_LOST of the rows are lost. An interlaced image is left to the decoder, which
    wants it whole: what is lost of it lies all over it.
    """
    width = int.from_bytes(header[0:4], "big")
    height = int.from_bytes(header[4:8], "big")
    depth, kind, _, _, interlace = header[8:13]
    if interlace or kind not in _PNG_CHANNELS:
        return compressed
    if width * height > MAX_PIXELS:
        raise Undecodable(Damage.TOO_MANY_PIXELS)
    row = 1 + (width * depth * _PNG_CHANNELS[kind] + 7) // 8  # a filter comes first
    found = _decompress(compressed, row * height)
    complete = len(found) // row
    if complete < height * (1 - MAX_LOST):
        raise Undecodable(Damage.PARTIAL)
    colour = b"\0" if kind == _PNG_PALETTE else b"\xff"
    lost = (b"\0" + colour * (row - 1)) * (height - complete)
    return zlib.compress(found[: complete * row] + lost, level=1)


def _decompress(compressed: bytes, size: int) -> bytes:
    """Returns what there is of `size` bytes; raises Undecodable."""
    # Without the header and the checksum, which may be lost.
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return decompressor.decompress(compressed[2:], size)
    except zlib.error as error:
        raise Undecodable(Damage.PIXELS) from error
