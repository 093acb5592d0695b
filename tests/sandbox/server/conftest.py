"""Fixtures: the tiny board, served, and a client."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox.records import Board
from sandbox.server.app import Site, serve
from tests.builders.tiny_board import AGENT, TinyBoard


@pytest.fixture(scope="module")
def board() -> TinyBoard:
    return TinyBoard()


@pytest.fixture
async def site(board: Board) -> AsyncIterator[Site]:
    async with serve(board, workers=1) as served:
        yield served


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"User-Agent": AGENT}) as session:
        yield session
