"""The ledger: every attempt at a picture, with time and outcome. Not an output: without it, questions are repeated."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.schemas import Refusal

FINAL = frozenset({Refusal.NOT_FOUND, Refusal.FORBIDDEN})
"""What the site said no to. All other refusals may turn out better in a later run."""

_TABLES = """
create table if not exists attempts (time real, md5 text, variant text, outcome text, detail text);
create table if not exists settled (md5 text, variant text, outcome text, detail text, primary key (md5, variant));
"""


class Ledger:
    """The ledger of one project. Each note is on disk when the call returns, unless the whole machine fails."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator["Ledger"]:
        """Yields the ledger at `path`, made where it is not there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=normal")
            connection.executescript(_TABLES)
            yield cls(connection)
        finally:
            connection.close()

    def note(self, md5: str, variant: str, outcome: str, detail: str | None = None) -> None:
        """Records one attempt."""
        row = (time.time(), md5, variant, outcome, detail)
        self._connection.execute("insert into attempts values (?, ?, ?, ?, ?)", row)

    def settle(self, md5: str, variant: str, refusal: Refusal, detail: str) -> None:
        """Records that a picture will not be asked for again in this run."""
        row = (md5, variant, refusal.value, detail)
        self._connection.execute("insert or replace into settled values (?, ?, ?, ?)", row)
        self.note(md5, variant, refusal.value, detail)

    def refusals(self) -> dict[tuple[str, str], tuple[Refusal, str]]:
        """Returns refusal and detail by md5 and variant."""
        rows = self._connection.execute("select md5, variant, outcome, detail from settled order by md5, variant")
        return {(md5, variant): (Refusal(outcome), detail) for md5, variant, outcome, detail in rows}

    def reopen(self) -> None:
        """Forgets the refusals that may turn out better, so that a new run asks again."""
        finals = sorted(FINAL)
        marks = ", ".join("?" * len(finals))
        self._connection.execute(f"delete from settled where outcome not in ({marks})", finals)  # noqa: S608
