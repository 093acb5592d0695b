"""The meaning of one response (contract section 5).

It is a success, a permanent failure, a transient failure, or a page for a human.
`PermanentFailure` is final for its URL, `TransientFailure` is worth a retry, and
`ChallengePage` ends the run.
"""

import asyncio
import json
import math
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import aiohttp

from pipeline.errors import BadAnswer, BadParameter, ChallengePage, SiteUnreachable
from pipeline.schemas.reasons import DownloadFailure
from pipeline.site.circuit_breaker import retry_hint

TEMPORARY = frozenset({408, 425, 429, 500, 501, 502, 503, 504, *range(520, 528)})
"""Statuses after which the same request may succeed (contract section 5)."""

# In the message of a 422: the search took too long this time (contract section 2.3).
_TIMED_OUT = "timed out"

_MAX_RETRY_AFTER = 366 * 86_400.0  # seconds; a larger number is a mistake

API_KEY = "E6TAG_API_KEY"
"""Environment variable of the API key that goes with site.login. It is never a
parameter, so it is never committed."""

PIECE = 1 << 16  # bytes read at a time; no more of a page or a message is examined
_ERROR_BODY_TIMEOUT = 5.0  # seconds to wait for the body of an error
_MAX_MESSAGE = 300  # characters of a site's message
_MAX_TARGET = 200  # characters of the target of a redirect

# Found only in challenge pages, whatever their status.
_CHALLENGE = (
    b"<title>just a moment",
    b"<title>attention required",
    b"cf_chl_opt",
    b"cf-chl-",
)

# Found in ordinary pages too, such as a 404 with the site's news on it: they count only
# where no page is expected (200) or where an edge blocks a client (403, 429, 503).
_LIKELY = (b"challenge", b"just a moment", b"captcha")
_LIKELY_STATUSES = frozenset({200, 206, 403, 429, 503})

# The script that Cloudflare adds to ordinary pages has "challenge" in its address.
_ORDINARY_SCRIPT = re.compile(rb"/cdn-cgi/challenge-platform/[^\"'\s]*jsd[^\"'\s]*")


