"""The ledger: every attempt at a picture, with time, outcome and wait.

Not an output: without it, questions are repeated.
"""

import shutil
import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline import progress
from pipeline.schemas.reasons import DownloadFailure

FINAL = frozenset({DownloadFailure.NOT_FOUND, DownloadFailure.FORBIDDEN})
"""What the site said no to. All other refusals may turn out better in a later run."""

VERSION = 2
"""Version of the tables below; raise it when they change.

A ledger of another version is set aside.
"""

# Attempts that are written at once: one by one, they cost more than the pictures' own
# files
BATCH = 256

_TABLES = """
create table if not exists attempts (
    time real, site text, md5 text, variant text, outcome text, detail text, seconds real, wait real
);
create table if not exists settled (
    site text, md5 text, variant text, outcome text, detail text, primary key (site, md5, variant)
);
"""


class Ledger:
    """The ledger of one project, about one site. Used from one thread.

    What is settled is on disk when the call returns, unless the machine fails; of the
    attempts, which only tell the tale, a kill may lose the last BATCH.
    """

    def __init__(self, connection: sqlite3.Connection, site: str) -> None:
        self._connection, self._site = connection, site
        self._noted: list[tuple[float | str | None, ...]] = []

    @classmethod
    @contextmanager
    def open(cls, path: Path, site: str) -> Iterator["Ledger"]:
        """Yields the ledger at `path`, made where it is not there.

        One that cannot be used is set aside and named.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = _connected(path)
        except _Unusable as error:
            aside = path.with_name(f"{path.name}.damaged")
            path.replace(aside)
            progress.log(
                f"download: {path} cannot be used ({error}): kept as {aside.name}; "
                "some questions are asked again"
            )
            connection = _connected(path)
        ledger = cls(connection, site)
        try:
            yield ledger
        finally:
            try:
                ledger.flush()
            finally:
                connection.close()

    @classmethod
    @contextmanager
    def snapshot(cls, path: Path, site: str) -> Iterator["Ledger"]:
        """Yields a ledger of its own with what the one at `path` holds, for who must leave no trace: it is not kept.

        Empty where that one is not there or cannot be used.
        """
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
            # Not opened where it lies: after a kill, reading alone makes SQLite write
            # beside it.
            with TemporaryDirectory() as folder, suppress(_Unusable):
                copy = Path(folder, path.name)
                for suffix in ("", "-wal"):
                    with suppress(FileNotFoundError):
                        shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
                with closing(_connected(copy)) as connection:
                    connection.execute(
                        "pragma journal_mode=delete"
                    )  # memory has no other file to write ahead to
                    connection.backup(memory)
            memory.executescript(_TABLES)
            yield cls(memory, site)

    def record_attempt(
        self,
        key: tuple[str, str],
        outcome: str,
        detail: str | None,
        *,
        seconds: float,
        wait: float | None = None,
    ) -> None:
        """Records one attempt at a picture, by md5 and variant.

        outcome: kept, or a value of Refusal; detail: the status and what else was seen;
        seconds: how long it took, its turn in line included; wait: the seconds that the
        site then asked for.
        """
        self._noted.append(
            (time.time(), self._site, *key, outcome, detail, seconds, wait)
        )
        if len(self._noted) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Writes the attempts noted so far."""
        noted, self._noted = self._noted, []
        if noted:
            self._connection.execute("begin")
            self._connection.executemany(
                "insert into attempts values (?, ?, ?, ?, ?, ?, ?, ?)", noted
            )
            self._connection.execute("commit")

    def record_failure(
        self, key: tuple[str, str], refusal: DownloadFailure, detail: str
    ) -> None:
        """Records that a picture, by md5 and variant, will not be asked for again in this run."""
        self.flush()
        row = (self._site, *key, refusal.value, detail)
        self._connection.execute(
            "insert or replace into settled values (?, ?, ?, ?, ?)", row
        )

    def forget(self, keys: list[tuple[str, str]]) -> None:
        """Takes refusals back, by md5 and variant.

        It was the site that failed, not these pictures.
        """
        rows = [(self._site, md5, variant) for md5, variant in keys]
        self._connection.executemany(
            "delete from settled where site = ? and md5 = ? and variant = ?", rows
        )

    def refusals(self) -> dict[tuple[str, str], tuple[DownloadFailure, str]]:
        """Returns refusal and detail by md5 and variant."""
        rows = self._connection.execute(
            "select md5, variant, outcome, detail from settled where site = ? order "
            "by md5, variant",
            (self._site,),
        )
        return {
            (md5, variant): (DownloadFailure(outcome), detail)
            for md5, variant, outcome, detail in rows
        }

    def retry_transient(self, *, but: Collection[tuple[str, str]] = ()) -> None:
        """Forgets the refusals that may turn out better, so that they are asked again.

        but: md5 and variant of some.
        """
        self.forget(
            [
                key
                for key, (refusal, _) in self.refusals().items()
                if refusal not in FINAL and key not in but
            ]
        )


class _Unusable(Exception):
    """A ledger that is damaged, or of another version."""


def _connected(path: Path) -> sqlite3.Connection:
    """Opens a ledger, made where it is not there; raises _Unusable."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        _refuse_other_version(connection)
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


def _refuse_other_version(connection: sqlite3.Connection) -> None:
    is_new = connection.execute("select count(*) from sqlite_master").fetchone()[0] == 0
    if (
        not is_new
        and connection.execute("pragma user_version").fetchone()[0] != VERSION
    ):
        raise sqlite3.DatabaseError("made by another version of e6tag")
