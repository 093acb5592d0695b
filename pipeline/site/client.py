"""One HTTP session: a rate over everything together, retries with backoff, `Retry-After` honoured, redirects refused.

What single answers mean is told in `answers.py`; here is what follows from it for all requests together. Every attempt
that leaves this machine passed the limiter and is counted, none is made behind the back of either.
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
)

from pipeline import policy, progress
from pipeline.errors import BadAnswer, BadExport, SiteUnreachable, TryAgainLater
from pipeline.schemas.reasons import DownloadFailure
from pipeline.site import responses
from pipeline.site.circuit_breaker import CircuitBreaker, retry_hint
from pipeline.site.host_lock import record_backoff
from pipeline.site.rate_limiter import Permit, RateLimiter
from pipeline.site.request_stats import RequestStats, WaitReason
from pipeline.site.responses import (
    PIECE,
    PermanentFailure,
    RequestKind,
    RequestRejected,
    Response,
    RetryLater,
    TransientFailure,
)

__all__ = [
    "Client",
    "Endpoints",
    "PermanentFailure",
    "RequestRejected",
    "Response",
    "Timeouts",
    "TransientFailure",
    "cancel_on_error",
]

MAX_JSON = (
    64 << 20
)  # bytes after Content-Encoding; 320 posts of 2,000 tags are a tenth of it
LONGEST_BACKOFF = 120.0  # seconds

LAST_CALL = 10.0  # seconds for what is on its way when the run ends

# Files in a row that come as a page with status 403: it is this client that is shut
# out, not these files
PAGES = 5

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a site lives.

    Both are origins without a trailing slash; files are below `static_url`/data.
    """

    base_url: str
    static_url: str


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the client waits, in seconds.

    Not parameters: tests shorten them, users have no reason to.
    """

    connect: float = 30
    silence: float = 60  # without one byte
    # For a whole answer, exports aside: 50 MB at 85 kB/s, ten times slower than a bad
    # line
    whole: float = 600
    look: float = 60  # between two looks at how much of a body came
    slowest: float = (
        1_000  # bytes/s on average between two looks; a drip is a stall in disguise
    )
    longest_wait: float = (
        900  # a Retry-After beyond it is a reason to stop, not to sleep
    )
    first_backoff: float = 1.0
    failing: float = (
        10.0  # that a run of failures must last before the breaker gives up
    )
    pause: float = 3_600  # after which another run makes sense


LOCAL_TIMEOUTS = Timeouts(first_backoff=0.1, failing=1.0, pause=60)
"""For servers of this machine: nobody waits in line there."""


class Client:
    """A polite client of one site, for at most `concurrency` requests at a time.

    Made by `Client.opened`.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        address: Endpoints,
        *,
        figures: RequestStats,
        patience: Timeouts,
        authorization: str | None,
        requests_per_second: float | None,
        concurrency: int,
        retries: int,
        is_remote: bool,
        silence: float = 0.0,
    ) -> None:
        self.address, self.concurrency, self.retries, self.is_remote = (
            address,
            concurrency,
            retries,
            is_remote,
        )
        self.breaker = CircuitBreaker(least=patience.failing, pause=patience.pause)
        self._session, self._authorization, self._figures, self._patience = (
            session,
            authorization,
            figures,
            patience,
        )
        self._has_given_files = False
        self._pages = 0  # files in a row that came as a page with status 403
        self._silent_until = (
            time.monotonic() + silence
        )  # before which the site asked not to be asked
        self._limiter = (
            RateLimiter(requests_per_second) if requests_per_second else None
        )
        self._under_way = asyncio.Semaphore(
            concurrency
        )  # taken before the turn: whose turn it is leaves at once
        self._asked: set[asyncio.Task[Any] | None] = (
            set()
        )  # tasks whose request is on its way

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        address: Endpoints,
        *,
        agent: str,
        concurrency: int,
        is_remote: bool,
        requests_per_second: float | None,
        patience: Timeouts | None = None,
        **options: Any,
    ) -> AsyncIterator["Client"]:
        """Yields a client with a session of its own.

        agent: the User-Agent of every request. silence: seconds for which the site
        asked an earlier run to wait.
        """
        patience = patience or (Timeouts() if is_remote else LOCAL_TIMEOUTS)
        # No total here: it would count the whole body of an export. `stream` has one of
        # its own.
        timeout = aiohttp.ClientTimeout(
            total=None, connect=patience.connect, sock_read=patience.silence
        )
        connector = aiohttp.TCPConnector(limit=concurrency, limit_per_host=concurrency)
        # No cookies: what one host sets, such as a session after a login, must not
        # reach another.
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            headers={"User-Agent": agent},
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[_on_headers_sent()] if requests_per_second else None,
        ) as session:
            yield cls(
                session,
                address,
                concurrency=concurrency,
                is_remote=is_remote,
                requests_per_second=requests_per_second,
                patience=patience,
                **options,
            )

    @property
    def pause(self) -> float:
        """Seconds after which another run makes sense where this one gave up."""
        return self._patience.pause

    async def json(self, path: str, query: dict[str, str] | None = None) -> Any:
        """Returns the JSON answer of the site host.

        Raises Declined (a Refused with the site's status and message, one line where
        nobody catches it), BadAnswer, SiteUnreachable or ChallengePage.
        """
        url = self.address.base_url + path

        async def ask() -> Any:
            async with self.stream(url, query=query) as response:
                body = await _whole(response, MAX_JSON)
                if body is None:
                    raise BadAnswer(
                        f"{url} answered more than {MAX_JSON:,} bytes of JSON. Nothing "
                        "fetched is lost."
                    )
                if responses.looks_like_html(body):
                    responses.raise_for_challenge(
                        response.url.authority, response.status, body[:PIECE]
                    )
                return responses.parsed(url, body)

        try:
            return await self._with_many_retries(ask, url)
        except PermanentFailure as error:
            raise RequestRejected(url, error) from error

    async def file(self, path: str, *, max_bytes: int) -> Response:
        """Asks once for a whole file of the static host.

        Raises Refused, Unavailable or ChallengePage.
        """
        async with self.stream(self.address.static_url + path) as response:
            if (response.content_length or 0) > max_bytes:
                raise PermanentFailure(
                    DownloadFailure.TOO_LARGE,
                    f"{response.content_length:,} bytes, limit {max_bytes:,}",
                )
            body = await _whole(response, max_bytes)
            if body is None:
                raise PermanentFailure(
                    DownloadFailure.TOO_LARGE, f"more than {max_bytes:,} bytes"
                )
            if responses.looks_like_html(body):
                responses.raise_for_challenge(
                    response.url.authority, response.status, body[:PIECE]
                )
            return Response(response.content_type, body)

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yields the answer to one GET, status 200 or 206.

        Foreign errors become Refused or Unavailable here.

        The body of an export is yielded as it is stored, whatever its Content-Encoding;
        others are decoded. What is read slower than Patience.slowest ends as
        Unavailable, so do nothing inside that takes minutes without reading.
        """
        kind = self._kind(url)
        async with self._under_way:
            turn = await self._acquire_permit()
            self._asked.add(task := asyncio.current_task())
            seen = _Seen()
            try:
                async with self._answer(
                    url, kind, query, dict(headers or {}), seen, turn
                ) as response:
                    yield response
                self.breaker.succeeded()
                if kind is RequestKind.FILE:
                    self._has_given_files, self._pages = True, 0
            except RetryLater as error:
                if self.is_remote:
                    record_backoff(urlsplit(url).hostname or "", error.wait)
                raise
            except TransientFailure as error:
                if error.wait is not None:
                    self._pause_all(url, error.wait)
                self.breaker.failed(_host(url), error.detail, wait=error.wait)
                raise
            except PermanentFailure as error:
                self._pages += (
                    error.reason is DownloadFailure.NOT_A_PICTURE
                    and error.status == 403
                )
                if error.reason in (
                    DownloadFailure.FORBIDDEN,
                    DownloadFailure.REDIRECTED,
                ):
                    # Whether it is the site or the picture that is refused, the caller
                    # judges first: the spare lets all requests that are under way by
                    # then reach it.
                    self.breaker.failed(
                        _host(url), error.detail, spare=self.concurrency
                    )
                raise
            finally:
                if turn is not None:
                    turn.left()  # where it never left: the line must not wait for it
                self._asked.discard(task)
                self._figures.record_request(kind, seen.outcome, seen.size)

    def _pause_all(self, url: str, seconds: float) -> None:
        """Holds back all requests, not only this one.

        And those of a run that follows if this one is stopped.
        """
        until = time.monotonic() + seconds
        if until < self._silent_until + 1:  # many requests under way hear the same
            self._silent_until = max(self._silent_until, until)
            return
        self._silent_until = until
        progress.log(
            f"{_host(url)} asks to wait {seconds:,.0f} s: nothing is asked until then"
        )
        if self.is_remote:
            record_backoff(urlsplit(url).hostname or "", seconds)

    @asynccontextmanager
    async def _answer(
        self,
        url: str,
        kind: RequestKind,
        query: dict[str, str] | None,
        headers: dict[str, str],
        seen: "_Seen",
        turn: Permit | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request and its answer, judged; notes in `seen` how it went."""
        if (
            authorization := self._authorization
            if url.startswith(self.address.base_url + "/")
            else None
        ):
            headers["Authorization"] = authorization  # never to the static host
        if kind is not RequestKind.API:
            # Pictures and exports are compressed already. Ranges, lengths and checksums
            # then speak of the stored bytes, and nothing small can inflate into
            # something large.
            headers["Accept-Encoding"] = "identity"
        started = time.monotonic()
        try:
            async with (
                asyncio.timeout(self._patience.whole) as deadline,
                self._session.get(
                    url,
                    params=query,
                    headers=headers,
                    allow_redirects=False,
                    auto_decompress=kind
                    # Its checksum is that of the stored bytes
                    is not RequestKind.EXPORT,
                    middlewares=(_no_hidden_retry(),),
                    trace_request_ctx=turn,
                ) as response,
            ):
                seen.head(response)
                with self._throughput_watchdog(
                    response, deadline, is_endless=kind is RequestKind.EXPORT
                ):
                    await responses.raise_for_response(
                        response,
                        kind,
                        longest_wait=self._patience.longest_wait,
                        logged_in=authorization is not None,
                        is_known=self._has_given_files and self._pages < PAGES - 1,
                    )
                    yield response
        except aiohttp.ClientPayloadError as error:
            seen.broke(error)
            raise TransientFailure(
                f"the body ended too soon: {error}", reason=DownloadFailure.TRUNCATED
            ) from error
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            seen.broke(error)
            if deadline.expired():
                seconds = time.monotonic() - started
                raise TransientFailure(
                    f"too slow: {seen.size:,} bytes of it came in {seconds:,.1f} s"
                ) from error
            raise TransientFailure(f"{type(error).__name__} {error}".strip()) from error

    @contextmanager
    def _throughput_watchdog(
        self,
        response: aiohttp.ClientResponse,
        deadline: asyncio.Timeout,
        *,
        is_endless: bool,
    ) -> Iterator[None]:
        """Looks now and then how much came.

        And lets the deadline pass at once where that is too little.
        """
        loop, look, body = (
            asyncio.get_running_loop(),
            self._patience.look,
            response.content,
        )
        if is_endless:
            deadline.reschedule(None)

        watch: asyncio.TimerHandle

        def judge(before: int) -> None:
            nonlocal watch
            if (
                body.total_bytes - before >= self._patience.slowest * look
                or body.is_eof()
            ):
                watch = loop.call_later(look, judge, body.total_bytes)
            else:
                deadline.reschedule(loop.time())

        watch = loop.call_later(look, judge, body.total_bytes)
        try:
            yield
        finally:
            watch.cancel()

    async def _acquire_permit(self) -> Permit | None:
        """Waits until this request may leave: the site's own wish first.

        Then the limiter; null where there is none.
        """
        while True:
            if (wait := self._silent_until - time.monotonic()) > 0:
                with self._figures.waiting(WaitReason.RETRY_AFTER):
                    await asyncio.sleep(wait)
            elif self._limiter is None:
                return None
            else:
                with self._figures.waiting(WaitReason.RATE_LIMIT):
                    turn = await self._limiter.acquire()
                if time.monotonic() >= self._silent_until:
                    return turn
                turn.left()  # unused: it was asked for silence meanwhile

    def _kind(self, url: str) -> RequestKind:
        """Returns what is asked for.

        Raises BadAnswer for an address that is not of this site.

        The site's index names the addresses of its exports. One that leads elsewhere
        would reach a host for which nobody judged contact, terms and rate.
        """
        host = urlsplit(url).hostname
        own = {
            urlsplit(one).hostname
            for one in (self.address.base_url, self.address.static_url)
        }
        if host not in own and (self.is_remote or host not in policy.LOOPBACK):
            raise BadAnswer(
                f"{url} is not on {' or '.join(sorted(map(str, own)))}: an address "
                "that the site names elsewhere is "
                "not asked. Check site.base_url and site.static_url in params.yaml."
            )
        if "/db_export/" in url:
            return RequestKind.EXPORT
        return (
            RequestKind.FILE
            if urlsplit(url).path.startswith("/data/")
            else RequestKind.API
        )

    async def with_retries(
        self,
        ask: Callable[[], Awaitable[_T]],
        on_failure: Callable[[str], None] | None = None,
    ) -> _T:
        """Asks until an answer comes or the retries are used up.

        Then raises the last Unavailable.

        on_failure: told of each failure after which it is asked again.
        """

        def report(state: RetryCallState) -> None:
            if on_failure is not None and state.outcome is not None:
                on_failure(str(state.outcome.exception()))

        attempts = AsyncRetrying(
            retry=retry_if_exception_type(TransientFailure),
            stop=stop_after_attempt(self.retries + 1),
            wait=self._backoff,
            sleep=self._back_off,
            before_sleep=report,
            reraise=True,
        )
        async for attempt in attempts:
            with attempt:
                return await ask()
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def request_or_fail(self, ask: Callable[[], Awaitable[_T]], url: str) -> _T:
        """As `retried`, for what the run cannot go on without.

        Gives up as SiteUnreachable, or as BadExport.
        """
        try:
            return await self._with_many_retries(ask, url)
        except PermanentFailure as error:
            raise BadExport(
                f"{url} is refused ({error.detail}). Check site.base_url and "
                "site.contact in params.yaml."
            ) from error

    async def run_all(self, tasks: list[asyncio.Task[Any]]) -> None:
        """As the function, but where the site ends the run, what it was asked for by then may still come.

        A task must ask for nothing more once another has raised TryAgainLater.
        """
        try:
            await asyncio.gather(*tasks)
        except TryAgainLater:
            coming = [task for task in tasks if task in self._asked]
            await _cancel([task for task in tasks if task not in coming])
            if coming:
                await asyncio.wait(coming, timeout=LAST_CALL)
            await _cancel(coming)
            raise
        except BaseException:
            await _cancel(tasks)
            raise

    async def _with_many_retries(
        self, ask: Callable[[], Awaitable[_T]], url: str
    ) -> _T:
        tries = itertools.count(2)

        def say(failure: str) -> None:
            progress.log(
                f"{url}: {failure}, asked again (try {next(tries)} of "
                f"{self.retries + 1})"
            )

        try:
            return await self.with_retries(ask, say)
        except TransientFailure as error:
            raise SiteUnreachable(
                f"{url} does not answer after {self.retries + 1} tries: "
                f"{error.detail}. Nothing fetched so far is "
                "lost. Check site.name, site.base_url and the network. "
                + retry_hint(max(self.pause, error.wait or 0.0))
            ) from error

    def _backoff(self, state: RetryCallState) -> float:
        """Jitter over the upper half of an exponential ceiling.

        What the site asked for is waited for in `_turn`.
        """
        ceiling = min(
            self._patience.first_backoff * 2**state.attempt_number, LONGEST_BACKOFF
        )
        return random.uniform(ceiling / 2, ceiling)

    async def _back_off(self, seconds: float) -> None:
        with self._figures.waiting(WaitReason.BACKOFF):
            await asyncio.sleep(seconds)


