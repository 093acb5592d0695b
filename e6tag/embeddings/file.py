"""The Parquet file of embeddings: read, checked, written whole."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e6tag import extras, files
from e6tag.embeddings import EXTRA, EmbeddingsError

VERSION = 1
"""The version of the format that this code reads and writes."""

COLUMNS = ("id", "path", "size", "modified", "width", "height", "embedding")

_VERSION_KEY = b"e6tag.embeddings_version"
_MODEL_KEY = b"e6tag.model"

_ROW_GROUP = 16_384
"""Rows of a row group: 8 MB of embeddings at D of 256."""

Half = NDArray[np.float16]
Ids = NDArray[np.int64]


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


def open_existing(path: Path, model: str) -> EmbeddingsFile | None:
    """Opens a file of embeddings if there is one; raises EmbeddingsError."""
    if not path.exists():
        return None
    opened = EmbeddingsFile(path)
    opened.require_model(model)
    return opened


def _one_line(error: BaseException) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return reason.splitlines()[0] if reason else type(error).__name__


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turns a failure to write a file of embeddings into EmbeddingsError."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        reason = _one_line(error)
        raise EmbeddingsError(
            f"{path} cannot be written: {reason}. What was computed before is kept: "
            "fix it, then run the same command again."
        ) from error


def write_table(table: Any, path: Path) -> None:
    """Writes a table as a whole: a reader sees the old file or the new one."""
    parquet = extras.load("pyarrow.parquet", extra=EXTRA)
    with write_errors(path), files.replacing(path) as temporary:
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


def arrow_schema(arrow: Any, model: str, dimension: int) -> Any:
    """Returns the columns and the metadata of a file. arrow: the module pyarrow."""
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
