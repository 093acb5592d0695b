"""One GET: connection, request headers, throughput watchdog, body, errors.

What follows from a response for all other requests (rate, pauses, retries, giving up)
is decided in `client.py`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import urlsplit

import aiohttp

from pipeline import os_errors, policy
from pipeline.errors import BadAnswer
from pipeline.schemas.reasons import DownloadFailure
from pipeline.site import responses
from pipeline.site.rate_limiter import Permit
from pipeline.site.responses import PIECE, RequestKind, TransientFailure


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a site is.

    Both are origins without a trailing slash; files are below `static_url`/data.
    """

    base_url: str
    static_url: str


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the client waits, in seconds unless a comment gives another unit.

    Not parameters: tests shorten them, users have no reason to.
    """

    connect: float = 30
    silence: float = 60  # without one byte
    # For a whole response, exports aside: 50 MB at 85 kB/s, ten times slower than a bad
    # line.
    whole: float = 600
    look: float = 60  # between two checks of how much of a body has arrived
    # Bytes per second on average between two checks; a trickle counts as a stall.
    slowest: float = 1_000
    longest_wait: float = 900  # a Retry-After beyond it ends the run
    first_backoff: float = 1.0
    failing: float = 10.0  # that a run of failures lasts before the breaker gives up
    pause: float = 3_600  # after which another run makes sense


LOCAL_TIMEOUTS = Timeouts(first_backoff=0.1, failing=1.0, pause=60)
"""For servers of this machine, which nobody else waits for."""


class Exchange:
    """The outcome of one request and its response, for the statistics."""

    def __init__(self) -> None:
        self.outcome = "cancelled"  # until response headers come
        self._response: aiohttp.ClientResponse | None = None

    @property
    def size(self) -> int:
        """Bytes of the body received so far, after Content-Encoding."""
        if self._response is None:
            return 0
        return self._response.content.total_bytes

    def receive_headers(self, response: aiohttp.ClientResponse) -> None:
        """Records that the headers of the response are here."""
        self._response = response
        self.outcome = str(response.status)

    def fail(self, error: BaseException) -> None:
        """Records that no whole response came."""
        self.outcome = type(error).__name__


class Transport:
    """Sends single GET requests to one site over one session."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoints: Endpoints,
        timeouts: Timeouts,
        authorization: str | None,
    ) -> None:
        self._session = session
        self._endpoints = endpoints
        self._timeouts = timeouts
        self._authorization = authorization

    @asynccontextmanager
    async def get(
        self,
        url: str,
        kind: RequestKind,
        exchange: Exchange,
        *,
        query: dict[str, str] | None,
        headers: dict[str, str] | None,
        permit: Permit | None,
        is_known: Callable[[], bool],
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yields the response to one GET, status 200 or 206, its body not yet read.

        Raises what any other response means, and TransientFailure for errors of the
        connection. Records in `exchange` how it went. permit: left when the request
        headers are sent. is_known: called when the response arrives, as other responses
        may have arrived since the request left; see `responses.raise_for_response`.
        """
        sent = self._request_headers(url, kind, headers)
        is_export = kind is RequestKind.EXPORT
        started = time.monotonic()
        request = self._session.get(
            url,
            params=query,
            headers=sent,
            allow_redirects=False,
            # The checksum of an export is that of the stored bytes.
            auto_decompress=not is_export,
            middlewares=(_no_hidden_retry(),),
            trace_request_ctx=permit,
        )
        try:
            async with (
                asyncio.timeout(self._timeouts.whole) as deadline,
                request as response,
            ):
                exchange.receive_headers(response)
                if is_export:
                    deadline.reschedule(None)  # of any length
                with self._throughput_watchdog(response, deadline):
                    await responses.raise_for_response(
                        response,
                        kind,
                        longest_wait=self._timeouts.longest_wait,
                        logged_in="Authorization" in sent,
                        is_known=is_known(),
                    )
                    yield response
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            exchange.fail(error)
            lack = os_errors.out_of_resources(error)
            if lack is not None:  # it is not the site that fails
                raise lack from error
            is_late = deadline.expired()
            failure = _connection_failure(error, exchange, started, is_late=is_late)
            raise failure from error

    def _request_headers(
        self, url: str, kind: RequestKind, headers: dict[str, str] | None
    ) -> dict[str, str]:
        sent = dict(headers or {})
        is_base = url.startswith(self._endpoints.base_url + "/")
        if self._authorization and is_base:  # never to the static host
            sent["Authorization"] = self._authorization
        if kind is not RequestKind.API:
            # Images and exports are compressed already. Ranges, lengths and checksums
            # then mean the stored bytes, and nothing small can inflate into something
            # large.
            sent["Accept-Encoding"] = "identity"
        return sent

    @contextmanager
    def _throughput_watchdog(
        self, response: aiohttp.ClientResponse, deadline: asyncio.Timeout
    ) -> Iterator[None]:
        """Checks at intervals how much has arrived.

        Expires the deadline at once where that is too little.
        """
        loop = asyncio.get_running_loop()
        interval = self._timeouts.look
        least = self._timeouts.slowest * interval  # bytes
        body = response.content
        timer: asyncio.TimerHandle

        def check(before: int) -> None:
            nonlocal timer
            if body.total_bytes - before >= least or body.is_eof():
                timer = loop.call_later(interval, check, body.total_bytes)
            else:
                deadline.reschedule(loop.time())

        timer = loop.call_later(interval, check, body.total_bytes)
        try:
            yield
        finally:
            timer.cancel()


@asynccontextmanager
async def open_session(
    agent: str, timeouts: Timeouts, *, concurrency: int, traces_headers: bool
) -> AsyncIterator[aiohttp.ClientSession]:
    """Yields an HTTP session.

    traces_headers: every request has a permit, which it leaves when its headers are
    sent.
    """
    # No total here: it would include the whole body of an export. `Transport.get` has a
    # deadline of its own.
    timeout = aiohttp.ClientTimeout(
        total=None, connect=timeouts.connect, sock_read=timeouts.silence
    )
    connector = aiohttp.TCPConnector(limit=concurrency, limit_per_host=concurrency)
    traces = [_on_headers_sent()] if traces_headers else None
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        headers={"User-Agent": agent},
        # What one host sets, such as a session after a login, must not reach another.
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=traces,
    ) as session:
        yield session


def request_kind(url: str, endpoints: Endpoints, *, is_remote: bool) -> RequestKind:
    """Returns what a URL is for; raises BadAnswer for a URL that is not of this site.

    The site's index names the addresses of its exports. One elsewhere would reach a
    host for which contact, terms and rate were never checked.
    """
    parts = urlsplit(url)
    urls = (endpoints.base_url, endpoints.static_url)
    own = {urlsplit(one).hostname for one in urls}
    is_local = parts.hostname in policy.LOOPBACK and not is_remote
    if parts.hostname not in own and not is_local:
        names = " or ".join(sorted(map(str, own)))
        raise BadAnswer(
            f"{url} is not on {names}: no request is sent to an address elsewhere that "
            "the site names. Check site.base_url and site.static_url in params.yaml."
        )
    if "/db_export/" in url:
        return RequestKind.EXPORT
    is_file = parts.path.startswith("/data/")
    return RequestKind.FILE if is_file else RequestKind.API


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes | None:
    """Returns the decoded body, or None where it is larger than `max_bytes`.

    Holds at most one piece beyond the limit. Raises ChallengePage where the body is
    such a page under another content type.
    """
    body = bytearray()  # not a list of pieces: a hostile server sends millions of them
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > max_bytes:
            return None
    whole = bytes(body)
    if responses.looks_like_html(whole):
        host = response.url.authority
        responses.raise_for_challenge(host, response.status, whole[:PIECE])
    return whole


def _connection_failure(
    error: Exception, exchange: Exchange, started: float, *, is_late: bool
) -> TransientFailure:
    """Returns the failure that an error of the connection means.

    started: monotonic seconds; is_late: the deadline passed.
    """
    if isinstance(error, aiohttp.ClientPayloadError):
        return TransientFailure(
            "the body ended too soon",
            cause=str(error),
            reason=DownloadFailure.TRUNCATED,
        )
    if is_late:
        seconds = time.monotonic() - started
        return TransientFailure(
            "too slow", cause=f"{exchange.size:,} bytes of it came in {seconds:,.1f} s"
        )
    cause = f"{type(error).__name__} {error}".strip()
    return TransientFailure("no answer came", cause=cause)


def _on_headers_sent() -> aiohttp.TraceConfig:
    """Returns a trace that leaves the permit of a request when its headers are sent.

    That is not before there is a connection.
    """

    async def leave(
        _: aiohttp.ClientSession,
        context: SimpleNamespace,
        __: aiohttp.TraceRequestHeadersSentParams,
    ) -> None:
        context.trace_request_ctx.left()

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(leave)
    return trace


def _no_hidden_retry() -> aiohttp.ClientMiddlewareType:
    """Returns a middleware that lets one attempt through.

    Where a connection breaks before the response, aiohttp sends the request again by
    itself, bypassing limiter, backoff and statistics.
    """
    attempts = 0

    async def once(
        request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        nonlocal attempts
        attempts += 1
        if attempts > 1:
            raise aiohttp.ServerDisconnectedError(
                "the connection broke before an answer came"
            )
        return await send(request)

    return once
