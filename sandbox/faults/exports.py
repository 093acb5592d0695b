"""Exports that differ from the index or the contract (sections 1.2 to 1.5)."""

import csv
import gzip
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from aiohttp import web

from sandbox.faults.base import honest_body
from sandbox.faults.delivery import Truncated
from sandbox.faults.inflating import inflating_gzip
from sandbox.records import Board
from sandbox.server.exports import COLUMNS, Export, build_exports, stored_gzip
from sandbox.server.serializers import export_rows
from sandbox.server.service import SERVICE, json_response
from sandbox.server.static_routes import file_response

INDEX = "/db_exports.json"

Rows = Iterable[list[str]]


@dataclass(frozen=True, slots=True)
class WrongChecksum:
    """The index always names a checksum that this export's file does not have."""

    export: str = "posts"

    def __post_init__(self) -> None:
        """Raises ValueError for an export that the site does not have."""
        _columns(self.export)

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """The index with one checksum changed."""
        if request.path != INDEX:
            return None
        checksum = hashlib.sha256(b"another file").hexdigest()
        return await _spoiled_index(request, self.export, {"checksum": checksum})


@dataclass(frozen=True, slots=True)
class _Remade:
    """An export with other bytes; index, checksum and file agree on them."""

    def __post_init__(self) -> None:
        """Raises ValueError for an export that the site does not have."""
        _columns(self._name())

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """The file, or the index that tells of it."""
        name = self._name()
        if request.path not in (INDEX, _path(name)):
            return None
        service = request.app[SERVICE]
        exports = await service.exports()
        body = self._remake(exports[name].body)
        checksum = hashlib.sha256(body).hexdigest()
        if request.path == INDEX:
            news = {"checksum": checksum, "file_size": len(body)}
            return await _spoiled_index(request, name, news)
        return file_response(
            request, body, "application/gzip", checksum, service.board.now
        )

    def _name(self) -> str:
        raise NotImplementedError

    def _remake(self, body: bytes) -> bytes:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class MissingColumn(_Remade):
    """An export without one of its columns."""

    column: str
    export: str = "posts"

    def __post_init__(self) -> None:
        """Raises ValueError for an export or a column that the site does not have."""
        columns = _columns(self.export)
        if self.column not in columns:
            raise ValueError(
                f"the export {self.export} has no column {self.column!r}; it has "
                f"{', '.join(columns)}"
            )

    def _name(self) -> str:
        return self.export

    def _remake(self, body: bytes) -> bytes:
        rows = list(_read(body))
        place = rows[0].index(self.column)
        shorter = [row[:place] + row[place + 1 :] for row in rows]
        return _written(shorter)


@dataclass(frozen=True, slots=True)
class ExtraColumns(_Remade):
    """An export with unknown columns before and after the known ones."""

    export: str = "posts"

    def _name(self) -> str:
        return self.export

    def _remake(self, body: bytes) -> bytes:
        header, *rows = _read(body)
        longer = [['a "b",\r\nc', *row, "{1,2}"] for row in rows]
        return _written([["news", *header, "more_news"], *longer])


@dataclass(frozen=True, slots=True)
class DoubledRows(_Remade):
    """An export in which every tenth record is repeated, out of order, at the end."""

    export: str = "posts"

    def _name(self) -> str:
        return self.export

    def _remake(self, body: bytes) -> bytes:
        header, *rows = _read(body)
        return _written([header, *rows, *rows[::10]])


@dataclass(frozen=True, slots=True)
class ExportBomb(_Remade):
    """An export of its header and one record of so many megabytes.

    On the wire it is about a thousandth of them.
    """

    export: str = "posts"
    megabytes: int = 4_096

    def _name(self) -> str:
        return self.export

    def _remake(self, body: bytes) -> bytes:
        header = gzip.decompress(body).split(b"\n", 1)[0]
        return inflating_gzip(header + b"\n1,", b"a", self.megabytes, b"\n")


@dataclass(frozen=True, slots=True)
class Swapped:
    """An export is overwritten while it is fetched.

    The connection breaks after half of the first answer. From then on the file is
    `board`'s. The index and the other exports follow when the index was read
    `index_lag` times more, for the site writes it after the file; None: they never do.
    """

    board: Board  # the same board a day later
    export: str = "posts"
    index_lag: int | None = 0
    _seen: Counter[str] = field(
        default_factory=Counter, init=False, repr=False, compare=False
    )
    _exports: dict[str, Export] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Raises ValueError for an export that the site does not have."""
        _columns(self.export)

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """Half of the old file once; later the new file, and in time the new index."""
        if not self._seen["broken"]:
            if request.path != _path(self.export):
                return None
            self._seen["broken"] += 1
            return await Truncated()(request)
        if request.path == INDEX:
            self._seen["index"] += 1
        lag = self.index_lag
        all_new = lag is not None and self._seen["index"] > lag
        if request.path == INDEX and all_new:
            return self._new_index(request)
        names = self._new_exports() if all_new else [self.export]
        for name in names:
            if request.path == _path(name):
                return self._new_file(request, name)
        return None

    def _new_exports(self) -> dict[str, Export]:
        if not self._exports:
            self._exports.update(build_exports(self.board))
        return self._exports

    def _new_index(self, request: web.Request) -> web.Response:
        static_url = request.app[SERVICE].static_url
        return json_response(export_rows(self._new_exports(), static_url))

    def _new_file(self, request: web.Request, name: str) -> web.Response:
        new = self._new_exports()[name]
        return file_response(
            request, new.body, "application/gzip", new.checksum, new.updated_at
        )


def _columns(export: str) -> list[str]:
    """The columns of an export; raises ValueError for one that there is not."""
    if export not in COLUMNS:
        known = ", ".join(COLUMNS)
        raise ValueError(f"the site has no export {export!r}; it has {known}")
    return COLUMNS[export].split(",")


def _path(export: str) -> str:
    return f"/data/db_export/{export}.csv.gz"


def _read(body: bytes) -> Rows:
    text = gzip.decompress(body).decode()
    return csv.reader(io.StringIO(text, newline=""))


def _written(rows: Rows) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    return stored_gzip(out.getvalue().encode())


async def _spoiled_index(
    request: web.Request, export: str, news: dict[str, object]
) -> web.Response:
    rows = json.loads(await honest_body(request))
    for row in rows:
        if row["name"] == export:
            row.update(news)
    return json_response(rows)
