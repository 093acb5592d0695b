"""The log of requests, and responses that a fault spoils."""

import asyncio
import hashlib
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from sandbox import faults
from sandbox.records import Board
from sandbox.server.app import serve
from sandbox.server.exports import COLUMNS
from tests.builders.tiny_board import (
    AGENT,
    answer,
    faulty,
    link,
    md5_of,
    post_of,
    refusal,
    rows_of,
)


async def test_every_request_is_logged_in_memory_and_in_the_file(
    board: Board, tmp_path: Path
) -> None:
    log = tmp_path / "requests.jsonl"
    async with (
        serve(board, workers=1, log=log) as site,
        aiohttp.ClientSession(headers={"User-Agent": AGENT}) as session,
    ):
        await answer(session, f"{site.base_url}/posts.json?limit=1")
        await (await session.get(link(site, board.posts[0]))).read()
        await (await session.get(link(site, board.posts[1]))).read()
        await asyncio.sleep(0.05)
        seen = [
            (request.host, request.path, request.status, request.complete)
            for request in site.requests
        ]
    assert [(host, status, complete) for host, _, status, complete in seen] == [
        ("site", 200, True),
        ("static", 200, True),
        ("static", 404, True),
    ]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [
        (line["host"], line["path"], line["status"], line["complete"]) for line in lines
    ] == seen
    assert lines[0]["query"] == "limit=1"
    assert lines[1]["bytes_sent"] == board.posts[0].file_size
    assert {line["agent"] for line in lines} == {AGENT}


async def test_truncated_body_breaks_off_and_is_logged_as_incomplete(
    board: Board,
) -> None:
    async with faulty(board, faults.Truncated({board.posts[0].md5})) as (site, session):
        with pytest.raises(aiohttp.ClientPayloadError):
            await (await session.get(link(site, board.posts[0]))).read()
        await asyncio.sleep(0.05)
        assert [
            (request.complete, request.bytes_sent) for request in site.requests
        ] == [(False, 0)]


async def test_client_that_leaves_early_is_logged_as_incomplete(board: Board) -> None:
    async def huge(_request: web.Request) -> web.Response:
        return web.Response(
            body=bytes(32 << 20)
        )  # more than the buffers between two sockets hold

    async with faulty(board, huge) as (site, session):
        response = await session.get(f"{site.base_url}/posts.json")
        await response.content.readexactly(1_000)
        response.close()
        await asyncio.sleep(0.2)
        assert [(request.status, request.complete) for request in site.requests] == [
            (200, False)
        ]


async def test_failure_inside_is_answered_and_logged(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_request: web.Request) -> None:
        raise RuntimeError("a bug")

    async with faulty(board, broken) as (site, session):
        status, body = await refusal(session, f"{site.base_url}/posts.json")
        assert (status, body["success"]) == (500, False)
        assert site.requests[0].status == 500
    assert "a bug" in caplog.text


@pytest.mark.parametrize(
    ("fault", "content_type"),
    [
        (faults.WrongBytes, "image/png"),
        (faults.Html, "text/html"),
        (faults.Bomb, "image/png"),
    ],
)
async def test_fault_answers_for_its_md5s_alone(
    board: Board, fault: Any, content_type: str
) -> None:
    spoiled, sound = board.posts[0], post_of(board, 5)
    async with faulty(board, fault({spoiled.md5})) as (site, session):
        for post, same in ((spoiled, False), (sound, True)):
            async with session.get(link(site, post)) as response:
                assert response.status == 200
                assert (md5_of(await response.read()) == post.md5) is same
                assert same or response.content_type == content_type


async def test_service_that_is_down_says_when_to_come_back(board: Board) -> None:
    fault = faults.all_of(
        faults.Down("/posts", retry_after=7), faults.Html({board.posts[0].md5})
    )
    async with (
        faulty(board, fault) as (site, session),
        session.get(f"{site.base_url}/posts.json") as response,
    ):
        assert (response.status, response.headers["Retry-After"]) == (503, "7")


async def test_wrong_checksum_is_only_in_the_index(board: Board) -> None:
    async with faulty(board, faults.WrongChecksum("tags")) as (site, session):
        wrong = []
        for row in await answer(session, f"{site.base_url}/db_exports.json"):
            body = await (await session.get(row["url"])).read()
            if hashlib.sha256(body).hexdigest() != row["checksum"]:
                wrong.append(row["name"])
    assert wrong == ["tags"]


async def test_missing_column_passes_the_checksum(board: Board) -> None:
    async with faulty(board, faults.MissingColumn("is_deleted")) as (site, session):
        index = {
            row["name"]: row
            for row in await answer(session, f"{site.base_url}/db_exports.json")
        }
        body = await (await session.get(index["posts"]["url"])).read()
    assert hashlib.sha256(body).hexdigest() == index["posts"]["checksum"]
    assert list(rows_of(body)[0]) == [
        name for name in COLUMNS["posts"].split(",") if name != "is_deleted"
    ]


async def test_planted_file_has_the_md5_of_its_post(board: Board) -> None:
    planted = faults.Planted(board, {1: faults.bomb()})
    async with (
        serve(planted, workers=1) as site,
        aiohttp.ClientSession(headers={"User-Agent": AGENT}) as session,
    ):
        data = await (await session.get(link(site, planted.posts[0]))).read()
    assert md5_of(data) == planted.posts[0].md5
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))


def test_bomb_is_small_and_well_formed() -> None:
    data = faults.bomb()
    assert len(data) < 1_000
    assert struct.unpack(">II", data[16:24]) == (60_000, 60_000)
    assert zlib.crc32(data[12:29]) == struct.unpack(">I", data[29:33])[0]
