"""Refusals: statuses other than 200, and pages of the edge (contract section 5)."""

from collections.abc import Collection
from dataclasses import dataclass

from aiohttp import web

from sandbox.faults.base import PICTURES, Aimed, page, retry_after
from sandbox.server.service import json_response

CHALLENGE = """<p>Checking if the site connection is secure</p>
<script src="/cdn-cgi/challenge-platform/h/g/orchestrate/chl_page/v1"></script>"""


@dataclass(frozen=True, slots=True)
class Down(Aimed):
    """503 with a page of HTML, and Retry-After in seconds if given.

    The site does so in maintenance, and to more than 2 requests a second.
    """

    retry_after: int | None = None

    async def _spoil(self, _request: web.Request) -> web.StreamResponse:
        headers = retry_after(self.retry_after)
        return page(503, "503 Service Unavailable", headers=headers)


@dataclass(frozen=True, slots=True)
class Throttled(Aimed):
    """429 with one line of text, and Retry-After in seconds if given."""

    retry_after: int | None = None

    async def _spoil(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=429,
            text="Throttled: Too many requests",
            headers=retry_after(self.retry_after),
        )


@dataclass(frozen=True, slots=True)
class Failing(Aimed):
    """A status of the 5xx kind.

    500 and 501 are JSON with the code of an incident, others the edge's page of HTML.
    """

    status: int = 500

    async def _spoil(self, _request: web.Request) -> web.StreamResponse:
        if self.status in (500, 501):
            text = "An unexpected error occurred."
            body = {"success": False, "message": text, "code": "c0ffee621"}
            return json_response(body, self.status)
        text = "<p>Web server is returning an unknown error</p>"
        return page(self.status, f"Error {self.status}", text)


@dataclass(frozen=True, slots=True)
class Challenge(Aimed):
    """The challenge page, recognised by its header, its body or both."""

    status: int = 403
    header: bool = True  # cf-mitigated: challenge
    body: bool = True  # the words and the script; else an empty page

    async def _spoil(self, _request: web.Request) -> web.StreamResponse:
        headers = {"cf-mitigated": "challenge"} if self.header else None
        if not self.body:
            return page(self.status, "", headers=headers)
        return page(self.status, "Just a moment...", CHALLENGE, headers)


@dataclass(frozen=True, slots=True)
class Forbidden(Aimed):
    """403 to every agent, with the edge's page of HTML or as the site's JSON."""

    html: bool = True

    async def _spoil(self, _request: web.Request) -> web.StreamResponse:
        if self.html:
            text = "<p>Send a descriptive User-Agent that names a contact.</p>"
            return page(403, "403 Forbidden", text)
        return json_response({"success": False, "reason": "Access Denied"}, 403)


@dataclass(frozen=True, slots=True)
class Missing(Aimed):
    """404 for files that are there, such as an export that the index lists."""

    where: str | Collection[str] = PICTURES

    async def _spoil(self, _request: web.Request) -> web.StreamResponse:
        raise web.HTTPNotFound


@dataclass(frozen=True, slots=True)
class Redirected(Aimed):
    """302 to the same path of another origin, `to`."""

    to: str = "http://127.0.0.1:9"  # the port named discard: nobody listens there

    async def _spoil(self, request: web.Request) -> web.StreamResponse:
        headers = {"Location": f"{self.to}{request.path_qs}"}
        return web.Response(status=302, headers=headers)
