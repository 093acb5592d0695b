"""Honest answers that do not arrive.

Cut, reset, stalled, dripping, or with a byte changed on the way.
"""

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from sandbox.faults.base import Aimed, body_of, honest

_R = TypeVar("_R", bound=web.Response)

GONE_POLL = 0.02  # seconds between looks whether the client has left


@dataclass(frozen=True, slots=True)
class Truncated(Aimed):
    """Promises the whole file and hangs up in the middle of it."""

    async def _spoil(self, request: web.Request) -> web.StreamResponse:
        return _like(_Half, await honest(request))


@dataclass(frozen=True, slots=True)
class Reset(Aimed):
    """Promises the whole file and resets the connection (RST) in the middle of it."""

    async def _spoil(self, request: web.Request) -> web.StreamResponse:
        return _like(_Reset, await honest(request))


@dataclass(frozen=True, slots=True)
class Shortened(Aimed):
    """Half of the file under a Content-Length that says so.

    Nothing in the answer tells that the rest is missing.
    """

    async def _spoil(self, request: web.Request) -> web.StreamResponse:
        answer = await honest(request)
        body = body_of(answer)
        return _like(web.Response, answer, body[: len(body) // 2])


@dataclass(frozen=True, slots=True)
class Unfinished(Aimed):
    """Half of the file in chunks, then a closed connection.

    The last chunk, which ends a body, never comes.
    """

    async def _spoil(self, request: web.Request) -> web.StreamResponse:
        answer = _like(_Half, await honest(request))
        answer.enable_chunked_encoding()
        return answer


@dataclass(frozen=True, slots=True)
class Stalled(Aimed):
    """The head and `share` of the body, then nothing for `seconds`, then a hang-up."""

    share: float = 0.0  # of the body's bytes
    seconds: float = 3_600.0

    async def _spoil(self, request: web.Request) -> web.StreamResponse:
        answer = _like(_Stalled, await honest(request))
        answer.share, answer.seconds = self.share, self.seconds
        return answer


@dataclass(frozen=True, slots=True)
class Silent(Aimed):
    """Takes the request, says nothing at all for `seconds`, then hangs up."""

    seconds: float = 3_600.0

    async def _spoil(self, _request: web.Request) -> web.StreamResponse:
        answer = _Silent()
        answer.seconds = self.seconds
        return answer


@dataclass(frozen=True, slots=True)
class Dripping(Aimed):
    """The honest answer, `bytes_at_once` every `pause` seconds.

    It is never silent for long and never done.
    """

    pause: float = 0.05  # seconds
    bytes_at_once: int = 1

    async def _spoil(self, request: web.Request) -> web.StreamResponse:
        answer = _like(_Dripping, await honest(request))
        answer.pause, answer.bytes_at_once = self.pause, self.bytes_at_once
        return answer


@dataclass(frozen=True, slots=True)
class Flipped(Aimed):
    """The honest answer with the bits of its middle byte turned over.

    Right length, right head, wrong bytes.
    """

    async def _spoil(self, request: web.Request) -> web.StreamResponse:
        answer = await honest(request)
        body = bytearray(body_of(answer))
        if body:
            body[len(body) // 2] ^= 0xFF
        return _like(web.Response, answer, bytes(body))


class _Broken(web.Response):
    """Sends the head of an honest answer, then does with the body as it likes."""

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002  # the parent's signature
        """Called twice: by the sandbox, and by aiohttp when the handler is left."""
        writer, request = self._payload_writer, self._req
        if not self._eof_sent and writer and request and request.transport:
            self._eof_sent = True
            await self._send(body_of(self), writer, request)

    async def _send(
        self, body: bytes, writer: AbstractStreamWriter, request: web.BaseRequest
    ) -> None:
        raise NotImplementedError


class _Half(_Broken):
    async def _send(
        self, body: bytes, writer: AbstractStreamWriter, request: web.BaseRequest
    ) -> None:
        await _send_part(body[: len(body) // 2], writer)
        _hang_up(request)


class _Reset(_Broken):
    async def _send(
        self, body: bytes, writer: AbstractStreamWriter, request: web.BaseRequest
    ) -> None:
        await _send_part(body[: len(body) // 2], writer)
        # For the client to read it: a reset throws away what it has not.
        await asyncio.sleep(GONE_POLL)
        _reset(request)


class _Stalled(_Broken):
    share, seconds = 0.0, 0.0

    async def _send(
        self, body: bytes, writer: AbstractStreamWriter, request: web.BaseRequest
    ) -> None:
        await _send_part(body[: int(len(body) * self.share)], writer)
        await _until_gone(request, self.seconds)
        _hang_up(request)


class _Silent(web.Response):
    seconds = 0.0

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Never sends the head."""
        await _until_gone(request, self.seconds)
        _hang_up(request)
        raise ConnectionResetError("the sandbox is silent on request")


class _Dripping(_Broken):
    pause, bytes_at_once = 0.0, 1

    async def _send(
        self, body: bytes, writer: AbstractStreamWriter, request: web.BaseRequest
    ) -> None:
        writer.send_headers()
        for start in range(0, len(body), self.bytes_at_once):
            if _is_gone(request):
                return
            await writer.write(body[start : start + self.bytes_at_once])
            await asyncio.sleep(self.pause)
        await writer.write_eof()


def _like(kind: type[_R], answer: web.Response, body: bytes | None = None) -> _R:
    """An answer of that kind with the head of an honest one.

    Its body too, unless another is given.
    """
    headers = answer.headers.copy()
    headers.popall("Content-Length", None)
    if body is None:
        body = body_of(answer)
    return kind(status=answer.status, headers=headers, body=body)


async def _send_part(part: bytes, writer: AbstractStreamWriter) -> None:
    writer.send_headers()
    if part:
        await writer.write(part)
        await writer.drain()


def _hang_up(request: web.BaseRequest) -> None:
    if request.transport:
        request.transport.close()  # after what is buffered is sent


def _reset(request: web.BaseRequest) -> None:
    """Closes a connection that may not linger: it sends an RST."""
    transport = request.transport
    if not transport:
        return
    connection = transport.get_extra_info("socket")
    if connection:
        no_linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        transport.abort()


async def _until_gone(request: web.BaseRequest, seconds: float) -> None:
    """Waits so long, or until the client has left."""
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    while not _is_gone(request) and clock() < end:  # noqa: ASYNC110  # a transport tells of its end by this alone
        await asyncio.sleep(GONE_POLL)


def _is_gone(request: web.BaseRequest) -> bool:
    return request.transport is None or request.transport.is_closing()