class RequestKind(StrEnum):
    """What a request is for; the request statistics count by it."""

    API = "api"
    EXPORT = "export"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response with status 200."""

    content_type: str
    body: bytes


class PermanentFailure(Exception):
    """The site will not serve this URL to this client: a retry is pointless.

    detail: what data may hold, told in words of our own; status: of the response, where
    that was the reason; message: the site's explanation, on one line, or empty.
    """

    def __init__(
        self,
        reason: DownloadFailure,
        detail: str,
        *,
        status: int | None = None,
        message: str = "",
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.status = status
        self.message = message

    @property
    def explanation(self) -> str:
        """All that is known, for people: as TransientFailure has it."""
        return self.detail


class RequestRejected(PermanentFailure, BadAnswer):
    """An API request that the site rejects, such as with 410 or 422.

    It prints as one clear line where nobody catches it.
    """

    def __init__(self, url: str, failure: PermanentFailure) -> None:
        super().__init__(
            failure.reason,
            failure.detail,
            status=failure.status,
            message=failure.message,
        )
        self.url = url

    def __str__(self) -> str:
        return (
            f"{self.url} is refused ({self.detail}). "
            "Check site.base_url and site.contact in params.yaml."
        )


class RetryLater(SiteUnreachable):
    """The site requests a pause longer than a run sleeps: `wait` seconds."""

    def __init__(self, wait: float, line: str) -> None:
        super().__init__(line)
        self.wait = wait


class TransientFailure(Exception):
    """A temporary failure.

    detail: what data may hold, told in words of our own; cause: what a library said or
    a clock measured, which differs from run to run; wait: the pause that the site
    requested, in seconds.
    """

    def __init__(
        self,
        detail: str,
        *,
        cause: str = "",
        wait: float | None = None,
        reason: DownloadFailure = DownloadFailure.UNAVAILABLE,
    ) -> None:
        self.explanation = f"{detail}: {cause}" if cause else detail
        super().__init__(self.explanation)
        self.detail = detail
        self.wait = wait
        self.reason = reason


async def raise_for_response(
    response: aiohttp.ClientResponse,
    kind: RequestKind,
    *,
    longest_wait: float,
    logged_in: bool,
    is_known: bool,
) -> None:
    """Raises what the response means, unless it is a success, whose body is not read.

    longest_wait: seconds; a Retry-After beyond it is a reason to stop, not to sleep.
    is_known: this host has served a file before, so that a page with status 403 is
    about one file and not about this client.
    """
    host, status = response.url.authority, response.status
    page = await _read_page(response)
    is_marked = "cf-mitigated" in response.headers
    raise_for_challenge(host, status, page, is_marked=is_marked)
    if status == 403 and page:
        raise _forbidden_page_error(host, kind, is_known=is_known)
    if status in (200, 206):
        _raise_for_content_type(response, kind)
    elif status == 401 and (kind is RequestKind.API or logged_in):
        message = await _message(response)
        raise BadParameter(_login_message(host, message, logged_in=logged_in))
    elif status in TEMPORARY:
        raise _temporary_error(response, longest_wait)
    else:
        failure = await _permanent_failure(response, kind)
        if status == 422 and _TIMED_OUT in failure.message.lower():
            raise TransientFailure(failure.detail)
        raise failure


async def _read_page(response: aiohttp.ClientResponse) -> bytes:
    """Returns the first bytes of a response that is a page; empty if it is none.

    An error may be a page whatever its content type.
    """
    is_html = "html" in response.content_type
    is_json = "json" in response.content_type
    body = bytearray()
    if response.status >= 400 and not is_json:
        # The status is known already: a body that never comes does not change it.
        with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
            async with asyncio.timeout(_ERROR_BODY_TIMEOUT):
                await read_start(response, body)
    elif is_html:
        await read_start(response, body)
    is_page = is_html or looks_like_html(body)
    return bytes(body) if is_page else b""


async def read_start(response: aiohttp.ClientResponse, body: bytearray) -> None:
    """Appends the first PIECE bytes of a response to `body`.

    It reads on until they are complete, however they are split on their way: the mark
    of a challenge page may be in the last part.
    """
    while len(body) < PIECE:
        piece = await response.content.read(PIECE - len(body))
        if not piece:
            return
        body += piece


def raise_for_challenge(
    host: str, status: int, page: bytes, *, is_marked: bool = False
) -> None:
    """Raises ChallengePage where a page asks for a human.

    page: its first bytes; empty where the response is no page.
    """
    if is_marked or (page and _is_challenge(status, page)):
        raise ChallengePage(
            f"challenge page from {host} ({status}): the site asks for a human. "
            "Everything fetched is kept. Wait an hour, then run the same command again."
        )


def _is_challenge(status: int, page: bytes) -> bool:
    text = _ORDINARY_SCRIPT.sub(b"", page.lower())
    marks = [*_CHALLENGE]
    if status in _LIKELY_STATUSES:
        marks += _LIKELY
    return any(mark in text for mark in marks)


def _forbidden_page_error(
    host: str, kind: RequestKind, *, is_known: bool
) -> PermanentFailure | ChallengePage:
    if kind is RequestKind.FILE and is_known:
        return PermanentFailure(
            DownloadFailure.NOT_AN_IMAGE,
            "status 403 with a page of its own",
            status=403,
        )
    return ChallengePage(
        f"{host} refuses this client with a page of its own (403). Everything fetched "
        "is kept. Check site.contact, and run the same command again in an hour."
    )


def looks_like_html(body: bytes | bytearray) -> bool:
    """Returns whether a body is a page, whatever its content type."""
    return body[:512].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def parsed(url: str, body: bytes) -> Any:
    """Returns a body as JSON.

    Raises TransientFailure: text that is cut off or damaged may be whole the next time.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise TransientFailure(
            f"{url} answered broken JSON", cause=str(error)
        ) from error


