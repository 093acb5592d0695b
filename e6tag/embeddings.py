"""Embeddings of images in a Parquet file that any data tool reads.

A row per image, ordered by path:

    id         int64: of the model, the path, the size and the time; a changed image has
               another one
    path       string: absolute
    size       int64: bytes
    modified   int64: nanoseconds since 1970 (UTC)
    width      int32: pixels of the upright image
    height     int32
    embedding  fixed_size_list<float16>[D]: of length 1, so that the similarity of two
               images is the dot product of their embeddings

The file's metadata name the version of this format and the model; embeddings of
different models cannot be compared.

What a run has computed is in `<file>.partial`, a SQLite database, until the run ends:
the Parquet file is replaced as a whole, and a run that was killed goes on.
"""

import hashlib
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from e6tag import extras, files
from e6tag.bundle import EMBEDDING, Bundle
from e6tag.errors import E6tagError

if TYPE_CHECKING:
    from e6tag.tagger import Tagger

VERSION = 1
"""The version of the format that this code reads and writes."""

EXTRA = "search"
"""The extra that brings what this module and `index` need."""

COLUMNS = ("id", "path", "size", "modified", "width", "height", "embedding")

_VERSION_KEY = b"e6tag.embeddings_version"
_MODEL_KEY = b"e6tag.model"

_ROW_GROUP = 16_384
"""Rows of a row group: 8 MB of embeddings at D of 256."""

Half = NDArray[np.float16]
Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


class EmbeddingsError(E6tagError):
    """A file of embeddings that cannot be read, written or used with this model."""


class BadName(ValueError):
    """The name of a file that a Parquet file cannot hold."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image as the file system knows it. modified: nanoseconds since 1970."""

    path: str
    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Looks at a file; raises OSError, and BadName for a name not in UTF-8."""
        absolute = os.path.abspath(path)  # noqa: PTH100  # keeps links, unlike resolve
        try:
            absolute.encode()
        except UnicodeEncodeError as error:
            raise BadName("its name is not in UTF-8") from error
        status = path.stat()
        return cls(absolute, status.st_size, status.st_mtime_ns)

    def id(self, model: str) -> int:
        """Returns the id of its row, 0 to 2^63 - 1."""
        text = f"{model}\0{self.path}\0{self.size}\0{self.modified}"
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return int.from_bytes(digest) >> 1


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of an image. embedding: [D], of any length but 0."""

    file: ImageFile
    width: int
    height: int
    embedding: Floats


def model_identity(bundle: Bundle) -> str:
    """Returns the model of a bundle as 64 hex digits: the network, and how it sees.

    Bundles with other tags but the same network and fit give the same embeddings only
    if their model.onnx is the same to the byte.
    """
    content = hashlib.sha256(bundle.model.read_bytes())
    content.update(bundle.fit.encode())
    return content.hexdigest()


def embedding_size(tagger: "Tagger") -> int:
    """Returns D of a model; raises EmbeddingsError where it does not say."""
    for output in tagger.session.get_outputs():
        if output.name == EMBEDDING and isinstance(output.shape[-1], int):
            return output.shape[-1]
    raise EmbeddingsError(
        f"{tagger.bundle.model} has no output {EMBEDDING} of one size"
    )


def normalised(embeddings: NDArray[Any]) -> Floats:
    """Returns embeddings [n, D] or [D] with length 1; those of length 0 stay zero."""
    values = embeddings.astype(np.float32)
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    smallest = np.finfo(np.float32).tiny
    return np.asarray(values / np.maximum(lengths, smallest), dtype=np.float32)


