"""The ledger: every attempt at an image, with time, outcome and wait.

It is no output: without it, requests are repeated.
"""

import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import progress
from pipeline.download.variants import ImageKey
from pipeline.schemas.reasons import DownloadFailure

FINAL = frozenset({DownloadFailure.NOT_FOUND, DownloadFailure.FORBIDDEN})
"""Failures that the site means for good. All others may succeed in a later run."""

VERSION = 2
"""Version of the tables below; raise it when they change. A ledger of another version
is set aside."""

BATCH = 256
"""Attempts that are written at once: one by one, they cost more than the images' own
files."""

Failures = dict[ImageKey, tuple[DownloadFailure, str]]
"""Reason and detail by md5 and variant."""

_TABLES = """
create table if not exists attempts (
    time real, site text, md5 text, variant text, outcome text, detail text,
    seconds real, wait real
);
create table if not exists settled (
    site text, md5 text, variant text, outcome text, detail text,
    primary key (site, md5, variant)
);
"""


class Ledger:
    """The ledger of one project, about one site. Used from one thread.

    Failures are on disk when the call returns, unless the machine fails; of the
    attempts, which are only a record, a kill may lose the last BATCH.
    """

    def __init__(self, connection: sqlite3.Connection, site: str) -> None:
        self._connection = connection
        self._site = site
        self._unwritten: list[tuple[float | str | None, ...]] = []

    @classmethod
    @contextmanager
    def open(cls, path: Path, site: str) -> Iterator["Ledger"]:
        """Yields the ledger at `path`, created where it is not there.

        One that cannot be used is set aside and reported.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        ledger = cls(_connect_or_replace(path), site)
        try:
            yield ledger
        finally:
            try:
                ledger.flush()
            finally:
                ledger._connection.close()

    @classmethod
    @contextmanager
    def snapshot(cls, path: Path, site: str) -> Iterator["Ledger"]:
        """Yields a copy in memory of the ledger at `path`, which is not saved.

        For a dry run, which must leave no trace. Empty where the ledger is not there or
        cannot be used.
        """
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
            _copy_to_memory(path, memory)
            memory.executescript(_TABLES)
            yield cls(memory, site)

    def record_attempt(
        self,
        key: ImageKey,
        outcome: str,
        detail: str | None,
        *,
        seconds: float,
        wait: float | None = None,
    ) -> None:
        """Records one attempt at an image, by md5 and variant.

        outcome: kept, or a value of DownloadFailure; detail: the status and what else
        was observed; seconds: how long it took, its wait for a permit included; wait:
        the seconds of a pause that the site then requested.
        """
        row = (time.time(), self._site, *key, outcome, detail, seconds, wait)
        self._unwritten.append(row)
        if len(self._unwritten) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Writes the attempts recorded so far."""
        attempts = self._unwritten
        self._unwritten = []
        if attempts:
            self._connection.execute("begin")
            self._connection.executemany(
                "insert into attempts values (?, ?, ?, ?, ?, ?, ?, ?)", attempts
            )
            self._connection.execute("commit")

    def record_failure(
        self, key: ImageKey, failure: DownloadFailure, detail: str
    ) -> None:
        """Records that an image will not be requested again in this run."""
        self.flush()
        row = (self._site, *key, failure.value, detail)
        self._connection.execute(
            "insert or replace into settled values (?, ?, ?, ?, ?)", row
        )

    def forget(self, keys: Iterable[ImageKey]) -> None:
        """Removes failures, so that these images are requested again."""
        rows = [(self._site, md5, variant) for md5, variant in keys]
        self._connection.executemany(
            "delete from settled where site = ? and md5 = ? and variant = ?", rows
        )

    def failures(self) -> Failures:
        """Returns the recorded failures, ordered by md5 and variant."""
        rows = self._connection.execute(
            "select md5, variant, outcome, detail from settled"
            " where site = ? order by md5, variant",
            (self._site,),
        )
        return {
            (md5, variant): (DownloadFailure(outcome), detail)
            for md5, variant, outcome, detail in rows
        }


class _Unusable(Exception):
    """A ledger that is damaged, or of another version."""


def _connect_or_replace(path: Path) -> sqlite3.Connection:
    """Connects to a ledger; sets one aside that cannot be used and creates another."""
    try:
        return _connect(path)
    except _Unusable as error:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        progress.log(
            f"download: {path} cannot be used ({error}): kept as {aside.name}; "
            "some requests are repeated"
        )
        return _connect(path)


def _copy_to_memory(path: Path, memory: sqlite3.Connection) -> None:
    """Copies a ledger, if it is there and can be used.

    It is not opened where it is: after a kill, reading alone makes SQLite write beside
    it.
    """
    with TemporaryDirectory() as folder, suppress(_Unusable):
        copy = Path(folder, path.name)
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        with closing(_connect(copy)) as connection:
            # Memory has no other file to write ahead to.
            connection.execute("pragma journal_mode=delete")
            connection.backup(memory)


def _connect(path: Path) -> sqlite3.Connection:
    """Opens a ledger, created where it is not there; raises _Unusable."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        _check_version(connection)
        connection.execute(f"pragma user_version={VERSION}")
        connection.execute("pragma journal_mode=wal")
        connection.execute("pragma synchronous=normal")
        connection.executescript(_TABLES)
    except sqlite3.OperationalError:  # a full disk or a lock, not damage
        connection.close()
        raise
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _Unusable(str(error)) from error
    return connection


def _check_version(connection: sqlite3.Connection) -> None:
    tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
    version = connection.execute("pragma user_version").fetchone()[0]
    if tables and version != VERSION:
        raise sqlite3.DatabaseError("made by another version of e6tag")
