"""Fixtures: a server with a toy bundle, and a client."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.builders import toy_bundle
from tests.builders.tag_server import Server, serving


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose tags are colours."""
    folder = tmp_path_factory.mktemp("served")
    return toy_bundle.write_bundle(folder / "bundle", uncertainty=True)


@pytest.fixture(scope="session")
def server(toy: Path) -> Iterator[Server]:
    """A server for the whole session. To be asked, not ended."""
    with serving(toy) as started:
        yield started


@pytest.fixture
async def client(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of that server."""
    async with aiohttp.ClientSession(server.url) as session:
        yield session
