"""Images that arrived and wait until their pack is complete.

There is one growing file per pack, beside the plan. A record is a line,
`<md5> <variant> <post id> <bytes>`, and the bytes. Appending to one file costs a tenth
of making and removing a file per image. Nothing is flushed to disk: a killed process
loses nothing by that, and after a failure of the machine the reader of the records must
verify whether they are whole.
"""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline import files, os_errors
from pipeline.download.variants import ImageKey, ImageRequest
from pipeline.errors import E6tagError, NoSpace
from pipeline.paths import Paths

_MAX_LINE = 100  # bytes


@dataclass(frozen=True, slots=True)
class SpooledImage:
    """One image in the spool, and where its bytes are.

    start: offset of the bytes in the file, after the line; size: their number.
    """

    md5: str
    variant: str
    post_id: int
    path: Path
    start: int
    size: int

    @property
    def key(self) -> ImageKey:
        """md5 and variant."""
        return self.md5, self.variant


class Spool:
    """The folder of the spooled images. Safe to use from several threads."""

    def __init__(self, paths: Paths) -> None:
        self.folder = folder(paths)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._files: dict[Path, int] = {}
        self._lock = threading.Lock()

    def append(self, pack: str, one: ImageRequest, body: bytes) -> SpooledImage:
        """Appends an image to its pack: all of it or, raising E6tagError, nothing."""
        path = self.folder / pack
        line = _header(one.md5, one.variant, one.post_id, len(body))
        with self._lock:
            file = self._open(path)
            end = os.lseek(file, 0, os.SEEK_END)
            try:
                _write_all(file, line, body, end)
            except OSError as error:
                os.ftruncate(file, end)
                raise _write_error(path, error, "Make room") from error
        start = end + len(line)
        return SpooledImage(one.md5, one.variant, one.post_id, path, start, len(body))

    def read_image(self, record: SpooledImage) -> bytes:
        """Returns the bytes of an image; fewer where the file was cut."""
        with self._lock:
            file = self._open(record.path)
        return os.pread(file, record.size, record.start)

    def remove(self, pack: str) -> None:
        """Removes the images of a pack."""
        path = self.folder / pack
        with self._lock:
            file = self._files.pop(path, None)
            if file is not None:
                os.close(file)
        path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the files."""
        with self._lock:
            for file in self._files.values():
                os.close(file)
            self._files.clear()

    def _open(self, path: Path) -> int:
        if path not in self._files:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            try:
                self._files[path] = os.open(path, flags, 0o644)
            except OSError as error:
                raise _write_error(path, error, "Make it writable") from error
        return self._files[path]


def _write_all(file: int, line: bytes, body: bytes, end: int) -> None:
    """Writes a record at the end of a file.

    After a short write, another try completes it or raises the cause.
    """
    record_size = len(line) + len(body)
    written = os.writev(file, [line, body])
    while written < record_size:
        rest = (line + body)[written:]
        written += os.pwrite(file, rest, end + written)


def _write_error(path: Path, error: OSError, advice: str) -> E6tagError:
    """Returns the error to raise; advice: where the disk or its limits are to blame."""
    explained = os_errors.explain(error, path, verb="write")
    if explained is not None and not isinstance(explained, NoSpace):
        return explained
    return NoSpace(
        f"{path} cannot be written: {error.strerror}. Every image that arrived "
        f"before is kept. {advice}, then run the same command again."
    )


def read_bytes(record: SpooledImage) -> bytes:
    """Returns the bytes of an image; fewer where the file was cut. Writes nothing."""
    with record.path.open("rb") as file:
        return os.pread(file.fileno(), record.size, record.start)


def folder(paths: Paths) -> Path:
    """Returns the folder of the spool."""
    return paths.work("download") / "pictures"


def records(paths: Paths) -> list[SpooledImage]:
    """Returns the spooled images, by file, then in order of arrival.

    A kill leaves at most the last record of a file cut, which is left out.
    """
    found: list[SpooledImage] = []
    for path in sorted(folder(paths).glob("*")):
        found += _records(path)
    return found


def compact(paths: Paths, stays: Callable[[SpooledImage], bool]) -> None:
    """Rewrites the files that end in a cut record, or hold an image that must go."""
    for path in sorted(folder(paths).glob("*")):
        found = list(_records(path))
        staying = [record for record in found if stays(record)]
        end = found[-1].start + found[-1].size if found else 0
        if not staying:
            path.unlink()
        elif len(staying) < len(found) or end < path.stat().st_size:
            _rewrite(path, staying)


def _rewrite(path: Path, staying: list[SpooledImage]) -> None:
    with (
        path.open("rb") as file,
        files.open_atomic(path) as temporary,
        temporary.open("wb") as draft,
    ):
        for one in staying:
            file.seek(one.start)
            body = file.read(one.size)
            draft.write(_header(one.md5, one.variant, one.post_id, one.size))
            draft.write(body)


def _header(md5: str, variant: str, post_id: int, size: int) -> bytes:
    return f"{md5} {variant} {post_id} {size}\n".encode()


def _records(path: Path) -> Iterator[SpooledImage]:
    total = path.stat().st_size
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE):
            record = _parsed(line, path, file.tell())
            if record is None or record.start + record.size > total:
                return
            yield record
            file.seek(record.size, os.SEEK_CUR)


def _parsed(line: bytes, path: Path, start: int) -> SpooledImage | None:
    """Returns a record; None where the machine failed while its line was written."""
    try:
        md5, variant, post_id, size = line.decode().split()
        return SpooledImage(md5, variant, int(post_id), path, start, int(size))
    except ValueError:
        return None
