"""The images of a request: multi-part or raw, bounded in bytes, number and time.

They are held in memory: aiohttp's own `request.post` would write them to disk.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from aiohttp import BodyPartReader, ClientPayloadError, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from e6tag.serve.limits import MEBIBYTE, Limits
from e6tag.serve.refusals import Code, Refusal

MULTIPART = "multipart/form-data"
RAW = (
    "application/octet-stream",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
)
"""Content types of a request whose body is one image. The bytes decide what it is."""

FIELD = "image"
"""The name of the fields of a multi-part request."""

FORM_ERRORS = (
    ValueError,
    AssertionError,
    RuntimeError,
    LookupError,
    HttpProcessingError,
)
"""What aiohttp raises on forms that make no sense."""

CHUNK = 1 << 16
"""Bytes read at once."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An image file. name: what the client calls it, where it does."""

    name: str | None
    body: bytes


class Buffer:
    """Counts the bytes of all uploads that are held, and refuses too many."""

    def __init__(self, most: int) -> None:
        self.most = most
        """Bytes."""
        self._held = 0

    def take(self, count: int) -> None:
        """Counts bytes that arrived; raises Refusal."""
        if self._held + count > self.most:
            raise Refusal(Code.BUSY, "Too many uploads are waiting. Try again later.")
        self._held += count

    def give_back(self, count: int) -> None:
        """Counts bytes that are no longer held."""
        self._held -= count


class Uploads:
    """The images of one request; a context that counts what they hold."""

    def __init__(self, request: web.Request, limits: Limits, buffer: Buffer) -> None:
        self._request = request
        self._limits = limits
        self._buffer = buffer
        self._held = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._buffer.give_back(self._held)
        self._held = 0

    async def read(self) -> list[Upload]:
        """Returns the images, at least one; raises Refusal."""
        try:
            async with asyncio.timeout(self._limits.upload_seconds):
                uploads = await self._read()
        except TimeoutError as error:
            raise Refusal(
                Code.UPLOAD_TOOK_TOO_LONG,
                "The request did not arrive within "
                f"{self._limits.upload_seconds:g} seconds.",
            ) from error
        except (ClientPayloadError, web.RequestPayloadError) as error:
            raise Refusal(Code.BAD_REQUEST, "The body cannot be read.") from error
        if not uploads:
            raise Refusal(Code.NO_IMAGE, f"The request has no field named {FIELD}.")
        return uploads

    async def read_one(self) -> Upload:
        """Returns the only image; raises Refusal also where there are more."""
        uploads = await self.read()
        if len(uploads) > 1:
            raise Refusal(Code.TOO_MANY_IMAGES, "This path takes one image.")
        return uploads[0]

    async def _read(self) -> list[Upload]:
        self._check_encoding()
        content_type = self._request.content_type
        if content_type == MULTIPART:
            return [upload async for upload in self._parts()]
        if content_type in RAW:
            body = await self._collect(self._request.content.read)
            return [Upload(None, body)]
        raise Refusal(
            Code.UNSUPPORTED_MEDIA_TYPE,
            f"The content type must be {MULTIPART} or one of {', '.join(RAW)}.",
        )

    def _check_encoding(self) -> None:
        """Raises Refusal for a body that is compressed as a whole.

        Images are compressed already, and what a body holds is not known before it is
        unpacked.
        """
        for encoding in self._request.headers.getall(hdrs.CONTENT_ENCODING, []):
            if encoding.strip().lower() != "identity":
                raise Refusal(
                    Code.UNSUPPORTED_MEDIA_TYPE,
                    "The body must not be compressed: leave out Content-Encoding.",
                )

    async def _parts(self) -> AsyncIterator[Upload]:
        """Yields the fields; raises Refusal for what is no form of images."""
        count = 0
        try:
            async for part in await self._request.multipart():
                if not isinstance(part, BodyPartReader) or part.name != FIELD:
                    raise Refusal(
                        Code.BAD_REQUEST, f"All fields must be named {FIELD}."
                    )
                count += 1
                if count > self._limits.max_images:
                    raise Refusal(
                        Code.TOO_MANY_IMAGES,
                        f"A request has at most {self._limits.max_images} images.",
                    )
                body = await self._collect(part.read_chunk)
                yield Upload(_printable(part.filename), body)
        except FORM_ERRORS as error:
            raise Refusal(Code.BAD_REQUEST, "The body is no valid form.") from error

    async def _collect(self, read: Callable[[int], Awaitable[bytes]]) -> bytes:
        body = bytearray()
        while chunk := await read(CHUNK):
            self._take(len(chunk))
            body += chunk
            if len(body) > self._limits.max_bytes:
                raise Refusal(
                    Code.TOO_MANY_BYTES,
                    f"An image has at most {self._limits.max_bytes / MEBIBYTE:g} MiB.",
                )
        return bytes(body)

    def _take(self, count: int) -> None:
        """Counts bytes that arrived; raises Refusal."""
        if self._held + count > self._buffer.most:  # it never fits
            raise Refusal(
                Code.TOO_MANY_BYTES,
                "The images of a request have at most "
                f"{self._buffer.most / MEBIBYTE:g} MiB together.",
            )
        self._buffer.take(count)
        self._held += count


def _printable(name: str | None) -> str | None:
    """Returns a name of a file without what is no text, such as half a character."""
    if name is None:
        return None
    return name.encode("utf-8", "replace").decode()
