"""One HTTP session: a rate over everything together, retries with backoff, `Retry-After` honoured, redirects refused.

Errors of single requests are told apart here, once: `Refused` is final for that address, `Unavailable` is temporary and
was retried, `ChallengePage` ends the run.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import aiohttp
from aiolimiter import AsyncLimiter
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from pipeline.errors import BadExport, ChallengePage, SiteUnreachable
from pipeline.schemas import Refusal

TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 528)})
"""Statuses after which the same question may be answered (contract section 5)."""

LONGEST_WAIT = 900.0  # seconds; a Retry-After beyond it is a reason to stop, not to sleep
_PIECE = 1 << 16  # bytes read at a time

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a site lives. Both are origins without a trailing slash; files are below `static_url`/data."""

    base_url: str
    static_url: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer with status 200."""

    content_type: str
    body: bytes


class Refused(Exception):
    """The site will not give this address to us: asking again is pointless."""

    def __init__(self, reason: Refusal, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Unavailable(Exception):
    """A temporary failure. `wait` is what the site asked for, in seconds."""

    def __init__(self, detail: str, *, wait: float | None = None, reason: Refusal = Refusal.UNAVAILABLE) -> None:
        super().__init__(detail)
        self.detail, self.wait, self.reason = detail, wait, reason


class Client:
    """A polite client of one site. Made by `Client.opened`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        address: Address,
        *,
        authorization: str | None,
        requests_per_second: float | None,
        concurrency: int,
        retries: int,
        is_remote: bool,
    ) -> None:
        self.address, self.concurrency, self.retries, self.is_remote = address, concurrency, retries, is_remote
        self._session, self._authorization = session, authorization
        self._silent_until = 0.0  # monotonic seconds, before which the site asked not to be asked
        # A bucket of one: requests are spaced evenly, never bunched at the start of a period.
        self._limiter = AsyncLimiter(1, 1 / requests_per_second) if requests_per_second else None
        self._first_wait = 1.0 if is_remote else 0.1  # seconds; nobody waits in line on our own machine

    @classmethod
    @asynccontextmanager
    async def opened(cls, address: Address, *, agent: str, concurrency: int, **options: Any) -> AsyncIterator["Client"]:
        """Yields a client with a session of its own. `agent` is the User-Agent of every request."""
        timeout = aiohttp.ClientTimeout(total=None, connect=30, sock_read=60)
        connector = aiohttp.TCPConnector(limit=concurrency, limit_per_host=concurrency)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers={"User-Agent": agent}
        ) as session:
            yield cls(session, address, concurrency=concurrency, **options)

    async def json(self, path: str, query: dict[str, str] | None = None) -> Any:
        """Returns the JSON answer of the site host; raises SiteUnreachable, ChallengePage or Refused."""
        url = self.address.base_url + path

        async def ask() -> Any:
            async with self.asking(url, query=query) as response:
                if "json" not in response.content_type:
                    raise Refused(Refusal.NOT_A_PICTURE, f"{url} answered {response.content_type}, not JSON")
                try:
                    return await response.json()
                except ValueError as error:
                    raise Unavailable(f"{url} answered broken JSON: {error}") from error

        return await self.patiently(ask, url)

    async def file(self, path: str, *, max_bytes: int) -> Answer:
        """Asks once for a whole file of the static host; raises Refused, Unavailable or ChallengePage."""
        async with self.asking(self.address.static_url + path) as response:
            if (response.content_length or 0) > max_bytes:
                raise Refused(Refusal.TOO_LARGE, f"{response.content_length:,} bytes, limit {max_bytes:,}")
            body = bytearray()
            async for piece in response.content.iter_chunked(_PIECE):
                body += piece
                if len(body) > max_bytes:
                    raise Refused(Refusal.TOO_LARGE, f"more than {max_bytes:,} bytes")
            return Answer(response.content_type, bytes(body))

    @asynccontextmanager
    async def asking(
        self, url: str, *, query: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yields the answer to one GET, status 200 or 206; foreign errors become Refused or Unavailable here."""
        await self._turn()
        headers = dict(headers or {})
        if self._authorization and url.startswith(self.address.base_url + "/"):
            headers["Authorization"] = self._authorization  # never to the static host
        try:
            async with self._session.get(url, params=query, headers=headers, allow_redirects=False) as response:
                await self._judge(response)
                yield response
        except aiohttp.ClientPayloadError as error:
            raise Unavailable(f"the body ended too soon: {error}", reason=Refusal.TRUNCATED) from error
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise Unavailable(f"{type(error).__name__} {error}".strip()) from error

    async def _turn(self) -> None:
        """Waits until this request may leave: the site's own wish first, then the limiter."""
        if (wait := self._silent_until - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        if self._limiter is not None:
            await self._limiter.acquire()

    async def _judge(self, response: aiohttp.ClientResponse) -> None:
        """Raises what a status other than success means; a Retry-After holds back all requests, not only this one."""
        try:
            await _judge(response)
        except Unavailable as error:
            if error.wait is not None:
                self._silent_until = max(self._silent_until, time.monotonic() + error.wait)
            raise

    async def retried(self, ask: Callable[[], Awaitable[_T]], on_failure: Callable[[str], None] | None = None) -> _T:
        """Asks until an answer comes or the retries are used up; then raises the last Unavailable."""

        def report(state: RetryCallState) -> None:
            if on_failure is not None and state.outcome is not None:
                on_failure(str(state.outcome.exception()))

        attempts = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            stop=stop_after_attempt(self.retries + 1),
            wait=self._wait,
            before_sleep=report,
            reraise=True,
        )
        async for attempt in attempts:
            with attempt:
                return await ask()
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def patiently(self, ask: Callable[[], Awaitable[_T]], url: str) -> _T:
        """As `retried`, for what the run cannot go on without: gives up as SiteUnreachable."""
        try:
            return await self.retried(ask)
        except Unavailable as error:
            raise SiteUnreachable(
                f"{url} does not answer after {self.retries + 1} tries: {error.detail}. Nothing fetched so far is "
                "lost. Check site.name, site.base_url and the network, then run the same command again."
            ) from error
        except Refused as error:
            raise BadExport(
                f"{url} is refused ({error.detail}). Check site.base_url and site.contact in params.yaml."
            ) from error

    def _wait(self, state: RetryCallState) -> float:
        """Full jitter over an exponential ceiling, and never less than what the site asked for."""
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, Unavailable) else None
        ceiling = min(self._first_wait * 2**state.attempt_number, 120.0)
        return max(random.uniform(ceiling / 2, ceiling), asked or 0.0)


