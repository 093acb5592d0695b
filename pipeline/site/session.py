"""Opens the site that the parameters name.

It is the embedded sandbox, e621, or any server with e621's API.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import encode_basic_auth

from pipeline import policy
from pipeline.errors import BadParameter
from pipeline.params.site import E621_URL, Site
from pipeline.paths import Paths
from pipeline.site import boards, request_stats
from pipeline.site.client import Client
from pipeline.site.host_lock import lock_hosts
from pipeline.site.responses import API_KEY
from pipeline.site.transport import Endpoints, Timeouts

E621 = Endpoints(E621_URL, "https://static1.e621.net")


@asynccontextmanager
async def open_site(
    site: Site,
    paths: Paths,
    stage: str,
    *,
    retries: int = 5,
    timeouts: Timeouts | None = None,
) -> AsyncIterator[Client]:
    """Yields a client of the site.

    Raises PolicyViolation where a real site lacks the operator's contact or consent.
    One process at a time uses a real site: another one raises Busy. Requests and waits
    are counted for `stage` in paths.politeness.
    """
    policy.require_consent(site)
    is_remote = policy.is_remote(site)
    rate = policy.requests_per_second(site)
    authorization = _authorization(site)
    agent = user_agent(site)
    async with AsyncExitStack() as stack:
        endpoints = await stack.enter_async_context(_open_endpoints(site))
        backoff = 0.0
        if is_remote:
            longest_wait = (timeouts or Timeouts()).longest_wait
            purpose = f"{stage} of {paths.root.absolute()}"
            hosts = _hosts(endpoints)
            lock = lock_hosts(hosts, purpose, longest_wait=longest_wait)
            backoff = stack.enter_context(lock)
        stats = request_stats.RequestStats(agent, rate)
        recording = request_stats.record_stats(paths, stage, stats)
        await stack.enter_async_context(recording)
        opening = Client.opened(
            endpoints,
            agent=agent,
            authorization=authorization,
            requests_per_second=rate,
            concurrency=site.concurrency,
            retries=retries,
            is_remote=is_remote,
            stats=stats,
            timeouts=timeouts,
            backoff=backoff,
        )
        yield await stack.enter_async_context(opening)


def user_agent(site: Site) -> str:
    """Returns the User-Agent: project, version and contact (contract section 5)."""
    contact = site.contact or "the operator of this machine, on its own sandbox"
    return f"e6tag/{version('e6tag')} (by {contact})"


@asynccontextmanager
async def _open_endpoints(site: Site) -> AsyncIterator[Endpoints]:
    """Yields where the site is; serves the sandbox during the block."""
    if site.name == "e621":
        yield E621
        return
    if site.name == "custom":
        base_url = (site.base_url or "").rstrip("/")
        static_url = (site.static_url or "").rstrip("/")
        yield Endpoints(base_url, static_url)
        return
    board = boards.open_board(site)
    async with boards.serve(board) as served:
        yield Endpoints(served.base_url, served.static_url)


def _hosts(endpoints: Endpoints) -> set[str]:
    urls = (endpoints.base_url, endpoints.static_url)
    return {urlsplit(url).hostname or "" for url in urls}


def _authorization(site: Site) -> str | None:
    if site.login is None:
        return None
    key = os.environ.get(API_KEY)
    if not key:
        raise BadParameter(
            f"site.login is {site.login} but the environment variable {API_KEY} is "
            "empty: export the API key there, or remove site.login."
        )
    if _is_in_the_clear(site):
        raise BadParameter(
            f"site.base_url {site.base_url} is not https: the API key would be sent "
            "for everybody on the way to read. Use https, or remove site.login."
        )
    return encode_basic_auth(site.login, key)


def _is_in_the_clear(site: Site) -> bool:
    """Returns whether requests go unencrypted to another machine."""
    parts = urlsplit(site.base_url or "https://")
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost":
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True
