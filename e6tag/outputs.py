"""Where answers go as one stream: standard output, or a file that can be continued."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from e6tag import records
from e6tag.errors import E6tagError
from e6tag.files import CannotWrite
from e6tag.inputs import STANDARD_INPUT, is_place, may_begin_place
from e6tag.records import CSV_COLUMNS, CSV_HEADER, RATING, Record, printable
from e6tag.streams import standard_output
from e6tag.tag_names import Spelling


class BadOutput(E6tagError):
    """A file that cannot be written to: what is there is something else, or in use."""


class Format(StrEnum):
    """The formats of a stream of answers."""

    TEXT = "text"
    JSONL = "jsonl"
    CSV = "csv"


_RECORD_START = b'{"path": "'
"""How each line of JSON begins."""

_FORMAT_BY_SUFFIX = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
}

_WRITERS: dict[Format, Callable[[Record, Spelling], bytes]] = {
    Format.TEXT: records.text_block,
    Format.JSONL: records.json_line,
    Format.CSV: records.csv_rows,
}


def format_of(path: Path | None) -> Format:
    """Returns the format that a file's name asks for; TEXT where it asks for none."""
    if path is None:
        return Format.TEXT
    return _FORMAT_BY_SUFFIX.get(path.suffix.lower(), Format.TEXT)


