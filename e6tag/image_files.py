"""The bytes of an image file: its format, and what viewers overlook in damaged ones.

`read` tells by the bytes what a decoder shall not decide: the format, whether the file
is an animation, and whether its end is lost. It passes on only what the pixels need, so
that no defect elsewhere costs an image: captions of any length, a wrong checksum of
metadata, a missing end marker.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

FORMATS = ("jpeg", "png", "webp")
"""The formats that are read."""

MAX_PIXELS = 178_956_970
"""What is decoded where no other limit is given: Pillow's own for images in RGB."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_LOST = 0.05
"""Share of an image's rows, or of a WebP's bytes, that may be lost at its end."""

MAX_PROFILE = 1 << 20
"""Bytes of a colour profile in a PNG; a larger one is ignored."""

_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = b"\xff\xda"
_JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_PROGRESSIVE = 0xC2

_JPEG_APPLICATION = range(0xE0, 0xF0)
_JPEG_EXIF = 0xE1
_JPEG_PROFILE = 0xE2
_JPEG_COMMENT = 0xFE

_EXIF_PREFIX = b"Exif\0\0"
_EXIF_ORIENTATION = 0x0112
_EXIF_SHORT = 3

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples per pixel by colour type (PNG specification, section 11.2.1)."""

_PNG_PALETTE = 3
_ONE = (1).to_bytes(4, "big")


class Damage(StrEnum):
    """Why bytes give no image; the whole list of the details that outputs may hold."""

    NOT_AN_IMAGE = "not a JPEG, PNG or WebP file"
    ANIMATION = "an animation"
    HEADER = "its header cannot be read"
    PIXELS = "its pixels cannot be decoded"
    PARTIAL = "only part of it is there"
    TOO_MANY_PIXELS = "too many pixels"


class Undecodable(ValueError):
    """Bytes that give no image. Its message is that of `damage`.

    What the decoder said is its cause: texts of libraries change from version to
    version and name memory addresses, so they belong into a log and not into data.
    """

    def __init__(self, damage: Damage) -> None:
        super().__init__(damage.value)
        self.damage = damage


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file of one of FORMATS.

    body: what a decoder shall read: of the file, what the pixels need; orientation: of
    its EXIF data, 1 to 8, and 1 where that makes no sense; is_cut: whether bytes at the
    end of the file are lost.
    """

    format: str
    body: bytes
    orientation: int
    is_cut: bool


def read(body: bytes) -> ImageFile:
    """Reads a file as far as its bytes tell; raises Undecodable."""
    if body.startswith(b"\xff\xd8\xff"):
        return _read_jpeg(body)
    if body.startswith(PNG_SIGNATURE):
        return _read_png(body)
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return _read_webp(body)
    raise Undecodable(Damage.NOT_AN_IMAGE)


def _read_jpeg(body: bytes) -> ImageFile:
    is_cut = _lacks_end(body)
    if is_cut and _lacks_scans(body):
        raise Undecodable(Damage.PARTIAL)
    parts = [body[:2]]
    orientation = 1
    position = 2
    for marker, start, end in _jpeg_segments(body):
        content = body[start:end]
        if marker == _JPEG_EXIF and content.startswith(_EXIF_PREFIX):
            orientation = _orientation(content)
        if marker == _JPEG_SCAN[1]:
            break
        if _is_needed_segment(marker, content):
            parts.append(body[start - 4 : end])
        position = end
    parts.append(body[position:])
    if is_cut:
        parts.append(_JPEG_END)
    return ImageFile("jpeg", b"".join(parts), orientation, is_cut)


def _lacks_end(body: bytes) -> bool:
    """Returns whether no end marker follows a JPEG's last scan.

    Other bytes may follow it. Raises Undecodable where there is no scan.
    """
    if body.endswith(_JPEG_END):  # most: the search takes 4 % of decoding
        return False
    last_scan = body.rfind(_JPEG_SCAN)
    if last_scan < 0:
        raise Undecodable(Damage.PARTIAL)
    return body.find(_JPEG_END, last_scan) < 0


def _is_needed_segment(marker: int, content: bytes) -> bool:
    """Returns whether pixels depend on a segment: comments and most metadata are not.

    Kept of the application's segments are JFIF, Adobe's, which tells the colour model,
    and colour profiles.
    """
    if marker == _JPEG_PROFILE:
        return content.startswith(b"ICC_PROFILE\0")
    if marker in _JPEG_APPLICATION:
        return marker in (0xE0, 0xEE)
    return marker != _JPEG_COMMENT


