"""The images that a command is given: files, folders, patterns, standard input, URLs.

The only place where commands find and read images. What cannot be read is no exception
of the whole run: it goes on as an input with a problem, in its place in the order.
"""

import fnmatch
import glob
import os
import re
import stat
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from e6tag.errors import E6tagError
from e6tag.files import reason
from e6tag.streams import standard_input

if TYPE_CHECKING:
    import urllib.request

    from e6tag.stills import Prepared

_T = TypeVar("_T")

STANDARD_INPUT = "-"
"""As a path: the bytes of one image. As a list of paths: one a line."""

SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".jxl",
        ".png",
        ".tif",
        ".tiff",
        ".webp",
    }
)
"""Ends of the names of images, by which they are found in folders. Of formats that are
not read too: it must not look as if those were tagged."""

MAX_BYTES = 256 << 20
"""A larger file is refused before it is read; the largest on the site have 100 MB."""

URL_TIMEOUT = 30.0  # seconds without a byte

_URL = re.compile("https?://", re.IGNORECASE)


class NoList(E6tagError):
    """The list of paths cannot be read."""


class NoImages(E6tagError):
    """What was named holds no images."""

    def __init__(self, named: str) -> None:
        """named: what was named, as the user typed it."""
        super().__init__(
            f"no images in {named}: no file there is named as images are, such as "
            ".jpg or .png"
        )


class Unreadable(ValueError):
    """An image that cannot be read. Its message says why, for the user."""


@dataclass(frozen=True, slots=True)
class Input:
    """An image, or what was meant to be one.

    name: the path as it was given or found, a URL, or STANDARD_INPUT: what answers call
    it. path: of its file; None where it is none. problem: why it cannot be read, where
    that is known before it is opened.
    """

    name: str
    path: Path | None = None
    problem: str | None = None

    @property
    def place(self) -> str:
        """Which image it is, whatever the current folder and however it was named.

        The absolute path of its file, with links as they were named; else the name.
        """
        if self.path is None:
            return self.name
        return os.path.abspath(self.path)  # noqa: PTH100  # keeps links


@dataclass(frozen=True, slots=True)
class Finder:
    """How inputs are found.

    is_recursive: whether folders in folders are searched. allows_urls: whether the
    network may be used. url_problem: what is said of URLs where it may not.
    stdin_problem: what is said of STANDARD_INPUT where it holds no image.
    """

    is_recursive: bool = True
    allows_urls: bool = False
    url_problem: str = "a URL: needs --allow-urls"
    stdin_problem: str | None = None

    def find(self, arguments: Iterable[str]) -> Iterator[Input]:
        """Yields the inputs that the arguments name, each once.

        Arguments are in their order; what is found in a folder or by a pattern is in
        the order of names. In folders, names that start with a dot and links to folders
        are passed over, and so are files whose names do not end as those of images do,
        and what is no file, such as pipes.
        """
        seen = set()
        for argument in arguments:
            for found in self._find_one(argument):
                if found.place not in seen:
                    seen.add(found.place)
                    yield found

    def _find_one(self, argument: str) -> Iterator[Input]:
        if argument == STANDARD_INPUT:
            yield Input(argument, problem=self.stdin_problem)
        elif _URL.match(argument):
            problem = None if self.allows_urls else self.url_problem
            yield Input(argument, problem=problem)
        elif not argument:
            # As of a variable of the shell that is not set; Path takes it for `.`.
            yield Input(argument, problem="an empty name")
        else:
            yield from self._find_path(argument)

    def _find_path(self, argument: str) -> Iterator[Input]:
        path = Path(argument)
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except OSError as error:
            # A name may hold brackets, so a pattern is what is no name.
            if glob.has_magic(argument):
                yield from self._match(argument)
            else:
                yield Input(argument, problem=reason(error))
            return
        except ValueError:
            yield Input(argument, problem="no name of a file")
            return
        if is_folder:
            yield from self._walk(path)
        else:
            yield Input(argument, path)

    def _match(self, pattern: str) -> Iterator[Input]:
        path = Path(pattern)
        if any("**" in part and part != "**" for part in path.parts):
            misuse = "no valid pattern: ** stands alone, as in pics/**/*.png"
            yield Input(pattern, problem=misuse)
            return
        matches = sorted(_expand(Path(), path.parts), key=lambda match: match[0])
        is_empty = True
        for found, problem in matches:
            is_empty = False
            if problem is not None:
                yield Input(str(found), problem=problem)
            elif _is_folder(found):
                yield from self._walk(found)
            elif found.suffix.lower() in SUFFIXES:
                yield from _linked(found)
        if is_empty:
            yield Input(pattern, problem="no such file, and no file matches it")

    def _walk(self, folder: Path) -> Iterator[Input]:
        try:
            with os.scandir(folder) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            yield Input(str(folder), problem=reason(error))
            return
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if self.is_recursive:
                    yield from self._walk(path)
            elif path.suffix.lower() not in SUFFIXES:
                continue
            elif entry.is_file(follow_symlinks=False):
                yield Input(str(path), path)
            else:
                yield from _linked(path)