class _Seen:
    """How one request went, for the figures."""

    def __init__(self) -> None:
        self.outcome = "cancelled"  # as long as no head came
        self._response: aiohttp.ClientResponse | None = None

    @property
    def size(self) -> int:
        """Bytes of the body that came, after Content-Encoding."""
        return self._response.content.total_bytes if self._response is not None else 0

    def head(self, response: aiohttp.ClientResponse) -> None:
        """The head of the answer is here."""
        self._response, self.outcome = response, str(response.status)

    def broke(self, error: BaseException) -> None:
        """No whole answer came."""
        self.outcome = type(error).__name__


def _on_headers_sent() -> aiohttp.TraceConfig:
    """Returns what ends the turn of a request when its head is sent.

    Not before there is a connection.
    """

    async def left(
        _: aiohttp.ClientSession,
        context: SimpleNamespace,
        __: aiohttp.TraceRequestHeadersSentParams,
    ) -> None:
        context.trace_request_ctx.left()

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(left)
    return trace


def _no_hidden_retry() -> aiohttp.ClientMiddlewareType:
    """Returns a middleware that lets one attempt through.

    Where a connection breaks before the answer, aiohttp asks again by itself, past
    limiter, backoff and figures.
    """
    attempts = 0

    async def once(
        request: aiohttp.ClientRequest, ask: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        nonlocal attempts
        attempts += 1
        if attempts > 1:
            raise aiohttp.ServerDisconnectedError(
                "the connection broke before an answer came"
            )
        return await ask(request)

    return once


async def _whole(response: aiohttp.ClientResponse, max_bytes: int) -> bytes | None:
    """Returns the decoded body, or None where it is larger.

    No more than one piece beyond the limit is held.
    """
    body = bytearray()  # not a list of pieces: a hostile server sends millions of them
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > max_bytes:
            return None
    return bytes(body)


def _host(url: str) -> str:
    return urlsplit(url).netloc


async def cancel_on_error(tasks: list[asyncio.Task[Any]]) -> None:
    """Waits for all tasks; the first failure cancels the others and is raised."""
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        await _cancel(tasks)
        raise


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