def _orientation(exif: bytes) -> int:
    """Returns the orientation, 1 to 8 (Exif 2.32, section 4.6.4, in TIFF 6.0).

    Not read by Pillow, which warns about each of the many kinds of broken EXIF data
    in a way that is not aware of threads.
    """
    tiff = exif.removeprefix(_EXIF_PREFIX)
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    entries = int.from_bytes(tiff[4:8], order)  # where the directory starts
    count = int.from_bytes(tiff[entries : entries + 2], order)
    for number in range(count):
        start = entries + 2 + 12 * number
        entry = tiff[start : start + 12]
        if len(entry) < 12:
            return 1
        if int.from_bytes(entry[:2], order) == _EXIF_ORIENTATION:
            found = int.from_bytes(entry[8:10], order)
            is_short = int.from_bytes(entry[2:4], order) == _EXIF_SHORT
            return found if is_short and 1 <= found <= 8 else 1
    return 1


def _jpeg_segments(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields marker, start and end of the content of each segment of a JPEG.

    The compressed data after a scan's header is skipped. Ends where the bytes end or
    make no sense.
    """
    position = 2  # after the marker that starts the file
    while position + 4 <= len(body):
        if body[position] != 0xFF:
            return
        marker = body[position + 1]
        if marker == 0xFF or marker in _JPEG_WITHOUT_LENGTH:  # filled, or a lone marker
            position += 1 if marker == 0xFF else 2
            continue
        if marker == _JPEG_END[1]:
            return
        length = int.from_bytes(body[position + 2 : position + 4], "big")
        end = position + 2 + length
        if end > len(body):
            return
        yield marker, position + 4, end
        position = _after_scan(body, end) if marker == _JPEG_SCAN[1] else end


def _after_scan(body: bytes, position: int) -> int:
    """Returns where the compressed data that starts at `position` ends."""
    while True:
        position = body.find(b"\xff", position)
        if position < 0 or position + 1 >= len(body):
            return len(body)
        following = body[position + 1]
        # 0xFF as a value, a restart marker or a filled marker.
        if following == 0 or 0xD0 <= following <= 0xD7 or following == 0xFF:
            position += 1
            continue
        return position


def _lacks_scans(body: bytes) -> bool:
    """Returns whether a progressive JPEG ends before its last scan has begun.

    That is where some frequency of some colour was not sent to its last bit (ITU-T T.81
    section G.1.1.1): it lacks details all over, where others lack the last rows.
    """
    components: set[int] = set()
    complete: set[tuple[int, int]] = set()
    for marker, start, end in _jpeg_segments(body):
        if marker == _JPEG_PROGRESSIVE:
            components.update(_components(body[start:end]))
        if marker == _JPEG_SCAN[1] and start < len(body):
            complete.update(_completed(body, start))
    wanted = {(one, frequency) for one in components for frequency in range(64)}
    return not wanted <= complete


def _components(frame: bytes) -> bytes:
    """Returns the ids of the components that the content of a frame's header names."""
    count = frame[5] if len(frame) > 5 else 0
    return frame[6 : 6 + 3 * count : 3]


def _completed(body: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Yields component and frequency that the scan at `start` sends to the last bit."""
    count = body[start]
    tail = body[start + 1 + 2 * count : start + 4 + 2 * count]
    if len(tail) < 3:
        return
    first, last, bits = tail
    if bits & 0x0F:  # the place of the last bit that is sent
        return
    for component in body[start + 1 : start + 1 + 2 * count : 2]:
        for frequency in range(first, last + 1):
            yield component, frequency


def first_scan(jpeg: bytes) -> bytes | None:
    """Returns a progressive JPEG cut off after its first scan.

    None where there is no second scan, or the first lacks a colour. The first scan
    holds the mean of every 8 x 8 block, and decoding at 1/8 size reads nothing else:
    without the other scans it takes a tenth of the time. The means differ from the
    final ones by at most a step of the quantisation.
    """
    cut = bytearray(jpeg)
    colours = 0
    for marker, start, end in _jpeg_segments(jpeg):
        if marker == 0xDB:  # quantisation tables
            _without_frequencies(cut, start, end)
        if marker == _JPEG_PROGRESSIVE:
            colours = len(_components(jpeg[start:end]))
        if marker == _JPEG_SCAN[1]:
            # What follows holds no other marker of this kind.
            second = jpeg.find(_JPEG_SCAN, end)
            # Encoders may give each colour a scan of its own.
            is_enough = second > 0 and jpeg[start] == colours
            return bytes(cut[:second]) + _JPEG_END if is_enough else None
    return None


def _without_frequencies(jpeg: bytearray, position: int, end: int) -> None:
    """Sets all but the first step of the quantisation tables at `position` to zero.

    No frequency is left to be multiplied by them; zeros keep libjpeg-turbo from
    guessing frequencies out of neighbouring blocks, which blurs the means too
    (jdcoefct.c, smoothing_ok).
    """
    while position < end:
        size = 2 if jpeg[position] >> 4 else 1  # bytes of a step
        steps = slice(position + 1 + size, position + 1 + 64 * size)
        jpeg[steps] = bytes(63 * size)
        position += 1 + 64 * size


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


def _read_png(body: bytes) -> ImageFile:
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
            return _orientation(chunk.content)
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


def _read_webp(body: bytes) -> ImageFile:
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
            orientation = _orientation(content)
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
