"""Similar images, of a file of embeddings that the server was started with."""

import asyncio
from bisect import bisect_left
from pathlib import Path
from typing import Any

from e6tag.bundle import Bundle
from e6tag.embeddings import model_identity
from e6tag.embeddings.file import EmbeddingsFile
from e6tag.index import Neighbour, SimilarImages
from e6tag.records import DIGITS
from e6tag.tagger import Floats

THUMBNAIL_PIXELS = 192
"""A side of the square: 96 pixels of the page on a screen of double density."""


class Neighbours:
    """Finds the images that are most similar, and reads them for their thumbnails."""

    def __init__(self, path: Path, bundle: Bundle) -> None:
        """Opens a file of embeddings and its index; raises EmbeddingsError.

        Also for a file of another model than the bundle's.
        """
        file = EmbeddingsFile(path)
        file.require_model(model_identity(bundle))
        self._images = SimilarImages(file)
        self._images.open_index()

    async def find(self, embedding: Floats, count: int) -> list[dict[str, Any]]:
        """Returns the most similar images as the API's JSON. embedding: [D]."""
        found = await asyncio.to_thread(self._images.nearest, embedding, count)
        return [self._describe(neighbour) for neighbour in found]

    def _describe(self, neighbour: Neighbour) -> dict[str, Any]:
        # In their order, as the file has them.
        number = bisect_left(self._images.paths, neighbour.path)
        # Of float16 embeddings it may be a little above 1.
        similarity = min(1.0, max(-1.0, neighbour.similarity))
        return {
            "path": neighbour.path,
            "similarity": round(similarity, DIGITS),
            "width": neighbour.width,
            "height": neighbour.height,
            "thumbnail": f"/v1/thumbnails/{number}",
        }

    async def read(self, number: int, max_bytes: int) -> bytes | None:
        """Returns an image file by its number; None where it cannot be had."""
        if number >= len(self._images.paths):
            return None
        path = Path(self._images.paths[number])
        return await asyncio.to_thread(_read, path, max_bytes)


def _read(path: Path, max_bytes: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            body = file.read(max_bytes + 1)
    except OSError:
        return None
    return body if len(body) <= max_bytes else None
