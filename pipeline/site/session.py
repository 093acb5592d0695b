"""Opens the site that the parameters name.

The embedded sandbox, e621, or any server that speaks its contract.

The one place of `pipeline` that imports `sandbox`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from urllib.parse import urlsplit

from aiohttp import encode_basic_auth

from pipeline import policy
from pipeline.errors import BadParameter, MissingPackage
from pipeline.params import Site
from pipeline.paths import Paths
from pipeline.site import request_stats
from pipeline.site.client import Client, Endpoints, Timeouts
from pipeline.site.host_lock import lock_hosts
from pipeline.site.responses import API_KEY

E621 = Endpoints("https://e621.net", "https://static1.e621.net")


@asynccontextmanager
async def open_site(
    site: Site,
    paths: Paths,
    stage: str,
    *,
    retries: int = 5,
    patience: Timeouts | None = None,
) -> AsyncIterator[Client]:
    """Yields a client of the site.

    Raises PolicyViolation where a real site lacks the operator's contact or
    consent.

    A real site is asked by one process at a time: another one raises Busy. Requests and
    waits are counted for `stage` in paths.politeness.
    """
    policy.require_consent(site)
    is_remote, rate = policy.is_remote(site), policy.requests_per_second(site)
    authorization = _authorization(site)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(_address(site))
        silence = 0.0
        if is_remote:
            longest = (patience or Timeouts()).longest_wait
            purpose = f"{stage} of {paths.root.absolute()}"
            silence = stack.enter_context(
                lock_hosts(_hosts(address), purpose, longest_wait=longest)
            )
        figures = request_stats.RequestStats(user_agent(site), rate)
        await stack.enter_async_context(
            request_stats.record_stats(paths, stage, figures)
        )
        yield await stack.enter_async_context(
            Client.opened(
                address,
                agent=user_agent(site),
                authorization=authorization,
                requests_per_second=rate,
                concurrency=site.concurrency,
                retries=retries,
                is_remote=is_remote,
                figures=figures,
                patience=patience,
                silence=silence,
            )
        )


def user_agent(site: Site) -> str:
    """Returns the User-Agent.

    Project, version and whom to write to (contract section 5).
    """
    return (
        f"e6tag/{version('e6tag')} (by "
        f"{site.contact or 'the operator of this machine, on its own sandbox'})"
    )


@asynccontextmanager
async def _address(site: Site) -> AsyncIterator[Endpoints]:
    if site.name == "e621":
        yield E621
    elif site.name == "custom":
        yield Endpoints(
            (site.base_url or "").rstrip("/"), (site.static_url or "").rstrip("/")
        )
    else:
        from sandbox.boards import open_board
        from sandbox.server.app import serve

        try:
            board = open_board(
                site.name, posts=site.sandbox_posts, day=site.sandbox_day
            )
        except RuntimeError as error:
            raise MissingPackage(str(error)) from error
        async with serve(board) as served:
            yield Endpoints(served.base_url, served.static_url)


def _hosts(address: Endpoints) -> set[str]:
    return {
        urlsplit(url).hostname or "" for url in (address.base_url, address.static_url)
    }


def _authorization(site: Site) -> str | None:
    if site.login is None:
        return None
    key = os.environ.get(API_KEY)
    if not key:
        raise BadParameter(
            f"site.login is {site.login} but the environment variable {API_KEY} is "
            "empty: "
            "export the API key there, or remove site.login."
        )
    return encode_basic_auth(site.login, key)
