"""Inflates and parses a gzip CSV export, block by block (contract section 1.4).

Columns are found by name; extra ones are ignored. An export is parsed in the mode that
fits most of them; an error that another mode can cure raises RetryWithMode.
"""

import csv
import re
import threading
import time
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
from isal import igzip, igzip_lib

from pipeline import os_errors
from pipeline.errors import BadExport
from pipeline.harvest.csv_columns import Column
from pipeline.harvest.csv_rejections import Rejections

# Bytes of CSV parsed at once; no record may be longer. The contract's limits allow some
# 400 kB. An export with a longer record, as old rows may be, is read again in blocks of
# LONGEST. pyarrow inflates up to 32 blocks ahead, which cannot be changed: small blocks
# stay in the processor's caches, while blocks of 16 MiB alone take half a gigabyte.
BLOCK, LONGEST = 1 << 20, 4 << 20
# Records converted and written at once, as a row group. Larger chunks take more memory
# and make the file smaller.
CHUNK = 12_500

# Text inflates 3 to 5 times; the most that deflate can do is 1,032 times. Small exports
# may repeat themselves.
MOST_INFLATED = 100  # times the compressed size
ALWAYS_INFLATED = 256 << 20  # bytes

_LONGEST_HEADER = 1 << 20  # bytes
# In pyarrow's message about a record that one block does not hold.
_TOO_LONG = "straddling"
# In pyarrow's message about a value that does not fit the kind of its column.
_WRONG_KIND = re.compile("CSV conversion error to (?!string)")
# The stub of isal declares the class as an instance.
_ISAL: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]
_UNREADABLE = (
    pa.ArrowException,
    OSError,
    EOFError,
    zlib.error,
    _ISAL,
    csv.Error,
    ValueError,
)
_QUOTE = ord('"')
# Seconds, after an error only:
_LEAVING = 0.05  # from when pyarrow's reader gets the end until its thread stops
_LONGEST_READ = 2.0  # to inflate the block that is being read
_NEXT_READ = 0.3  # until a reader that reads on has begun to


@dataclass(frozen=True, slots=True)
class ParseMode:
    """How an export is parsed; the defaults fit most exports."""

    block: int = BLOCK  # bytes
    # Parse all columns as texts, since a value does not fit the kind of its column.
    is_by_text: bool = False

    def kind(self, column: Column) -> pa.DataType:
        """Returns the type as which the source of a column is parsed."""
        return pa.string() if self.is_by_text else column.kind

    def after(self, error: Exception) -> "RetryWithMode | None":
        """Returns the retry that may cure an error of the parser, or None."""
        message = str(error)
        if _TOO_LONG in message and self.block < LONGEST:
            mode = replace(self, block=LONGEST)
            reason = f"a record is longer than {self.block >> 20} MiB"
            return RetryWithMode(mode, reason)
        if _WRONG_KIND.search(message) and not self.is_by_text:
            mode = replace(self, is_by_text=True)
            reason = f"{_explained(error)}. Each value is converted by itself"
            return RetryWithMode(mode, reason)
        return None


class RetryWithMode(Exception):
    """The export must be read again in another mode."""

    def __init__(self, mode: ParseMode, reason: str) -> None:
        super().__init__(reason)
        self.mode = mode


def parse(
    mode: ParseMode,
    export: str,
    source: Path,
    columns: tuple[Column, ...],
    found: Rejections,
) -> Generator[pa.Table, None, None]:
    """Yields CHUNK or a few more records at a time, with the sources of the columns.

    NULL is null, "" of a text is empty. Raises RetryWithMode, and BadExport where no
    other mode can help.
    """
    row = 0
    try:
        with _InflatingExport(export, source) as file:
            names = _read_header(file)
            _check_columns(export, names, columns)
            for table in _tables(mode, file, names, columns, found):
                row += len(table)
                yield table
            _check_quotes(file)
    except _UNREADABLE as error:
        os_errors.raise_for_machine(error, source)
        retry = mode.after(error)
        if retry is not None:
            raise retry from error
        found.check()
        raise BadExport(
            f"the export {export} cannot be read after record {row:,}: "
            f"{_explained(error)}. Nothing was written. "
            "Run e6tag refresh when the site has made a new one."
        ) from error


def _read_header(file: "_InflatingExport") -> list[str]:
    """Returns the names of the columns."""
    header = file.readline(_LONGEST_HEADER)  # type: ignore[no-untyped-call]
    return next(csv.reader([header.decode("utf-8-sig")]), [])


