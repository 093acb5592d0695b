"""The client of one site: one rate limit, retries with backoff, Retry-After honoured.

Redirects are refused. `responses.py` holds what a single response means and
`transport.py` sends a single request; this module decides what follows for all requests
together. Every attempt that leaves this machine has passed the rate limiter and is
counted in the statistics.
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
)

from pipeline import progress
from pipeline.errors import BadAnswer, BadExport, SiteUnreachable, TryAgainLater
from pipeline.schemas.reasons import DownloadFailure
from pipeline.site import responses, transport
from pipeline.site.circuit_breaker import CircuitBreaker, retry_hint
from pipeline.site.host_lock import record_backoff
from pipeline.site.rate_limiter import Permit, RateLimiter
from pipeline.site.request_stats import RequestStats, WaitReason
from pipeline.site.responses import (
    PermanentFailure,
    RequestKind,
    RequestRejected,
    Response,
    RetryLater,
    TransientFailure,
)
from pipeline.site.transport import (
    LOCAL_TIMEOUTS,
    Endpoints,
    Exchange,
    Timeouts,
    Transport,
)

__all__ = [
    "LOCAL_TIMEOUTS",
    "Client",
    "Endpoints",
    "PermanentFailure",
    "RequestRejected",
    "Response",
    "Timeouts",
    "TransientFailure",
    "cancel_on_error",
]

MAX_JSON = 64 << 20
"""Bytes after Content-Encoding; 320 posts of 2,000 tags are a tenth of it."""

LONGEST_BACKOFF = 120.0  # seconds

LAST_CALL = 10.0  # seconds for requests in flight when the run ends

PAGES = 5
"""Files in a row that come as a page with status 403: the site blocks this client, not
these files."""

_T = TypeVar("_T")


class Client:
    """A polite client of one site, for at most `concurrency` requests at a time.

    Made by `Client.opened`.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoints: Endpoints,
        *,
        stats: RequestStats,
        timeouts: Timeouts,
        authorization: str | None,
        requests_per_second: float | None,
        concurrency: int,
        retries: int,
        is_remote: bool,
        backoff: float = 0.0,
    ) -> None:
        self.endpoints = endpoints
        self.concurrency = concurrency
        self.retries = retries
        self.is_remote = is_remote
        self.breaker = CircuitBreaker(least=timeouts.failing, pause=timeouts.pause)
        self._transport = Transport(session, endpoints, timeouts, authorization)
        self._stats = stats
        self._timeouts = timeouts
        self._has_served_files = False
        self._pages = 0  # files in a row that came as a page with status 403
        # Monotonic seconds before which the site requested that nothing is sent.
        self._silent_until = time.monotonic() + backoff
        self._limiter: RateLimiter | None = None
        if requests_per_second:
            self._limiter = RateLimiter(requests_per_second)
        # Taken before the permit, so that a request with a permit leaves at once.
        self._slots = asyncio.Semaphore(concurrency)
        # Tasks whose request is in flight.
        self._requesting: set[asyncio.Task[Any] | None] = set()

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        endpoints: Endpoints,
        *,
        agent: str,
        concurrency: int,
        is_remote: bool,
        requests_per_second: float | None,
        timeouts: Timeouts | None = None,
        **options: Any,
    ) -> AsyncIterator["Client"]:
        """Yields a client with a session of its own.

        agent: the User-Agent of every request. backoff: seconds for which the site
        requested, in an earlier run, that nothing is sent.
        """
        if timeouts is None:
            timeouts = Timeouts() if is_remote else LOCAL_TIMEOUTS
        async with transport.open_session(
            agent,
            timeouts,
            concurrency=concurrency,
            traces_headers=bool(requests_per_second),
        ) as session:
            yield cls(
                session,
                endpoints,
                concurrency=concurrency,
                is_remote=is_remote,
                requests_per_second=requests_per_second,
                timeouts=timeouts,
                **options,
            )

    @property
    def pause(self) -> float:
        """Seconds after which another run makes sense where this one gave up."""
        return self._timeouts.pause

    async def json(self, path: str, query: dict[str, str] | None = None) -> Any:
        """Returns the JSON response of the API.

        Raises RequestRejected (with the site's status and message, one line where
        nobody catches it), BadAnswer, SiteUnreachable or ChallengePage.
        """
        url = self.endpoints.base_url + path

        async def request() -> Any:
            async with self.stream(url, query=query) as response:
                body = await transport.read_body(response, MAX_JSON)
                if body is None:
                    raise BadAnswer(
                        f"{url} answered more than {MAX_JSON:,} bytes of JSON. "
                        "Nothing fetched is lost."
                    )
                return responses.parsed(url, body)

        try:
            return await self._with_reported_retries(request, url)
        except PermanentFailure as error:
            raise RequestRejected(url, error) from error

    async def file(self, path: str, *, max_bytes: int) -> Response:
        """Requests a whole file of the static host, without retries.

        Raises PermanentFailure, TransientFailure or ChallengePage.
        """
        async with self.stream(self.endpoints.static_url + path) as response:
            length = response.content_length or 0
            if length > max_bytes:
                detail = f"{length:,} bytes, limit {max_bytes:,}"
                raise PermanentFailure(DownloadFailure.TOO_LARGE, detail)
            body = await transport.read_body(response, max_bytes)
            if body is None:
                detail = f"more than {max_bytes:,} bytes"
                raise PermanentFailure(DownloadFailure.TOO_LARGE, detail)
            return Response(response.content_type, body)

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yields the response to one GET, status 200 or 206.

        Other responses and errors of the connection become PermanentFailure or
        TransientFailure. The body of an export is yielded as it is stored, whatever its
        Content-Encoding; others are decoded. A body that is read slower than
        Timeouts.slowest ends as TransientFailure, so do nothing inside that takes
        minutes without reading.
        """
        kind = transport.request_kind(url, self.endpoints, is_remote=self.is_remote)
        async with self._slots:
            permit = await self._acquire_permit()
            task = asyncio.current_task()
            self._requesting.add(task)
            exchange = Exchange()
            try:
                async with self._transport.get(
                    url,
                    kind,
                    exchange,
                    query=query,
                    headers=headers,
                    permit=permit,
                    is_known=self._is_known,
                ) as response:
                    yield response
                self._record_success(kind)
            except (RetryLater, TransientFailure, PermanentFailure) as error:
                self._record_error(url, error)
                raise
            finally:
                if permit is not None:
                    permit.left()  # also where the request was never sent
                self._requesting.discard(task)
                self._stats.record_request(kind, exchange.outcome, exchange.size)

    async def _acquire_permit(self) -> Permit | None:
        """Waits until this request may leave.

        First for the pause that the site requested, then for the limiter; returns None
        without a limiter.
        """
        while True:
            wait = self._silent_until - time.monotonic()
            if wait > 0:
                with self._stats.waiting(WaitReason.RETRY_AFTER):
                    await asyncio.sleep(wait)
                continue
            if self._limiter is None:
                return None
            with self._stats.waiting(WaitReason.RATE_LIMIT):
                permit = await self._limiter.acquire()
            if time.monotonic() >= self._silent_until:
                return permit
            permit.left()  # unused: the site requested a pause meanwhile

    def _is_known(self) -> bool:
        """Returns whether a page with status 403 is about one file only."""
        return self._has_served_files and self._pages < PAGES - 1

    def _record_success(self, kind: RequestKind) -> None:
        self.breaker.succeeded()
        if kind is RequestKind.FILE:
            self._has_served_files = True
            self._pages = 0

    def _record_error(
        self, url: str, error: RetryLater | TransientFailure | PermanentFailure
    ) -> None:
        """Draws the conclusions from a failure for all other requests.

        Raises SiteUnreachable where the circuit breaker gives up.
        """
        if isinstance(error, RetryLater):
            self._share_backoff(url, error.wait)
        elif isinstance(error, TransientFailure):
            if error.wait is not None:
                self._pause_all(url, error.wait)
            self.breaker.failed(_host(url), error.explanation, wait=error.wait)
        else:
            self._record_permanent(url, error)

    def _record_permanent(self, url: str, error: PermanentFailure) -> None:
        is_page = error.reason is DownloadFailure.NOT_AN_IMAGE and error.status == 403
        self._pages += is_page
        if error.reason in (DownloadFailure.FORBIDDEN, DownloadFailure.REDIRECTED):
            # The caller decides first whether the site or the file is refused: `spare`
            # allows for the requests that are already in flight.
            self.breaker.failed(_host(url), error.detail, spare=self.concurrency)

    def _pause_all(self, url: str, seconds: float) -> None:
        """Delays all requests of this client by a pause that the site requested.

        Also delays the next run, if this one is stopped.
        """
        until = time.monotonic() + seconds
        # Many concurrent requests receive the same answer: it is reported once.
        if until < self._silent_until + 1:
            self._silent_until = max(self._silent_until, until)
            return
        self._silent_until = until
        progress.log(
            f"{_host(url)} asks to wait {seconds:,.0f} s: no request is sent until then"
        )
        self._share_backoff(url, seconds)

    def _share_backoff(self, url: str, seconds: float) -> None:
        """Records a requested pause for later runs, where the site is a real one."""
        if self.is_remote:
            record_backoff(urlsplit(url).hostname or "", seconds)

    async def with_retries(
        self,
        request: Callable[[], Awaitable[_T]],
        on_failure: Callable[[str], None] | None = None,
    ) -> _T:
        """Calls `request` until it succeeds or the retries are used up.

        Then it raises the last TransientFailure. on_failure: receives each failure that
        a retry follows.
        """

        def report(state: RetryCallState) -> None:
            if on_failure is not None and state.outcome is not None:
                on_failure(str(state.outcome.exception()))

        attempts = AsyncRetrying(
            retry=retry_if_exception_type(TransientFailure),
            stop=stop_after_attempt(self.retries + 1),
            wait=self._backoff,
            sleep=self._sleep_backoff,
            before_sleep=report,
            reraise=True,
        )
        async for attempt in attempts:
            with attempt:
                return await request()
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def request_or_fail(
        self, request: Callable[[], Awaitable[_T]], url: str
    ) -> _T:
        """As `with_retries`, for what the run cannot go on without.

        Raises SiteUnreachable where it gives up, and BadExport for a permanent failure.
        """
        try:
            return await self._with_reported_retries(request, url)
        except PermanentFailure as error:
            raise BadExport(
                f"{url} is refused ({error.detail}). "
                "Check site.base_url and site.contact in params.yaml."
            ) from error

    async def _with_reported_retries(
        self, request: Callable[[], Awaitable[_T]], url: str
    ) -> _T:
        tries = self.retries + 1
        numbers = itertools.count(2)

        def report(failure: str) -> None:
            number = next(numbers)
            progress.log(f"{url}: {failure}, asked again (try {number} of {tries})")

        try:
            return await self.with_retries(request, report)
        except TransientFailure as error:
            pause = max(self.pause, error.wait or 0.0)
            raise SiteUnreachable(
                f"{url} does not answer after {tries} tries: {error.explanation}. "
                "Nothing fetched so far is lost. Check site.name, site.base_url and "
                f"the network. {retry_hint(pause)}"
            ) from error

    async def run_all(self, tasks: list[asyncio.Task[Any]]) -> None:
        """As `cancel_on_error`, but requests in flight may finish.

        This applies when a task raises TryAgainLater. A task must send no more
        requests once another has raised TryAgainLater.
        """
        try:
            await asyncio.gather(*tasks)
        except TryAgainLater:
            in_flight = [task for task in tasks if task in self._requesting]
            idle = [task for task in tasks if task not in in_flight]
            await _cancel(idle)
            if in_flight:
                await asyncio.wait(in_flight, timeout=LAST_CALL)
            await _cancel(in_flight)
            raise
        except BaseException:
            await _cancel(tasks)
            raise

    def _backoff(self, state: RetryCallState) -> float:
        """Returns seconds: jitter over the upper half of an exponential ceiling.

        The pause that the site requested is waited for in `_acquire_permit`.
        """
        exponential = self._timeouts.first_backoff * 2**state.attempt_number
        ceiling = min(exponential, LONGEST_BACKOFF)
        return random.uniform(ceiling / 2, ceiling)

    async def _sleep_backoff(self, seconds: float) -> None:
        with self._stats.waiting(WaitReason.BACKOFF):
            await asyncio.sleep(seconds)


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
