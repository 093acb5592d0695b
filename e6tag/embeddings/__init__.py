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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from e6tag.bundle import EMBEDDING, Bundle
from e6tag.errors import E6tagError

if TYPE_CHECKING:
    from e6tag.tagger import Tagger

EXTRA = "search"
"""The extra that brings what this package and `index` need."""

Floats = NDArray[np.float32]


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
