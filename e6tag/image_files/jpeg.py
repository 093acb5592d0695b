"""JPEG files: segments, whether the end or scans are lost, and the first scan alone."""

from collections.abc import Iterator

from e6tag.image_files.damage import Damage, Undecodable
from e6tag.image_files.exif import EXIF_PREFIX, read_orientation
from e6tag.image_files.image_file import ImageFile

_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = b"\xff\xda"
_JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_PROGRESSIVE = 0xC2

_JPEG_APPLICATION = range(0xE0, 0xF0)
_JPEG_EXIF = 0xE1
_JPEG_PROFILE = 0xE2
_JPEG_COMMENT = 0xFE


def read_jpeg(body: bytes) -> ImageFile:
    """Reads a JPEG, with an end marker where it has none; raises Undecodable."""
    is_cut = _lacks_end(body)
    if is_cut and _lacks_scans(body):
        raise Undecodable(Damage.PARTIAL)
    parts = [body[:2]]
    orientation = 1
    position = 2
    for marker, start, end in _jpeg_segments(body):
        content = body[start:end]
        if marker == _JPEG_EXIF and content.startswith(EXIF_PREFIX):
            orientation = read_orientation(content)
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
