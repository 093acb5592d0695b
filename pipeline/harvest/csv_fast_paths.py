"""Fast conversions of CSV columns, for chunks in which every value is good.

Each takes the texts of one column and returns the converted column, or None where a
value is not as it should be: the chunk then goes through the Polars expression of the
column. They work on Arrow's buffers, because Polars would wake its threads. A property
test compares each one with its expression.
"""

import re
from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

MD5_LENGTH = 32  # hexadecimal digits

_NAMES = pa.list_(pa.string())
_SPACE = ord(" ")
_SHORTEST_TIME = len("2026-01-02 03:04:05")


def parse_times(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Returns timestamps in microseconds, or None where a text is not a full time."""
    for chunk in texts.chunks:
        lengths = np.diff(_offsets(chunk))
        if (lengths < _SHORTEST_TIME).any():
            return None
    try:
        return pc.cast(texts, pa.timestamp("us"))
    except pa.ArrowInvalid:
        return None


def check_md5(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Returns the texts if each is an MD5 in lower-case hexadecimal digits, or null."""
    given = texts.drop_null() if texts.null_count else texts
    for chunk in given.chunks:
        lengths = np.diff(_offsets(chunk))
        if (lengths != MD5_LENGTH).any():
            return None
        characters = _characters(chunk)
        # Unsigned, so that a smaller character wraps around to a large number.
        is_decimal = characters - ord("0") < 10
        is_letter = characters - ord("a") < 6
        if not (is_decimal | is_letter).all():
            return None
    return texts


def check_names(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Returns the texts if none is empty or holds a space."""
    for chunk in texts.chunks:
        if (_characters(chunk) == _SPACE).any():
            return None
        if not np.diff(_offsets(chunk)).all():
            return None
    return texts


def check_values(
    pattern: re.Pattern[str], texts: pa.ChunkedArray
) -> pa.ChunkedArray | None:
    """Returns the texts if each distinct one matches the pattern as a whole."""
    for value in texts.unique().to_pylist():
        if not pattern.fullmatch(value):
            return None
    return texts


def all_false(flags: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns false for every flag, none of which is null."""
    return pc.and_not(flags, flags)


def split_names(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns the names between the spaces of each text; none where it is null."""
    chunks = [_split_chunk(chunk) for chunk in texts.chunks]
    return pa.chunked_array(chunks, _NAMES)


def _split_chunk(texts: pa.StringArray) -> pa.ListArray:
    """Splits the texts of one chunk at their spaces.

    This took most of the time of a harvest. On a processor with AVX-512, which Polars
    uses to filter by a mask, it takes a third of the time of
    pyarrow.compute.split_pattern, which compares byte by byte.
    """
    characters = pl.Series(_characters(texts))
    is_space = characters == _SPACE
    positions = _numbers(len(characters).bit_length())[: len(characters)]
    spaces = positions.filter(is_space).to_numpy()
    offsets = _offsets(texts).view(np.uint32)
    starts = offsets - offsets[0]
    # Number of spaces before each text, and at the end the number of all spaces.
    spaces_before = np.searchsorted(spaces, starts)
    # The spaces are removed: a name ends where its space was, or where its text ended,
    # less the number of spaces before.
    name_ends = spaces - np.arange(len(spaces), dtype=np.uint32)
    text_ends = starts[1:] - spaces_before[1:]
    ends = np.insert(name_ends, spaces_before[1:], text_ends)
    name_characters = characters.filter(characters != _SPACE).to_numpy()
    names = _text_array(_offsets_of_ends(ends), name_characters)
    list_ends = spaces_before[1:] + np.arange(1, len(spaces_before))
    return _without_empty_names(_offsets_of_ends(list_ends), names)


def _without_empty_names(offsets: np.ndarray, names: pa.StringArray) -> pa.ListArray:
    """Returns lists of names without the empty names.

    A double space leaves an empty name, and so does a post without tags.
    """
    is_name = np.diff(_offsets(names)) > 0
    if not is_name.all():
        names_before = _offsets_of_ends(np.cumsum(is_name))
        offsets = names_before[offsets]
        # Not pa.array, which imports pandas: a second of CPU time.
        names = names.filter(pl.Series(is_name).to_arrow())
    buffers = [None, pa.py_buffer(offsets)]
    return pa.Array.from_buffers(_NAMES, len(offsets) - 1, buffers, children=[names])


@cache
def _numbers(bits: int) -> pl.Series:
    """Returns all numbers of that many bits, ascending.

    Cached, because making them for each chunk takes as long as all the rest.
    """
    return pl.int_range(1 << bits, dtype=pl.UInt32, eager=True)


def _offsets_of_ends(ends: np.ndarray) -> np.ndarray:
    """Returns the offsets (int32) of an array whose values end at `ends`."""
    return np.concatenate([np.zeros(1, np.int32), ends.astype(np.int32)])


def _text_array(offsets: np.ndarray, characters: np.ndarray) -> pa.StringArray:
    """Returns an array of texts without nulls."""
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(characters)]
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, buffers)


def _offsets(texts: pa.Array) -> np.ndarray:
    """Returns the start of the first text, then the end of each text (int32)."""
    if len(texts) == 0:
        return np.zeros(1, np.int32)
    offsets = np.frombuffer(texts.buffers()[1], np.int32)
    return offsets[texts.offset : texts.offset + len(texts) + 1]


def _characters(texts: pa.Array) -> np.ndarray:
    """Returns the bytes of all texts of an array, one after the other (uint8)."""
    offsets = _offsets(texts)
    content = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    return content[offsets[0] : offsets[-1]]
