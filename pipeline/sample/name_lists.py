"""Names on posts as Parquet holds them: numbers, and a dictionary of the names."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class NameLists:
    """The names on posts: post n has dictionary[places[starts[n] : starts[n + 1]]]."""

    starts: NDArray[np.int64]
    places: NDArray[Any]
    dictionary: pl.Series


def name_lists(lists: pa.ChunkedArray) -> NameLists:
    """Returns the names of a column of lists; a null list is an empty one."""
    array = _one_array(lists.unify_dictionaries())
    values = array.flatten()
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    dictionary = pl.Series("name", values.dictionary, dtype=pl.String)
    return NameLists(starts, values.indices.to_numpy(), dictionary)


def _one_array(lists: pa.ChunkedArray) -> pa.Array:
    array = lists.combine_chunks()
    if not isinstance(array, pa.ChunkedArray):
        return array
    if not array.num_chunks:
        return pa.array([], array.type)
    return pa.concat_arrays(array.chunks)


def keep_posts(
    posts: NDArray[np.bool_], names: NameLists
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Returns starts and places, with none left of the other posts."""
    lengths = np.diff(names.starts)
    starts = np.concatenate([[0], np.cumsum(lengths * posts)])
    return starts, names.places[np.repeat(posts, lengths)]


def post_of(starts: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the post that each place belongs to."""
    return np.searchsorted(starts, places, side="right") - 1


def any_bits(starts: NDArray[np.int64], bits: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns for each post the bits that any of its names has."""
    combined = np.zeros(len(starts) - 1, dtype=np.uint8)
    places = np.flatnonzero(bits)
    np.bitwise_or.at(combined, post_of(starts, places), bits[places])
    return combined