async def _judge(response: aiohttp.ClientResponse) -> None:
    """Raises what a status other than success means (contract section 5)."""
    status = response.status
    if status in (200, 206):
        return
    if "cf-mitigated" in response.headers or (status in (403, 503) and await _asks_for_a_human(response)):
        raise ChallengePage(
            f"challenge page from {response.url.host} ({status}): the site asks for a human. Everything fetched is "
            "kept. Wait an hour, then run the same command again."
        )
    if status == 403 and "html" in response.content_type:
        raise ChallengePage(
            f"{response.url.host} refuses this client with a page of its own (403). Everything fetched is kept. "
            "Check site.contact, and run the same command again in an hour."
        )
    if status in TEMPORARY:
        wait = _retry_after(response.headers.get("Retry-After"))
        if wait is not None and wait > LONGEST_WAIT:
            raise SiteUnreachable(
                f"{response.url.host} asks to wait {wait:,.0f} s ({status}). Everything fetched is kept. "
                "Run the same command again after that time."
            )
        raise Unavailable(f"status {status}", wait=wait)
    if 300 <= status < 400:
        raise Refused(Refusal.REDIRECTED, f"status {status} to {response.headers.get('Location', 'nowhere')}")
    if status in (404, 410):
        raise Refused(Refusal.NOT_FOUND, f"status {status}")
    raise Refused(Refusal.FORBIDDEN, f"status {status}")


async def _asks_for_a_human(response: aiohttp.ClientResponse) -> bool:
    if "html" not in response.content_type:
        return False
    head = (await response.content.read(_PIECE)).lower()
    return b"challenge" in head or b"just a moment" in head or b"captcha" in head


def _retry_after(value: str | None) -> float | None:
    """Returns the seconds that a Retry-After header asks for: a number or an HTTP date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        from datetime import UTC, datetime

        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except ValueError:
        return None


async def gather(tasks: list[asyncio.Task[Any]]) -> None:
    """Waits for all tasks; the first failure cancels the others and is raised."""
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
