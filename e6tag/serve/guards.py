"""What every request passes: is it meant for this server, and how does it end.

A page of another site must not use this server through its visitor's browser: neither
by a name of its own that leads here (DNS rebinding; `Host` tells), nor by requests
across sites (`Origin` and `Sec-Fetch-Site` tell). Programs send neither.
"""

import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web

from e6tag.serve import refusals
from e6tag.serve.metrics import Metrics
from e6tag.serve.refusals import Code, Refusal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

METRICS = web.AppKey("metrics", Metrics)
ALLOWED_HOSTS = web.AppKey("allowed_hosts", frozenset[str])

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Of every response."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
"""What may be a label: a client may call its method anything."""

_LOG = logging.getLogger(__name__)


@web.middleware
async def answer_in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns refusals and failures into responses in JSON, and counts them all."""
    start = time.perf_counter()
    response = await _answer(request, handler)
    response.headers.update(HEADERS)
    path = _route(request)
    metrics = request.app[METRICS]
    metrics.request_seconds.labels(path).observe(time.perf_counter() - start)
    method = request.method if request.method in METHODS else "other"
    metrics.requests.labels(path, method, response.status).inc()
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        return refusals.response(refusal)
    except web.HTTPException as error:
        return _of_router(error)
    except ConnectionError:  # nobody is there to read it
        raise
    # Whatever it is, the server stays up.
    except Exception:  # noqa: BLE001
        _LOG.exception("%s %s failed", request.method, request.path)
        return refusals.response(
            Refusal(Code.INTERNAL_ERROR, "The server failed; its log says why.")
        )


def _of_router(error: web.HTTPException) -> web.StreamResponse:
    """Returns what aiohttp refuses, in JSON."""
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        refusal = Refusal(Code.METHOD_NOT_ALLOWED, "This path has no such method.")
        return refusals.response(refusal, {"Allow": error.headers["Allow"]})
    if error.status == HTTPStatus.NOT_FOUND:
        return refusals.response(Refusal(Code.NOT_FOUND, "There is no such path."))
    return refusals.response(Refusal(Code.BAD_REQUEST, f"{error.reason}."))


def _route(request: web.Request) -> str:
    """Returns the path of the route: what anybody may ask for is no label."""
    resource = request.match_info.route.resource
    return "none" if resource is None else resource.canonical


@web.middleware
async def check_sender(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses what a page of another site made a browser send."""
    if not _is_own_host(request.host, request.app[ALLOWED_HOSTS]):
        raise Refusal(
            Code.FOREIGN_HOST,
            "This server does not go by that name. Start it with --allow-host NAME.",
        )
    if not _is_own_origin(request) or _is_across_sites(request):
        raise Refusal(Code.FOREIGN_ORIGIN, "Pages of other sites may not ask here.")
    return await handler(request)


def _is_own_host(host: str, allowed: frozenset[str]) -> bool:
    """Returns whether the name is one that no stranger can make lead here.

    Those are addresses, `localhost` and what was allowed by name.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name in allowed:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_own_origin(request: web.Request) -> bool:
    """Returns whether the page that asks, if it is one, is of this server."""
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == request.host.lower()
    except ValueError:
        return False


def _is_across_sites(request: web.Request) -> bool:
    """Returns whether a browser says that another site asks.

    A link to the page may stand anywhere.
    """
    site = request.headers.get("Sec-Fetch-Site", "none")
    mode = request.headers.get("Sec-Fetch-Mode")
    is_link = mode == "navigate" and request.method == "GET"
    return site not in ("same-origin", "none") and not is_link