class Output:
    """A stream of answers. `done`: places (see Input) of the images that it has.

    What a killed process has left half written is cut off when the file is opened.
    While a file is open, no other process can open it so.
    """

    def __init__(
        self,
        path: Path | None,
        answer_format: Format,
        spelling: Spelling,
        *,
        overwrite: bool,
    ) -> None:
        """Opens the stream; raises BadOutput, CannotWrite.

        path: None for standard output. overwrite: replace what is in the file, as soon
        as there is an answer.
        """
        self.done: set[str] = set()
        self._path = path
        self._format = answer_format
        self._spelling = spelling
        self._is_to_be_emptied = False
        self._has_header = answer_format is not Format.CSV
        self._file = standard_output() if path is None else self._open(path, overwrite)
        if not self._is_to_be_emptied:
            self._write(self._header())

    def _open(self, path: Path, overwrite: bool) -> BinaryIO:
        try:
            if path.exists() and not path.is_file():  # such as a pipe
                return path.open("wb")
            with ExitStack() as stack:
                file = stack.enter_context(path.open("a+b"))
                _lock(file, path)
                size = file.seek(0, os.SEEK_END)
                if size and overwrite:
                    self._is_to_be_emptied = True
                elif size:
                    self.done, end = _read_done(path, self._format)
                    file.truncate(end)
                    self._has_header = self._has_header or end > 0
                stack.pop_all()
        except OSError as error:
            raise CannotWrite(path, error) from error
        return file

    def _header(self) -> bytes:
        """Returns what is to be written before answers, once."""
        if self._has_header:
            return b""
        self._has_header = True
        return records.CSV_HEADER

    def write(self, record: Record) -> None:
        """Writes an answer, so that it is there if the process dies now."""
        content = _WRITERS[self._format](record, self._spelling)
        self._write(self._header() + content)

    def _write(self, content: bytes) -> None:
        try:
            if self._is_to_be_emptied:
                self._file.truncate(0)
                self._is_to_be_emptied = False
            self._file.write(content)
            self._file.flush()
        except BrokenPipeError:  # as of `| head`: the command line ends quietly
            raise
        except OSError as error:
            if self._path is not None:
                # At once: later it would try again to write what it holds.
                with suppress(OSError):
                    self._file.close()
            raise CannotWrite(self._path or Path("-"), error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._path is not None:
            self._file.close()


def _lock(file: BinaryIO, path: Path) -> None:
    """Keeps other runs from a file until it is closed; raises BadOutput, OSError.

    Windows has no such locks.
    """
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadOutput(
                f"another e6tag tag is writing {path}. Wait until it ends, or name "
                "another file."
            ) from error


def _read_done(path: Path, answer_format: Format) -> tuple[set[str], int]:
    """Returns the images that a file has, and how many of its bytes are whole."""
    if answer_format is Format.TEXT:
        raise BadOutput(
            f"{path} is there, and text cannot be continued. Write JSON lines or CSV, "
            "name another file, or add --overwrite."
        )
    read = _read_json_lines if answer_format is Format.JSONL else _read_csv
    done = set()
    end = 0
    try:
        with path.open("rb") as file:
            for place, place_end in read(file):
                done.add(_checked(place))
                end = place_end
    # JSON that nests without end is a RecursionError.
    except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        raise BadOutput(
            f"{path} is there, but not as {answer_format.value} of this command: "
            f"{error}. Name another file, or add --overwrite."
        ) from error
    # Whatever comes on standard input is another image each time.
    return done - {STANDARD_INPUT}, end


def _checked(place: str) -> str:
    """Returns a place; raises ValueError for what is none."""
    if not is_place(place):
        raise ValueError(f"{printable(place)} is no absolute path")
    return place


def _read_json_lines(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """Yields each image, and where its line ends; not of a line that was cut off."""
    end = 0
    for line in file:
        if not line.endswith(b"\n"):
            _check_cut_line(line)
            return
        end += len(line)
        yield _place_of(line), end


def _place_of(line: bytes) -> str:
    """Returns the image of a line of JSON; raises ValueError where it is not ours."""
    record = json.loads(line)
    if not isinstance(record, dict) or not {"path", "tags"} <= record.keys():
        raise ValueError("a line is no record with a path and tags")
    return str(record["path"])


def _check_cut_line(line: bytes) -> None:
    """Raises ValueError unless the rest of a file is a record that was cut off.

    It will be removed, so it must be ours: others write files of one line that does
    not end, too.
    """
    if not line.startswith(_RECORD_START) and not _RECORD_START.startswith(line):
        raise ValueError("its last line is no record")
    with suppress(json.JSONDecodeError, UnicodeDecodeError):  # half of a record is none
        _checked(_place_of(line))


def _read_csv(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """Yields each image, and where its rows end; not of one whose last row lacks."""
    start = file.read(len(CSV_HEADER))
    if start != CSV_HEADER:
        if CSV_HEADER.startswith(start):  # cut off
            return
        raise ValueError(f"it does not begin with {','.join(CSV_COLUMNS)}")
    ended = None
    begun = None  # the image whose rating is still to come
    for row, end in _rows(file):
        if end is None:
            _check_cut_row(row, begun)
            return
        place, category, *_ = row
        if begun is not None and begun != place:
            raise ValueError(f"{printable(begun)} has no row of its rating")
        if place == ended != STANDARD_INPUT and category != RATING:
            raise ValueError(f"{printable(place)} has rows after that of its rating")
        begun = _checked(place)
        if category == RATING:
            ended, begun = place, None
            yield place, end


def _check_cut_row(row: list[str], begun: str | None) -> None:
    """Raises ValueError unless the last row of a file is one of ours that was cut off.

    It will be removed, with those of its image before it. begun: that image, if any.
    """
    if not row:  # an empty line
        return
    place, *others = row
    if begun is not None:
        # As bytes: a letter may be cut in two.
        whole = begun.encode(errors="surrogateescape")
        there = place.encode(errors="surrogateescape")
        is_ours = whole == there if others else whole.startswith(there)
    else:
        is_ours = is_place(place) if others else may_begin_place(place)
    if not is_ours:
        raise ValueError(f"its last row is of no image: {printable(place)}")


def _rows(file: BinaryIO) -> Iterator[tuple[list[str], int | None]]:
    """Yields each row, and where it ends; None for the last if it was cut off."""
    end = file.tell()
    line = b""

    def lines() -> Iterator[str]:
        nonlocal end, line
        for line in file:
            end += len(line)
            yield line.decode(errors="surrogateescape")

    for row in csv.reader(lines()):
        is_ended = line.endswith(b"\n")
        if len(row) == len(CSV_COLUMNS) and is_ended:
            yield row, end
            continue
        # A path may have a line break, and may have been cut off behind it.
        is_cut = not is_ended or not row or row[-1].endswith("\n")
        if not is_cut or len(row) > len(CSV_COLUMNS) or file.read(1):
            raise ValueError(f"a row has {len(row)} fields: {row}")
        yield row, None
