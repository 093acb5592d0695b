"""Pictures that arrived and wait until their pack is complete.

One growing file per pack, beside its plan.

A record is a line, `<md5> <variant> <post id> <bytes>`, and the bytes. Appending to one
file costs a tenth of what making and removing a file per picture does. Nothing is
flushed to disk: a killed process loses nothing by that, and after a failure of the
machine whoever reads the records must look whether they are whole.
"""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline import files
from pipeline.download.variants import ImageRequest
from pipeline.errors import NoSpace
from pipeline.paths import Paths

_LONGEST_LINE = 100  # bytes


@dataclass(frozen=True, slots=True)
class SpooledImage:
    """One picture that waits, and where its bytes lie."""

    md5: str
    variant: str
    post_id: int
    path: Path
    start: int  # of the bytes, after the line
    size: int

    @property
    def key(self) -> tuple[str, str]:
        """Of the picture."""
        return self.md5, self.variant


class Spool:
    """The folder of the pictures that wait. Safe to use from several threads."""

    def __init__(self, paths: Paths) -> None:
        self.folder = folder(paths)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._files: dict[Path, int] = {}
        self._lock = threading.Lock()

    def append(self, pack: str, one: ImageRequest, body: bytes) -> SpooledImage:
        """Appends a picture to those of its pack.

        All of it or, raising NoSpace, nothing.
        """
        path = self.folder / pack
        line = f"{one.md5} {one.variant} {one.post_id} {len(body)}\n".encode()
        with self._lock:
            file = self._open(path)
            end = os.lseek(file, 0, os.SEEK_END)
            try:
                written = os.writev(file, [line, body])
                while written < len(line) + len(
                    body
                ):  # another try says why it did not fit, or ends it
                    written += os.pwrite(file, (line + body)[written:], end + written)
            except OSError as error:
                os.ftruncate(file, end)
                raise NoSpace(
                    f"{path} cannot be written: {error.strerror}. Every picture that "
                    "arrived before is kept. "
                    "Make room, then run the same command again."
                ) from error
        return SpooledImage(
            one.md5, one.variant, one.post_id, path, end + len(line), len(body)
        )

    def read_image(self, record: SpooledImage) -> bytes:
        """Returns the bytes of a picture; fewer where the file was cut."""
        with self._lock:
            file = self._open(record.path)
        return os.pread(file, record.size, record.start)

    def remove(self, pack: str) -> None:
        """Removes the pictures of a pack."""
        path = self.folder / pack
        with self._lock:
            if (file := self._files.pop(path, None)) is not None:
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
            try:
                self._files[path] = os.open(
                    path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
                )
            except OSError as error:
                raise NoSpace(
                    f"{path} cannot be written: {error.strerror}. Every picture that "
                    "arrived before is kept. "
                    "Make it writable, then run the same command again."
                ) from error
        return self._files[path]


def read_bytes(record: SpooledImage) -> bytes:
    """Returns the bytes of a picture; fewer where the file was cut. Writes nothing."""
    with record.path.open("rb") as file:
        return os.pread(file.fileno(), record.size, record.start)


def folder(paths: Paths) -> Path:
    """Returns where pictures wait."""
    return paths.work("download") / "pictures"


def records(paths: Paths) -> list[SpooledImage]:
    """Returns what waits, by file, then in order of arrival.

    A kill leaves at most the last record of a file cut.
    """
    return [
        record for path in sorted(folder(paths).glob("*")) for record in _records(path)
    ]


def compact(paths: Paths, stays: Callable[[SpooledImage], bool]) -> None:
    """Rewrites the files that end in a cut record, or hold a picture that may not stay."""
    for path in sorted(folder(paths).glob("*")):
        found = list(_records(path))
        staying = [record for record in found if stays(record)]
        end = found[-1].start + found[-1].size if found else 0
        if not staying:
            path.unlink()
        elif len(staying) < len(found) or end < path.stat().st_size:
            with (
                path.open("rb") as file,
                files.open_atomic(path) as temporary,
                temporary.open("wb") as draft,
            ):
                for record in staying:
                    file.seek(record.start)
                    body = file.read(record.size)
                    draft.write(
                        f"{record.md5} {record.variant} {record.post_id} {record.size}\n".encode()
                        + body
                    )


def _records(path: Path) -> Iterator[SpooledImage]:
    size = path.stat().st_size
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            try:
                md5, variant, post_id, length = line.decode().split()
                record = SpooledImage(
                    md5, variant, int(post_id), path, file.tell(), int(length)
                )
            except ValueError:  # not a record: the machine failed while it was written
                return
            if record.start + record.size > size:
                return
            yield record
            file.seek(record.size, os.SEEK_CUR)