class EmbeddingsFile:
    """A file of embeddings that was opened and checked.

    path: of the file. model: as `model_identity` returns it. dimension: D.
    """

    def __init__(self, path: Path) -> None:
        """Opens a file; raises EmbeddingsError."""
        self.path = path
        self._arrow = extras.load("pyarrow", extra=EXTRA)
        self._parquet = extras.load("pyarrow.parquet", extra=EXTRA)
        try:
            schema = self._parquet.read_schema(path)
        except FileNotFoundError as error:
            raise EmbeddingsError(
                f"{path} does not exist. Make it: e6tag embed FOLDER --output {path}"
            ) from error
        except (OSError, self._arrow.ArrowException) as error:
            raise EmbeddingsError(
                f"{path} cannot be read: {_one_line(error)}"
            ) from error
        metadata = schema.metadata or {}
        self.model, self.dimension = _checked(path, schema, metadata)

    def require_model(self, model: str) -> None:
        """Raises EmbeddingsError where the file is of another model."""
        if self.model != model:
            raise EmbeddingsError(
                f"{self.path} holds embeddings of another model ({self.model[:12]}, "
                f"not {model[:12]}). Give the bundle that it was made with, or make "
                "another file: e6tag embed FOLDER --output OTHER.parquet"
            )

    def ids(self) -> Ids:
        """Returns the id of every row, int64 [n]."""
        return self._column("id").to_numpy().astype(np.int64)

    def paths(self) -> list[str]:
        """Returns the path of every row."""
        return self._column("path").to_pylist()

    def sizes(self) -> NDArray[np.int32]:
        """Returns width and height of every row, int32 [n, 2]."""
        columns = [self._column(name).to_numpy() for name in ("width", "height")]
        return np.stack(columns, axis=1).astype(np.int32)

    def embeddings(self) -> Half:
        """Returns the embedding of every row, float16 [n, D]."""
        column = self._column("embedding").combine_chunks()
        return column.flatten().to_numpy().reshape(-1, self.dimension)

    def table(self) -> Any:
        """Returns all columns as an Arrow table."""
        return self._read(list(COLUMNS))

    def _column(self, name: str) -> Any:
        return self._read([name]).column(0)

    def _read(self, columns: list[str]) -> Any:
        try:
            return self._parquet.read_table(self.path, columns=columns)
        except (OSError, self._arrow.ArrowException) as error:
            message = f"{self.path} cannot be read: {_one_line(error)}"
            raise EmbeddingsError(message) from error


def _checked(path: Path, schema: Any, metadata: dict[bytes, bytes]) -> tuple[str, int]:
    """Returns model and dimension of a file; raises EmbeddingsError."""
    version = metadata.get(_VERSION_KEY, b"").decode()
    if not version:
        raise EmbeddingsError(f"{path} is not a file that e6tag embed wrote")
    if version != str(VERSION):
        raise EmbeddingsError(
            f"{path} is of version {version} of the format, this e6tag reads "
            f"{VERSION}. Make another: e6tag embed FOLDER --output OTHER.parquet"
        )
    model = metadata.get(_MODEL_KEY, b"").decode()
    if tuple(schema.names) != COLUMNS or not model:
        raise EmbeddingsError(
            f"{path} lacks columns or metadata of a file of e6tag embed"
        )
    return model, schema.field("embedding").type.list_size


def _one_line(error: BaseException) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return reason.splitlines()[0] if reason else type(error).__name__


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
        _open_existing(path, model)  # before anything is written
        self._database = _open_partial(partial_path(path), path, model)
        try:
            # Again: until here another run may have published.
            self._old = _open_existing(path, model)
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
        with _writing(self.path), self._database:
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
        schema = _schema(arrow, self.model, self.dimension)
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
        _write_parquet(table, self.path)
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


def _open_existing(path: Path, model: str) -> EmbeddingsFile | None:
    """Opens a file of embeddings if there is one; raises EmbeddingsError."""
    if not path.exists():
        return None
    opened = EmbeddingsFile(path)
    opened.require_model(model)
    return opened


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


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns a failure to write a file of embeddings into EmbeddingsError."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        reason = _one_line(error)
        raise EmbeddingsError(
            f"{path} cannot be written: {reason}. What was computed before is kept: "
            "fix it, then run the same command again."
        ) from error


def _write_parquet(table: Any, path: Path) -> None:
    """Writes a table as a whole: a reader sees the old file or the new one."""
    parquet = extras.load("pyarrow.parquet", extra=EXTRA)
    with _writing(path), files.replacing(path) as temporary:
        # A sixth smaller than uncompressed, for no more time.
        parquet.write_table(
            table,
            temporary,
            row_group_size=_ROW_GROUP,
            compression="zstd",
            use_dictionary=False,
        )
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


def _schema(arrow: Any, model: str, dimension: int) -> Any:
    fields = [
        ("id", arrow.int64()),
        ("path", arrow.string()),
        ("size", arrow.int64()),
        ("modified", arrow.int64()),
        ("width", arrow.int32()),
        ("height", arrow.int32()),
        ("embedding", arrow.list_(arrow.float16(), dimension)),
    ]
    metadata = {_VERSION_KEY: str(VERSION), _MODEL_KEY: model}
    return arrow.schema(fields, metadata=metadata)


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
