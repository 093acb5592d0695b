"""Reads which posts a shard holds: TFRecord frames and tf.train.Example.

Deliberately without TensorFlow (7 s to import) and without the code that wrote the
shards: the gate reads them with code of its own, from the definitions of the formats.
Checksums of single records are not computed: the gate compares the SHA-256 of the file.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

_HEADER = 12  # bytes before a record: its length (8) and the checksum of that (4)
_FOOTER = 4  # bytes after a record: its checksum
_VARINT, _LENGTH = 0, 2  # wire types of protocol buffers


class Damaged(ValueError):
    """The bytes are not what the format defines."""


def identities(path: Path) -> Iterator[tuple[int, str]]:
    """Yields post id and md5 of every record.

    Raises Damaged where a record is cut short or is not an Example.
    """
    if path.stat().st_size == 0:
        return  # an empty file cannot be mapped
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        for record in _records(content):
            yield _identity(record)


def _records(content: mmap.mmap) -> Iterator[bytes]:
    """Yields the bytes of every record without its frame."""
    size = len(content)
    position = 0
    while position < size:
        start = position + _HEADER
        if start + _FOOTER > size:
            raise Damaged(f"a record is cut short at byte {position}")
        (length,) = struct.unpack_from("<Q", content, position)
        end = start + length
        if end + _FOOTER > size:
            raise Damaged(f"the record at byte {position} is cut short")
        yield content[start:end]
        position = end + _FOOTER


def _identity(example: bytes) -> tuple[int, str]:
    """Returns post id and md5 of an Example."""
    features = {}
    for _, entry in _fields(_first_message(example)):
        # An entry of the map of features: its key is field 1, its value field 2.
        named = dict(_fields(entry))
        features[bytes(named[1])] = named[2]
    try:
        numbers = dict(_fields(_first_message(features[b"post_id"])))
        (post_id,) = numbers.values()
        md5 = _first_message(_first_message(features[b"md5"]))
    except (KeyError, ValueError) as error:
        raise Damaged("a record lacks post_id or md5") from error
    if not isinstance(post_id, int):
        post_id, _ = _varint(post_id, 0)  # a packed list of one number
    return post_id, bytes(md5).decode()


def _first_message(message: bytes | int) -> bytes:
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
        number = key >> 3
        wire_type = key & 7
        if wire_type == _VARINT:
            yield number, value
            continue
        end = position + value
        if wire_type != _LENGTH or end > len(message):
            raise Damaged("a record is not a tf.train.Example")
        yield number, message[position:end]
        position = end


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Returns the number that starts at the position, and the position after it."""
    value = 0
    shift = 0
    while position < len(message):
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return value, position
    raise Damaged("a record ends within a number")
