"""Opens the site that the parameters name: the embedded sandbox, e621, or any server that speaks its contract.

The one place of `pipeline` that imports `sandbox`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from aiohttp import encode_basic_auth

from pipeline import policy
from pipeline.errors import BadParameter, MissingPackage
from pipeline.params import Site
from pipeline.paths import Paths
from pipeline.site.client import Address, Client

E621 = Address("https://e621.net", "https://static1.e621.net")
API_KEY = "E6TAG_API_KEY"
"""Environment variable of the API key that goes with site.login. It is never a parameter, so it is never committed."""


@asynccontextmanager
async def open_site(site: Site, paths: Paths, stage: str, *, retries: int = 5) -> AsyncIterator[Client]:  # noqa: ARG001
    """Yields a client of the site; raises PolicyViolation where a real site lacks the operator's contact or consent.

    Requests and waits are counted for `stage` in paths.politeness.
    """
    policy.permit(site)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(_address(site))
        yield await stack.enter_async_context(
            Client.opened(
                address,
                agent=agent(site),
                authorization=_authorization(site),
                requests_per_second=policy.requests_per_second(site),
                concurrency=site.concurrency,
                retries=retries,
                is_remote=policy.is_remote(site),
            )
        )


def agent(site: Site) -> str:
    """Returns the User-Agent: project, version and whom to write to (contract section 5)."""
    return f"e6tag/{version('e6tag')} (by {site.contact or 'the operator of this machine, on its own sandbox'})"


@asynccontextmanager
async def _address(site: Site) -> AsyncIterator[Address]:
    if site.name == "e621":
        yield E621
    elif site.name == "custom":
        yield Address((site.base_url or "").rstrip("/"), (site.static_url or "").rstrip("/"))
    else:
        from sandbox.boards import open_board
        from sandbox.server import serve

        try:
            board = open_board(site.name, posts=site.sandbox_posts, day=site.sandbox_day)
        except RuntimeError as error:
            raise MissingPackage(str(error)) from error
        async with serve(board) as served:
            yield Address(served.base_url, served.static_url)


def _authorization(site: Site) -> str | None:
    if site.login is None:
        return None
    key = os.environ.get(API_KEY)
    if not key:
        raise BadParameter(
            f"site.login is {site.login} but the environment variable {API_KEY} is empty: "
            "export the API key there, or remove site.login."
        )
    return encode_basic_auth(site.login, key)
