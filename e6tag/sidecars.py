"""Sidecars: files beside each image that hold its tags, as captioners want them."""

import os
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from e6tag import records
from e6tag.errors import E6tagError
from e6tag.files import CannotWrite, write_whole
from e6tag.inputs import Input
from e6tag.records import RATING, Record
from e6tag.tag_names import Spelling, written_forms


class SidecarError(E6tagError):
    """A sidecar cannot be written, for a reason that others need not have."""


class NotText(SidecarError):
    """A list of tags that is to be added to cannot be read."""


class Kind(StrEnum):
    """The kinds of sidecars: a list of tags, or all that is known."""

    TXT = "txt"
    JSON = "json"


class Naming(StrEnum):
    """How the sidecar of `a.jpg` is called. STEM: a.txt. FULL: a.jpg.txt."""

    STEM = "stem"
    FULL = "full"


class Separator(StrEnum):
    """What separates tags in a list: a comma and a space, or a line break."""

    COMMA = "comma"
    NEWLINE = "newline"


_SEPARATORS = {Separator.COMMA: ", ", Separator.NEWLINE: "\n"}

_LINE_BREAK = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Options:
    """Which sidecars are written, and how.

    overwrite: write those that are there anew. append: add the tags that a list lacks.
    Without both a sidecar that is there is kept. has_rating: whether lists of tags end
    with the rating.
    """

    kinds: tuple[Kind, ...] = ()
    naming: Naming = Naming.STEM
    separator: Separator = Separator.COMMA
    overwrite: bool = False
    append: bool = False
    has_rating: bool = True


@dataclass(slots=True)
class Sidecars:
    """Writes sidecars.

    taken: files that the run reads or writes otherwise, by what they are to it, such as
    `the output`. They are there, and no sidecar takes their place.
    """

    options: Options
    spelling: Spelling
    taken: Mapping[str, Path] = field(default_factory=dict)
    _owners: dict[str, str] = field(default_factory=dict)

    def paths(self, image: Path) -> dict[Kind, Path]:
        """Returns where the sidecars of an image are."""
        if self.options.naming is Naming.FULL:
            return {
                kind: image.with_name(f"{image.name}.{kind}")
                for kind in self.options.kinds
            }
        return {kind: image.with_suffix(f".{kind}") for kind in self.options.kinds}

    def problem(self, source: Input) -> str | None:
        """Returns why an input can have no sidecar; None where it can.

        Two images may want the same file, as a.jpg and a.png do: it goes to the first.
        An image called a.txt would be its own.
        """
        if not self.options.kinds:
            return None
        if source.path is None:
            return "no file, so a sidecar has no place"
        for path in self.paths(source.path).values():
            if _is_same(path, source.path):
                return "it would be its own sidecar: use --sidecar-name full"
            for meaning, other in self.taken.items():
                if _is_same(path, other):
                    return f"{path.name} is {meaning} of this run: rename one of them"
            place = os.path.abspath(path)  # noqa: PTH100  # keeps links
            owner = self._owners.setdefault(place, source.name)
            if owner != source.name:
                return f"{path.name} is the sidecar of {owner}: use --sidecar-name full"
        return None

    def is_done(self, source: Input) -> bool:
        """Returns whether all sidecars of an input are there and are to be kept."""
        if source.path is None or self.options.overwrite or self.options.append:
            return not self.options.kinds
        return all(_exists(path) for path in self.paths(source.path).values())

    def write(self, record: Record) -> None:
        """Writes what is missing beside an image.

        Raises SidecarError, and CannotWrite where none can be written any more.
        """
        image = record.source.path
        if image is None:
            return
        for kind, path in self.paths(image).items():
            try:
                self._write_one(kind, path, record)
            except CannotWrite as error:
                if not error.is_of_one_file:
                    raise
                raise SidecarError(
                    f"{path.name} cannot be written: {error.reason}"
                ) from error

    def _write_one(self, kind: Kind, path: Path, record: Record) -> None:
        if kind is Kind.TXT and self.options.append:
            self._append(path, record)
        elif self.options.overwrite or not _exists(path):
            write_whole(path, self._content(kind, record))

    def _content(self, kind: Kind, record: Record) -> bytes:
        if kind is Kind.JSON:
            return records.json_text(record, self.spelling)
        return self._list(self._tags(record))

    def _tags(self, record: Record) -> list[str]:
        has_rating = self.options.has_rating
        return records.tag_list(record, self.spelling, has_rating=has_rating)

    def _list(self, tags: Iterable[str]) -> bytes:
        return f"{_SEPARATORS[self.options.separator].join(tags)}\n".encode()

    def _append(self, path: Path, record: Record) -> None:
        """Adds the tags that a list lacks, however it spells those that it has.

        What is there stays as it is.
        """
        body = _read_list(path)
        if body is None:
            write_whole(path, self._list(self._tags(record)))
            return
        text = body.removeprefix(BOM_UTF8).decode()
        present = split(text)
        added = _lacking(present, record, self._tags(record))
        if added:
            mark = BOM_UTF8 if body.startswith(BOM_UTF8) else b""
            longer = _lengthened(text if present else "", added, self.options.separator)
            write_whole(path, mark + longer.encode())


def _is_same(path: Path, other: Path) -> bool:
    """Returns whether two paths lead to one file, which is there."""
    try:
        return path.samefile(other)
    except OSError:
        return False


def _exists(path: Path) -> bool:
    """Returns whether a file is there; of a name that is too long it is not."""
    return os.path.exists(path)  # noqa: PTH110  # Path.exists raises


def _read_list(path: Path) -> bytes | None:
    """Returns a list of tags, which is UTF-8; None where there is none.

    As bytes: as text it would lose its line breaks and byte order mark.
    """
    try:
        body = path.read_bytes()
        body.decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotWrite(path, error) from error
    except UnicodeDecodeError as error:
        raise NotText(
            f"{path.name} is not text in UTF-8, so no tags are added to it"
        ) from error
    return body


def split(text: str) -> list[str]:
    """Returns the tags of a list that commas or line breaks separate."""
    parts = re.split(r"[,\r\n]", text)
    return [part.strip() for part in parts if part.strip()]


def _lengthened(text: str, added: Iterable[str], separator: Separator) -> str:
    """Returns a list of tags with more at its end, separated as its last ones are.

    separator: of a list that has none, as it holds one tag or nothing.
    """
    breaks = _LINE_BREAK.findall(text)
    line_break = breaks[0] if breaks else "\n"
    there = text.rstrip(", \r\n")  # lists may end with a separator
    lines = _LINE_BREAK.split(there)
    if "," in lines[-1]:
        between = ", " if ", " in lines[-1] else ","
    elif len(lines) > 1 or separator is Separator.NEWLINE:
        between = line_break
    else:
        between = _SEPARATORS[separator]
    tags = [there, *added] if there else added
    return between.join(tags) + line_break


def _lacking(present: Iterable[str], record: Record, wanted: list[str]) -> list[str]:
    """Returns those of the wanted tags that are not present in any spelling.

    wanted: the record's tags as they are written, and perhaps its rating. A list that
    has a rating keeps it.
    """
    there = set(present)
    lacking = []
    for tag, written in zip(record.answer.tags, wanted, strict=False):
        if not there & written_forms(tag.name):
            lacking.append(written)
    has_rating = any(entry.startswith(f"{RATING}:") for entry in there)
    if not has_rating:
        lacking += wanted[len(record.answer.tags) :]
    return lacking