def _linked(path: Path) -> Iterator[Input]:
    """Yields what may be a link, if it leads to a file, or why it leads nowhere.

    Nothing where it leads to a folder, or to a pipe, whose bytes may never come.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        yield Input(str(path), problem=reason(error))
        return
    if stat.S_ISREG(mode):
        yield Input(str(path), path)


def _is_folder(path: Path) -> bool:
    """Returns whether there is a folder, and no link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def is_place(text: str) -> bool:
    """Returns whether a text may be the place of an Input."""
    is_elsewhere = text == STANDARD_INPUT or _URL.match(text) is not None
    return is_elsewhere or os.path.isabs(text)  # noqa: PTH117  # may hold anything


def may_begin_place(text: str) -> bool:
    """Returns whether a text may be the start of a place: of a path, a URL, or `-`."""
    is_of_url = any(start.startswith(text.lower()) for start in ("http://", "https://"))
    return is_of_url or is_place(text)


def _expand(folder: Path, parts: tuple[str, ...]) -> Iterator[tuple[Path, str | None]]:
    """Yields what matches the parts of a pattern, and folders that cannot be read.

    The latter with the reason, which Path.glob keeps to itself. A wildcard stands for
    no dot at the start of a name, `**` for any number of folders, and no links.
    """
    if not parts:
        yield folder, None
        return
    part, rest = parts[0], parts[1:]
    if not glob.has_magic(part):
        if os.path.lexists(folder / part):
            yield from _expand(folder / part, rest)
        return
    if part == "**":
        yield from _expand(folder, rest)
    try:
        names = _names_that_match(folder, part)
    except OSError as error:
        yield folder, reason(error)
        return
    for name in names:
        path = folder / name
        if part != "**":
            yield from _expand(path, rest)
        elif _is_folder(path):
            yield from _expand(path, parts)


def _names_that_match(folder: Path, part: str) -> list[str]:
    """Returns the names in a folder that one part of a pattern stands for.

    Raises OSError; of what is no folder there are none.
    """
    try:
        names = [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    if not part.startswith("."):
        names = [name for name in names if not name.startswith(".")]
    return fnmatch.filter(names, part)


def read_list(name: str) -> Iterator[str]:
    """Yields the lines of a file, or of standard input for STANDARD_INPUT.

    Empty lines are passed over. Raises NoList.
    """
    try:
        if name == STANDARD_INPUT:
            yield from _lines(standard_input())
            return
        with Path(name).open("rb") as file:
            yield from _lines(file)
    except OSError as error:
        raise NoList(f"the list {name} cannot be read: {reason(error)}") from error


def _lines(file: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(file):
        # Editors of Windows begin a file with a mark that is part of no name.
        written = line.removeprefix(BOM_UTF8) if number == 0 else line
        name = os.fsdecode(written.rstrip(b"\r\n"))
        if name:
            yield name


def read(source: Input) -> bytes:
    """Returns the bytes of an input; raises Unreadable."""
    if source.problem is not None:
        raise Unreadable(source.problem)
    if source.path is not None:
        return _read_file(source.path)
    if source.name == STANDARD_INPUT:
        return _read_standard_input()
    return _fetch(source.name)


def _read_standard_input() -> bytes:
    try:
        return _read_stream(standard_input())
    except OSError as error:
        raise Unreadable(reason(error)) from error


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return _read_stream(file)
            _check_size(status.st_size)
            return file.read()
    except OSError as error:
        raise Unreadable(reason(error)) from error


def _read_stream(stream: BinaryIO) -> bytes:
    body = stream.read(MAX_BYTES + 1)
    _check_size(len(body))
    return body


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise Unreadable(f"a file of more than {MAX_BYTES >> 20} MiB")


def _fetch(url: str) -> bytes:
    """Returns what is at an address of the web; raises Unreadable."""
    import http.client
    import urllib.error
    import urllib.request
    from importlib.metadata import version

    agent = f"e6tag/{version('e6tag')}"
    opener = urllib.request.build_opener(_web_only())
    try:
        request = urllib.request.Request(url, headers={"User-Agent": agent})  # noqa: S310
        with opener.open(request, timeout=URL_TIMEOUT) as response:
            return _read_stream(response)
    except urllib.error.HTTPError as error:
        raise Unreadable(f"the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise Unreadable(f"cannot be fetched: {error.reason}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unreadable(f"cannot be fetched: {error}") from error


def _web_only() -> "urllib.request.HTTPRedirectHandler":
    """Returns a handler that follows redirects to the web alone, and not to FTP."""
    import urllib.request

    class WebOnly(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *arguments: Any) -> Any:
            if not _URL.match(arguments[-1]):
                raise Unreadable("redirected away from the web")
            return super().redirect_request(*arguments)

    return WebOnly()


def decode(source: Input, prepare: Callable[[bytes], _T]) -> "Prepared[_T]":
    """Reads an input and returns what `prepare` makes of it; raises Unreadable.

    prepare: raises Undecodable, such as Tagger.prepare. Of an animation it gets the
    first frame.
    """
    from e6tag import stills
    from e6tag.image_files.damage import Undecodable

    body = read(source)
    try:
        return stills.prepare(body, prepare)
    except (Undecodable, stills.NotRead) as error:
        raise Unreadable(str(error)) from error
    except MemoryError as error:
        raise Unreadable("not enough memory to decode it") from error
