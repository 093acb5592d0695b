"""What an answer of the site means.

Given, refused for good, not given now, or a page for a human (contract section 5).

Errors of single requests are told apart here, once: `Refused` is final for that
address, `Unavailable` is temporary and worth another try, `ChallengePage` ends the run.
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
"""Statuses after which the same question may be answered (contract section 5)."""

# In the message of a 422: the search took too long this time (contract section 2.3)
_TIMED_OUT = "timed out"

_LONGEST_ASKED = 366 * 86_400.0  # seconds; nobody who asks for more means a number

API_KEY = "E6TAG_API_KEY"
"""Environment variable of the API key that goes with site.login.

It is never a parameter, so it is never committed.
"""

PIECE = 1 << 16  # bytes read at a time; of a page or a message no more is looked at
_LOOK = 5.0  # seconds that the body of an error is waited for

# What only challenge pages hold, whatever their status.
_CHALLENGE = (
    b"<title>just a moment",
    b"<title>attention required",
    b"cf_chl_opt",
    b"cf-chl-",
)

# What an ordinary page may speak of too, such as a 404 with the news of the site on it:
# told only where no page belongs (200) or where an edge shuts out (403, 429, 503).
_LIKELY = (b"challenge", b"just a moment", b"captcha")
_LIKELY_STATUSES = frozenset({200, 206, 403, 429, 503})

# The script that Cloudflare adds to ordinary pages; it has the word in its address.
_ORDINARY_SCRIPT = re.compile(rb"/cdn-cgi/challenge-platform/[^\"'\s]*jsd[^\"'\s]*")


class RequestKind(StrEnum):
    """What is asked for; politeness figures count by it."""

    API = "api"
    EXPORT = "export"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer with status 200."""

    content_type: str
    body: bytes


class PermanentFailure(Exception):
    """The site will not give this address to us: asking again is pointless.

    status: of the answer, where that was the reason; message: what the site said about
    it, on one line, or empty.
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
        self.reason, self.detail, self.status, self.message = (
            reason,
            detail,
            status,
            message,
        )


class RequestRejected(PermanentFailure, BadAnswer):
    """A question to the API that the site refuses, such as 410 and 422.

    One clear line where nobody catches it.
    """

    def __init__(self, url: str, refused: PermanentFailure) -> None:
        super().__init__(
            refused.reason,
            refused.detail,
            status=refused.status,
            message=refused.message,
        )
        self.url = url

    def __str__(self) -> str:
        return (
            f"{self.url} is refused ({self.detail}). Check site.base_url and "
            "site.contact in params.yaml."
        )


class RetryLater(SiteUnreachable):
    """The site asks to be left alone for longer than a run sleeps: `wait` seconds."""

    def __init__(self, wait: float, line: str) -> None:
        super().__init__(line)
        self.wait = wait


class TransientFailure(Exception):
    """A temporary failure. `wait` is what the site asked for, in seconds."""

    def __init__(
        self,
        detail: str,
        *,
        wait: float | None = None,
        reason: DownloadFailure = DownloadFailure.UNAVAILABLE,
    ) -> None:
        super().__init__(detail)
        self.detail, self.wait, self.reason = detail, wait, reason


async def raise_for_response(
    response: aiohttp.ClientResponse,
    kind: RequestKind,
    *,
    longest_wait: float,
    logged_in: bool,
    is_known: bool,
) -> None:
    """Raises what the answer means, unless it is what was asked for.

    Then its body is still to be read.

    longest_wait: seconds; a Retry-After beyond it is a reason to stop, not to sleep.
    is_known: this host has given a file before, so that a page with status 403 speaks
    of one file and not of this client.
    """
    host, status = response.url.authority, response.status
    page = await _page(response)
    raise_for_challenge(
        host, status, page, is_marked="cf-mitigated" in response.headers
    )
    if status == 403 and page:
        if kind is RequestKind.FILE and is_known:
            raise PermanentFailure(
                DownloadFailure.NOT_A_PICTURE,
                "status 403 with a page of its own",
                status=status,
            )
        raise ChallengePage(
            f"{host} refuses this client with a page of its own (403). Everything "
            "fetched is kept. "
            "Check site.contact, and run the same command again in an hour."
        )
    if status in (200, 206):
        _refuse_page(response, kind)
    elif status == 401 and (kind is RequestKind.API or logged_in):
        raise BadParameter(
            _about_login(host, await _message(response), logged_in=logged_in)
        )
    elif status in TEMPORARY:
        wait = retry_after(response.headers.get("Retry-After"))
        if wait is not None and wait > longest_wait:
            raise RetryLater(
                wait,
                f"{host} asks to wait {wait:,.0f} s ({status}). Everything fetched is "
                f"kept. {retry_hint(wait)}",
            )
        raise TransientFailure(f"status {status}", wait=wait)
    else:
        refused = await _refusal(response, kind)
        if status == 422 and _TIMED_OUT in refused.message.lower():
            raise TransientFailure(refused.detail)
        raise refused


async def _page(response: aiohttp.ClientResponse) -> bytes:
    """Returns the start of an answer that is a page; empty if it is none.

    Errors may be pages whatever their type.
    """
    is_html = "html" in response.content_type
    body = bytearray()
    if response.status >= 400 and "json" not in response.content_type:
        # The status has been said: a body that does not come takes nothing from it.
        with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
            async with asyncio.timeout(_LOOK):
                await read_start(response, body)
    elif is_html:
        await read_start(response, body)
    return bytes(body) if is_html or looks_like_html(body) else b""


async def read_start(response: aiohttp.ClientResponse, body: bytearray) -> None:
    """Appends the first PIECE of an answer, however it is cut on its way.

    The mark may be in the last of the cuts.
    """
    while len(body) < PIECE and (
        piece := await response.content.read(PIECE - len(body))
    ):
        body += piece


def raise_for_challenge(
    host: str, status: int, page: bytes, *, is_marked: bool = False
) -> None:
    """Raises ChallengePage where a page asks for a human.

    `page`: its first bytes; empty: it is none.
    """
    if is_marked or (page and _asks_for_a_human(status, page)):
        raise ChallengePage(
            f"challenge page from {host} ({status}): the site asks for a human. "
            "Everything fetched is "
            "kept. Wait an hour, then run the same command again."
        )


def looks_like_html(body: bytes | bytearray) -> bool:
    """Returns whether a body is a page, whatever its content type says."""
    return body[:512].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def parsed(url: str, body: bytes) -> Any:
    """Returns a body as JSON; raises Unavailable.

    Text that is cut off or spoilt may be whole the next time.
    """
    try:
        return json.loads(body)
    except ValueError as error:
        raise TransientFailure(f"{url} answered broken JSON: {error}") from error


def retry_after(value: str | None) -> float | None:
    """Returns the seconds that a Retry-After header asks for: a number or an HTTP date.

    None where it says neither.

    At most a year.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        # A date of an unknown zone ("-0000") comes without one; HTTP knows no other
        # than UTC.
        seconds = (
            moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        ).timestamp() - datetime.now(UTC).timestamp()
    return min(max(0.0, seconds), _LONGEST_ASKED) if math.isfinite(seconds) else None