def retry_after(value: str | None) -> float | None:
    """Returns the seconds of a Retry-After header: a number or an HTTP date.

    At most a year; None where it is neither.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    if not math.isfinite(seconds):
        return None
    return min(max(0.0, seconds), _MAX_RETRY_AFTER)


def _seconds_until(date: str) -> float:
    """Returns the seconds until an HTTP date; NaN where it is none."""
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return math.nan
    # A date of an unknown zone ("-0000") is parsed without one; HTTP has only UTC.
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - datetime.now(UTC).timestamp()


def _raise_for_content_type(
    response: aiohttp.ClientResponse, kind: RequestKind
) -> None:
    """Raises where a success holds another kind of content than was requested."""
    content_type = response.content_type
    is_html, is_json = "html" in content_type, "json" in content_type
    if kind is RequestKind.API and not is_json:
        raise BadAnswer(
            f"{response.url.with_query(None)} answered {content_type}, not JSON. "
            "Nothing fetched is lost. Check site.base_url in params.yaml; if it is "
            "right, the site may be in maintenance: try again later."
        )
    if kind is RequestKind.FILE and is_html:
        raise TransientFailure(
            f"{content_type}: HTML where an image belongs",
            reason=DownloadFailure.NOT_AN_IMAGE,
        )
    if kind is RequestKind.EXPORT and (is_html or is_json):
        raise TransientFailure(
            f"{content_type} where an export belongs",
            reason=DownloadFailure.NOT_AN_IMAGE,
        )


def _temporary_error(
    response: aiohttp.ClientResponse, longest_wait: float
) -> TransientFailure | RetryLater:
    host, status = response.url.authority, response.status
    wait = retry_after(response.headers.get("Retry-After"))
    if wait is None or wait <= longest_wait:
        return TransientFailure(f"status {status}", wait=wait)
    return RetryLater(
        wait,
        f"{host} asks to wait {wait:,.0f} s ({status}). Everything fetched is kept. "
        f"{retry_hint(wait)}",
    )


async def _permanent_failure(
    response: aiohttp.ClientResponse, kind: RequestKind
) -> PermanentFailure:
    status = response.status
    if 300 <= status < 400:
        target = response.headers.get("Location", "nowhere")
        return PermanentFailure(
            DownloadFailure.REDIRECTED,
            f"status {status} to {target[:_MAX_TARGET]}",
            status=status,
        )
    message = await _message(response)
    # The API answers 410 for a page or a limit out of range, the static host for a file
    # that is gone.
    is_missing = status == 404 or (status == 410 and kind is not RequestKind.API)
    reason = DownloadFailure.NOT_FOUND if is_missing else DownloadFailure.FORBIDDEN
    detail = f"status {status}"
    if message:
        detail += f": {message}"
    return PermanentFailure(reason, detail, status=status, message=message)


async def _message(response: aiohttp.ClientResponse) -> str:
    """Returns the message of a JSON error, on one line; empty where there is none.

    It is `message`, or `reason` for 403 and 404 (contract section 5).
    """
    if "json" not in response.content_type:
        return ""
    body = bytearray()
    async for piece in response.content.iter_chunked(PIECE):
        body += piece
        if len(body) > PIECE:
            return ""
    try:
        tree = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(tree, dict):
        return ""
    message = tree.get("message") or tree.get("reason") or ""
    return " ".join(str(message).split())[:_MAX_MESSAGE]


def _login_message(host: str, message: str, *, logged_in: bool) -> str:
    status = f"401: {message}" if message else "401"
    if not logged_in:
        return (
            f"{host} asks for a login ({status}). "
            f"Set site.login in params.yaml and export {API_KEY}."
        )
    return (
        f"{host} refuses the login of site.login ({status}): the name or the key in "
        f"{API_KEY} is wrong or expired, or the account is blocked. Export a new key "
        f"of the site as {API_KEY}, or remove site.login."
    )
