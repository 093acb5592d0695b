"""Writes a table of the snapshot as Parquet, and sorts one by its key."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import files, parquet
from pipeline.harvest.csv_rejections import Rejections

# The dictionary of the tags of one row group. With pyarrow's 1 MiB it falls back to
# plain text, which is a third larger and slower.
_DICTIONARY = 32 << 20  # bytes


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Returns a writer of small files that is fast where names repeat."""
    lists = [field.name for field in schema if pa.types.is_list(field.type)]
    with_dictionary = [f"{name}.list.element" for name in lists]
    with_delta = {}
    for field in schema:
        # An MD5 differs in each row: a dictionary is of no use.
        if pa.types.is_string(field.type) and field.name != "md5":
            with_dictionary.append(field.name)
        if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type):
            with_delta[field.name] = "DELTA_BINARY_PACKED"
    # Statistics of lists of names are of no use, and slow.
    with_statistics = [name for name in schema.names if name not in lists]
    return pq.ParquetWriter(
        path,
        parquet.stored_schema(schema),
        compression="zstd",
        use_dictionary=with_dictionary,
        dictionary_pagesize_limit=_DICTIONARY,
        # Makes the file a fifteenth smaller, and is faster to compress.
        column_encoding=with_delta,
        write_statistics=with_statistics,
    )


def sort_by_key(path: Path, key: str, schema: pa.Schema, found: Rejections) -> None:
    """Sorts a table whose export was not ordered by its key.

    Of records with one id the last is kept, as on the site; the id is added to `found`.

    Holds the ids and one row group of output in memory. A row group is read once for
    each part of the output that takes rows from it: about twice if few records are
    misplaced, but all of them for every part if six million records are shuffled.
    """
    order = _sorted_rows(path, key, found)
    with (
        pq.ParquetFile(path) as unordered,
        files.open_atomic(path) as temporary,
        writer(temporary, schema) as file,
    ):
        starts = _row_group_starts(unordered)
        for at in range(0, len(order), parquet.ROW_GROUP):
            rows = order[at : at + parquet.ROW_GROUP]
            table = _take(unordered, starts, rows)
            file.write_table(table.sort_by(key).cast(schema))


def _sorted_rows(path: Path, key: str, found: Rejections) -> np.ndarray:
    """Returns the rows to keep in the order of their keys, noting repeated keys."""
    ids = parquet.read(path, [key]).with_row_index("at")
    repeated = ids.filter(ids[key].is_duplicated())[key]
    for value in repeated.unique().sort():
        found.add_repeated(value)
    kept = ids.unique(key, keep="last").sort(key)
    return kept["at"].to_numpy()


def _row_group_starts(table: pq.ParquetFile) -> np.ndarray:
    """Returns the first row of each row group, and at the end the number of rows."""
    starts = [0]
    for group in range(table.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        starts.append(starts[-1] + rows)
    return np.array(starts)


def _take(table: pq.ParquetFile, starts: np.ndarray, rows: np.ndarray) -> pa.Table:
    """Returns some rows of a file, row group by row group."""
    groups = np.searchsorted(starts, rows, side="right") - 1
    taken = []
    for group in np.unique(groups):
        places = rows[groups == group] - starts[group]
        taken.append(table.read_row_group(group).take(places))
    return pa.concat_tables(taken)