def _asks_for_a_human(status: int, page: bytes) -> bool:
    text = _ORDINARY_SCRIPT.sub(b"", page.lower())
    marks = _CHALLENGE + (_LIKELY if status in _LIKELY_STATUSES else ())
    return any(mark in text for mark in marks)


def _refuse_page(response: aiohttp.ClientResponse, kind: RequestKind) -> None:
    """Raises where another kind of content came with status 200 than was asked for."""
    content_type = response.content_type
    if kind is RequestKind.API and "json" not in content_type:
        raise BadAnswer(
            f"{response.url.with_query(None)} answered {content_type}, not JSON. "
            "Nothing fetched is lost. "
            "Check site.base_url in params.yaml; if it is right, the site may be in "
            "maintenance: try again later."
        )
    if kind is RequestKind.FILE and "html" in content_type:
        raise TransientFailure(
            f"{content_type}: HTML where a picture belongs",
            reason=DownloadFailure.NOT_A_PICTURE,
        )
    if kind is RequestKind.EXPORT and (
        "html" in content_type or "json" in content_type
    ):
        raise TransientFailure(
            f"{content_type} where an export belongs",
            reason=DownloadFailure.NOT_A_PICTURE,
        )


async def _refusal(
    response: aiohttp.ClientResponse, kind: RequestKind
) -> PermanentFailure:
    status = response.status
    if 300 <= status < 400:
        target = response.headers.get("Location", "nowhere")
        return PermanentFailure(
            DownloadFailure.REDIRECTED,
            f"status {status} to {target[:200]}",
            status=status,
        )
    message = await _message(response)
    # The API says 410 for a page or a limit out of range, the static host for a file
    # that is gone.
    is_missing = status == 404 or (status == 410 and kind is not RequestKind.API)
    reason = DownloadFailure.NOT_FOUND if is_missing else DownloadFailure.FORBIDDEN
    return PermanentFailure(
        reason,
        f"status {status}" + (f": {message}" if message else ""),
        status=status,
        message=message,
    )


async def _message(response: aiohttp.ClientResponse) -> str:
    """Returns what a JSON error says, on one line (contract section 5.

    `message`, or `reason` for 403 and 404).
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
    said = (
        (tree.get("message") or tree.get("reason")) if isinstance(tree, dict) else None
    )
    return " ".join(str(said).split())[:300] if said else ""


def _about_login(host: str, message: str, *, logged_in: bool) -> str:
    said = f"401: {message}" if message else "401"
    if not logged_in:
        return (
            f"{host} asks for a login ({said}). Set site.login in params.yaml and "
            f"export {API_KEY}."
        )
    return (
        f"{host} refuses the login of site.login ({said}): the name or the key in "
        f"{API_KEY} is wrong or "
        "expired, or the account is blocked. Export a new key of the site as "
        f"{API_KEY}, or remove site.login."
    )