def _check_columns(export: str, names: list[str], columns: tuple[Column, ...]) -> None:
    """Raises BadExport if the export lacks a column."""
    sources = dict.fromkeys(column.source for column in columns)
    missing = [source for source in sources if source not in names]
    if missing:
        raise BadExport(
            f"the export {export} has no column {', '.join(missing)} (it has "
            f"{', '.join(names)[:500]}). Nothing was written. The site changed its "
            "exports: this version of e6tag cannot read them."
        )


def _check_quotes(file: "_InflatingExport") -> None:
    """Raises ValueError if a quote was opened and never closed.

    PostgreSQL writes quotes in pairs: an odd number means that a field does not end
    where it should.
    """
    if file.quotes % 2:
        raise ValueError(
            "a quote is never closed, so that no record after it can be trusted"
        )


def _tables(
    mode: ParseMode,
    file: "_InflatingExport",
    names: list[str],
    columns: tuple[Column, ...],
    found: Rejections,
) -> Iterator[pa.Table]:
    """Yields CHUNK or a few more parsed records at a time."""
    if not file.peek(1):
        return
    batches: list[pa.RecordBatch] = []
    rows = 0
    for batch in _open_csv(mode, file, names, columns, found):
        batches.append(batch)
        rows += len(batch)
        if rows >= CHUNK:
            yield pa.Table.from_batches(batches)
            batches, rows = [], 0
    if batches:
        yield pa.Table.from_batches(batches)


def _open_csv(
    mode: ParseMode,
    file: "_InflatingExport",
    names: list[str],
    columns: tuple[Column, ...],
    found: Rejections,
) -> pa_csv.CSVStreamingReader:
    """Returns pyarrow's reader of the records, which reads ahead in a thread."""
    kinds = {column.source: mode.kind(column) for column in columns}
    # Records are numbered only where one thread parses. The blocks are inflated in
    # another thread.
    read = pa_csv.ReadOptions(
        block_size=mode.block, use_threads=False, column_names=names
    )
    parse = pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=found.skip)
    convert = pa_csv.ConvertOptions(
        include_columns=list(kinds),
        column_types=kinds,
        null_values=[""],
        true_values=["t"],
        false_values=["f"],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    file.is_read_ahead = True
    return pa_csv.open_csv(
        file, read_options=read, parse_options=parse, convert_options=convert
    )


class _InflatingExport(igzip.IGzipFile):
    """A gzip export of one or more members, inflated as it is read.

    With zlib, which is 4 times slower, everything else would wait for it.
    """

    def __init__(self, export: str, source: Path) -> None:
        super().__init__(source, "rb")  # type: ignore[no-untyped-call]
        self.is_read_ahead = False  # by pyarrow, in a thread of its own
        self.quotes = 0
        self._export = export
        self._inflated = 0  # bytes
        self._most = max(ALWAYS_INFLATED, MOST_INFLATED * source.stat().st_size)
        self._is_over = False
        self._gave_end = threading.Event()
        self._is_idle = threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        """As of any file; raises BadExport where the export inflates without end."""
        self._is_idle.clear()
        try:
            return self._read(size)
        finally:
            self._is_idle.set()

    def _read(self, size: int | None) -> bytes:
        piece: bytes = b"" if self._is_over else super().read(size)
        if not piece:
            # The last step: the thread that waits for it may shut Python down.
            self._gave_end.set()
            return piece
        self._inflated += len(piece)
        # Polars takes a sixth of the time of bytes.count.
        is_quote = pl.Series(np.frombuffer(piece, np.uint8)) == _QUOTE
        self.quotes += int(is_quote.sum())
        if self._inflated > self._most:
            raise BadExport(
                f"the export {self._export} inflates to more than {MOST_INFLATED} "
                f"times its size (stopped at {self._inflated / 1e6:,.0f} MB): no table "
                "of the site does. Nothing was written. Run e6tag refresh when the "
                "site has made a new one."
            )
        return piece

    def close(self) -> None:
        """Gives the end to a reader that reads ahead and waits until it has it.

        A reader that goes on reading while Python ends aborts the process.
        """
        is_cut_short = self.is_read_ahead and not self._gave_end.is_set()
        self._is_over = True
        if is_cut_short:
            self._is_idle.wait(_LONGEST_READ)
            # No use if the reader has read ahead as far as it may, and reads no more.
            self._gave_end.wait(_NEXT_READ)
            time.sleep(_LEAVING)
        super().close()


def _explained(error: Exception) -> str:
    """Returns the message of an error in one line."""
    message = " ".join(str(error).split())[:200]
    if _TOO_LONG in message:
        return (
            f"a record is longer than {LONGEST >> 20} MiB, or a quote is never closed"
        )
    return message
