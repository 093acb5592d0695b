"""Reads which posts a shard holds: TFRecord frames and tf.train.Example, as their formats define them.

Deliberately without TensorFlow (7 s to import) and without the code that wrote the shards: this is the second opinion.
Checksums of single records are not computed: the gate compares the SHA-256 of the whole file.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

_FRAME = 16  # bytes around a record: length (8), its checksum (4), and the record's checksum (4) behind it
_VARINT, _LENGTH = 0, 2  # wire types of protocol buffers


class Damaged(ValueError):
    """The bytes are not what the format says."""


def identities(path: Path) -> Iterator[tuple[int, str]]:
    """Yields post id and md5 of every record; raises Damaged where a record is cut short or not an Example."""
    size = path.stat().st_size
    if size == 0:
        return
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        position = 0
        while position < size:
            if position + _FRAME > size:
                raise Damaged(f"a record is cut short at byte {position}")
            (length,) = struct.unpack_from("<Q", content, position)
            end = position + 12 + length
            if end + 4 > size:
                raise Damaged(f"the record at byte {position} is cut short")
            yield _identity(content[position + 12 : end])
            position = end + 4


def _identity(example: bytes) -> tuple[int, str]:
    features = {}
    for _, entry in _fields(_only(example)):
        named = dict(_fields(entry))
        features[bytes(named[1])] = named[2]
    try:
        (post_id,) = dict(_fields(_only(features[b"post_id"]))).values()
        md5 = _only(_only(features[b"md5"]))
    except (KeyError, ValueError) as error:
        raise Damaged("a record lacks post_id or md5") from error
    return (post_id if isinstance(post_id, int) else _varint(post_id, 0)[0]), bytes(
        md5
    ).decode()


def _only(message: bytes | int) -> bytes:
    """Returns the first field of a message that holds bytes."""
    for _, value in _fields(message):
        if isinstance(value, bytes):
            return value
    raise Damaged("a message is empty")


def _fields(message: bytes | int) -> Iterator[tuple[int, bytes | int]]:
    """Yields number and value of every field."""
    if isinstance(message, int):
        raise Damaged("a number where a message was expected")
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        value, position = _varint(message, position)
        if key & 7 == _VARINT:
            yield key >> 3, value
        elif key & 7 == _LENGTH and position + value <= len(message):
            yield key >> 3, message[position : position + value]
            position += value
        else:
            raise Damaged("a record is not a tf.train.Example")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message):
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    raise Damaged("a record ends within a number")
