"""A run that adds embeddings to a file, and goes on after a kill."""

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from e6tag import extras
from e6tag.embeddings import EXTRA, EmbeddingsError, ImageFile, Row, normalised
from e6tag.embeddings.file import (
    arrow_schema,
    open_existing,
    write_errors,
    write_table,
)


class Update:
    """A run that adds to a file of embeddings, or makes it.

    The database beside it keeps what was added: only `publish` changes the file itself.
    One run at a time holds it.
    """

    def __init__(self, path: Path, *, model: str, dimension: int) -> None:
        """Opens the file if it exists; raises EmbeddingsError.

        Also where the file, or unfinished work on it, is of another model.
        """
        extras.load("pyarrow.parquet", extra=EXTRA)
        self.path = path
        self.model = model
        self.dimension = dimension
        self._refused: set[str] = set()
        open_existing(path, model)  # before anything is written
        self._database = _open_partial(partial_path(path), path, model)
        try:
            # Again: until here another run may have published.
            self._old = open_existing(path, model)
            self._ids = self._known_ids()
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._database.close()

    def is_current(self, file: ImageFile) -> bool:
        """Returns whether the file's embedding is there, of the image as it is now."""
        return file.id(self.model) in self._ids

    def add(self, rows: Iterable[Row]) -> None:
        """Keeps embeddings: a run that is killed from now on has them."""
        values = []
        for row in rows:
            file = row.file
            embedding = normalised(row.embedding).astype("<f2").tobytes()
            values.append(
                (file.path, file.size, file.modified, row.width, row.height, embedding)
            )
        with write_errors(self.path), self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO added VALUES (?, ?, ?, ?, ?, ?)", values
            )

    def refuse(self, path: str) -> None:
        """Notes that a file holds no image: a row of what it was before is removed."""
        self._refused.add(path)

    def publish(self, roots: Sequence[Path] = ()) -> int:
        """Writes the file; returns how many rows it has.

        Of images in or below `roots`, rows are removed whose file is no longer there.
        """
        arrow = extras.load("pyarrow", extra=EXTRA)
        schema = arrow_schema(arrow, self.model, self.dimension)
        parts = [self._new_table(arrow, schema)]
        if self._old is not None:
            old = self._old.table()
            replaced = {file.path for file in self._added()}
            stays = [path not in replaced for path in old["path"].to_pylist()]
            parts.append(old.filter(arrow.array(stays, arrow.bool_())).cast(schema))
        table = arrow.concat_tables(parts)
        gone = self._refused | _vanished(table["path"].to_pylist(), roots)
        stays = [path not in gone for path in table["path"].to_pylist()]
        table = table.filter(arrow.array(stays, arrow.bool_())).sort_by("path")
        write_table(table, self.path)
        self._remove_partial()
        return int(table.num_rows)

    def _remove_partial(self) -> None:
        partial = partial_path(self.path)
        try:
            # Before it is closed: a run that starts now must not open it.
            partial.unlink()
            self._database.close()
        except PermissionError:  # of Windows, which removes no open file
            self._database.close()
            partial.unlink()

    def _known_ids(self) -> set[int]:
        """Returns the ids of what the file and the unfinished work hold."""
        ids = {file.id(self.model) for file in self._added()}
        if self._old is not None:
            ids.update(self._old.ids().tolist())
        return ids

    def _added(self) -> Iterator[ImageFile]:
        for values in self._database.execute("SELECT path, size, modified FROM added"):
            yield ImageFile(*values)

    def _new_table(self, arrow: Any, schema: Any) -> Any:
        """Returns what was added as an Arrow table."""
        order = "path, size, modified, width, height, embedding"
        rows = self._database.execute(f"SELECT {order} FROM added").fetchall()  # noqa: S608
        paths, sizes, times, widths, heights, vectors = (
            zip(*rows, strict=True) if rows else [()] * 6
        )
        ids = []
        for path, size, modified, *_ in rows:
            ids.append(ImageFile(path, size, modified).id(self.model))
        flat = arrow.array(np.frombuffer(b"".join(vectors), "<f2"))
        embeddings = arrow.FixedSizeListArray.from_arrays(flat, self.dimension)
        columns = [ids, paths, sizes, times, widths, heights, embeddings]
        arrays = []
        for column, field in zip(columns, schema, strict=True):
            is_ready = column is embeddings
            arrays.append(column if is_ready else arrow.array(column, field.type))
        return arrow.Table.from_arrays(arrays, schema=schema)


def partial_path(path: Path) -> Path:
    """Returns where the unfinished work on a file of embeddings is."""
    return path.with_name(f"{path.name}.partial")


def _open_partial(place: Path, target: Path, model: str) -> sqlite3.Connection:
    """Opens the database of a run, which no other run can open then.

    Raises EmbeddingsError.
    """
    if not target.parent.is_dir():
        raise EmbeddingsError(
            f"{target.parent} is no folder. Make it, or name another."
        )
    try:
        database = sqlite3.connect(place, timeout=0)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("CREATE TABLE IF NOT EXISTS model (identity TEXT)")
            database.execute(
                "CREATE TABLE IF NOT EXISTS added (path TEXT PRIMARY KEY, "
                "size INTEGER, modified INTEGER, width INTEGER, height INTEGER, "
                "embedding BLOB)"
            )
            (found,) = database.execute("SELECT max(identity) FROM model").fetchone()
            if found is None:
                database.execute("INSERT INTO model VALUES (?)", [model])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise _is_busy(target) from error
        raise EmbeddingsError(f"{place} cannot be written: {error}") from error
    except sqlite3.DatabaseError as error:
        raise EmbeddingsError(f"{place} is damaged ({error}). Delete it.") from error
    if not place.exists():  # the run that had it ended since it was opened
        database.close()
        raise _is_busy(target)
    if found not in (None, model):
        database.close()
        raise EmbeddingsError(
            f"{place} holds unfinished embeddings of another model. Delete it, or give "
            "another --output."
        )
    return database


def _is_busy(target: Path) -> EmbeddingsError:
    return EmbeddingsError(
        f"another e6tag embed is writing {target}. Wait until it ends."
    )


def _vanished(paths: Collection[str], roots: Sequence[Path]) -> set[str]:
    """Returns the paths in or below `roots` where no file is."""
    places = [os.path.abspath(root) for root in roots]  # noqa: PTH100
    gone = set()
    for path in paths:
        if not any(is_below(path, place) for place in places):
            continue
        try:
            Path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            gone.add(path)
        except OSError:  # a folder that cannot be read: the file may be there
            continue
    return gone


def is_below(path: str, place: str) -> bool:
    """Returns whether an absolute path is that of a file or folder, or below it."""
    return path == place or path.startswith(place.rstrip(os.sep) + os.sep)
