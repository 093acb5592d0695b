"""The faults of the sandbox do what they promise, over real sockets."""

import asyncio
import csv
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sandbox import faults
from sandbox.board.drawn import SandboxBoard
from sandbox.faults import parse
from sandbox.server.app import Site, serve

AGENT = {"User-Agent": "e6tag-tests/1.0 (by tests@example.org)"}
ROOT = Path(__file__).parents[2]
POSTS = "/data/db_export/posts.csv.gz"


@pytest.fixture(scope="module")
def tiny() -> SandboxBoard:
    return SandboxBoard(posts=30)


@asynccontextmanager
async def spoilt(
    board: Any, fault: Any
) -> AsyncIterator[tuple[Site, aiohttp.ClientSession]]:
    async with (
        serve(board, workers=1, fault=fault) as site,
        aiohttp.ClientSession(headers=AGENT) as session,
    ):
        yield site, session


async def listing(
    session: aiohttp.ClientSession, site: Site, query: str = ""
) -> list[int]:
    async with session.get(f"{site.base_url}/posts.json?{query}") as response:
        return [post["id"] for post in (await response.json())["posts"]]


@pytest.mark.parametrize(
    ("fault", "status", "content_type", "header"),
    [
        pytest.param(
            faults.Down(retry_after=7),
            503,
            "text/html",
            ("Retry-After", "7"),
            id="503 with Retry-After",
        ),
        pytest.param(
            faults.Down(), 503, "text/html", ("Retry-After", None), id="503 without"
        ),
        pytest.param(
            faults.Throttled(retry_after=7),
            429,
            "text/plain",
            ("Retry-After", "7"),
            id="429",
        ),
        pytest.param(
            faults.Failing(), 500, "application/json", ("Retry-After", None), id="500"
        ),
        pytest.param(
            faults.Failing(status=520),
            520,
            "text/html",
            ("Retry-After", None),
            id="520",
        ),
        pytest.param(
            faults.Challenge(),
            403,
            "text/html",
            ("cf-mitigated", "challenge"),
            id="challenge 403",
        ),
        pytest.param(
            faults.Challenge(status=200, header=False),
            200,
            "text/html",
            ("cf-mitigated", None),
            id="200",
        ),
        pytest.param(
            faults.Forbidden(), 403, "text/html", ("cf-mitigated", None), id="403"
        ),
        pytest.param(
            faults.Forbidden(html=False),
            403,
            "application/json",
            ("cf-mitigated", None),
            id="403 JSON",
        ),
        pytest.param(
            faults.Missing("/"), 404, "application/json", ("Location", None), id="404"
        ),
        pytest.param(
            faults.Redirected(to="http://127.0.0.1:9"),
            302,
            "application/octet-stream",
            ("Location", "http://127.0.0.1:9/posts.json?limit=1"),
            id="redirect",
        ),
    ],
)
async def test_refusals_look_as_the_site_sends_them(
    tiny: SandboxBoard,
    fault: Any,
    status: int,
    content_type: str,
    header: tuple[str, str | None],
) -> None:
    async with (
        spoilt(tiny, fault) as (site, session),
        session.get(
            f"{site.base_url}/posts.json?limit=1", allow_redirects=False
        ) as response,
    ):
        assert (response.status, response.content_type) == (status, content_type)
        assert response.headers.get(header[0]) == header[1]


async def test_fault_turns_honest_after_so_many_requests_of_all_or_of_each_path(
    tiny: SandboxBoard,
) -> None:
    async def statuses(fault: faults.Fault) -> list[int]:
        async with spoilt(tiny, fault) as (site, session):
            found = []
            for path in (
                "/posts.json",
                "/tags.json",
                "/posts.json",
                "/tags.json",
                "/posts.json",
            ):
                async with session.get(site.base_url + path) as response:
                    found.append(response.status)
            return found

    assert await statuses(faults.Down(times=2)) == [503, 503, 200, 200, 200]
    assert await statuses(faults.Down(times=2, per_path=True)) == [
        503,
        503,
        503,
        503,
        200,
    ]
    assert await statuses(faults.Down("/tags")) == [200, 503, 200, 503, 200]
    assert (
        await statuses(
            faults.all_of(faults.Down("/tags", 1), faults.Throttled(times=1))
        )
        == [429, 503] + [200] * 3
    )


@pytest.mark.parametrize(
    ("fault", "error", "arrives"),
    [
        pytest.param(
            faults.Truncated(), aiohttp.ClientPayloadError, 0.5, id="truncated"
        ),
        pytest.param(
            faults.Reset(), (ConnectionResetError, aiohttp.ClientError), 0.5, id="reset"
        ),
        pytest.param(
            faults.Unfinished(),
            aiohttp.ClientPayloadError,
            0.5,
            id="chunks without an end",
        ),
        pytest.param(faults.Shortened(), None, 0.5, id="short with a right length"),
        pytest.param(
            faults.Stalled(seconds=0.2),
            aiohttp.ClientPayloadError,
            0.0,
            id="stalled after the head",
        ),
        pytest.param(
            faults.Stalled(share=0.5, seconds=0.2),
            aiohttp.ClientPayloadError,
            0.5,
            id="stalled midway",
        ),
        pytest.param(
            faults.Dripping(pause=0.001, bytes_at_once=500), None, 1.0, id="dripping"
        ),
        pytest.param(faults.Flipped(), None, 1.0, id="flipped"),
    ],
)
async def test_broken_deliveries_send_so_much_and_end_so(
    tiny: SandboxBoard, fault: Any, error: Any, arrives: float
) -> None:
    async with (
        spoilt(tiny, None) as (site, session),
        session.get(site.static_url + POSTS) as response,
    ):
        whole = await response.read()
    async with (
        spoilt(tiny, fault) as (site, session),
        session.get(site.static_url + POSTS) as response,
    ):
        assert (response.status, "ETag" in response.headers) == (200, True)
        body, raised = bytearray(), None
        try:
            async for piece in response.content.iter_any():
                body += piece
        except (aiohttp.ClientError, ConnectionError) as met:
            raised = met
        assert isinstance(raised, error) if error else raised is None
        assert len(body) == int(len(whole) * arrives)
        assert (bytes(body) == whole[: len(body)]) is not isinstance(
            fault, faults.Flipped
        )
        await asyncio.sleep(0.05)
        assert [request.complete for request in site.requests] == [error is None]


async def test_silent_server_sends_not_even_a_head(tiny: SandboxBoard) -> None:
    async with spoilt(tiny, faults.Silent(seconds=0.2)) as (site, session):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.get(f"{site.base_url}/posts.json")
        await asyncio.sleep(0.05)
        assert {request.complete for request in site.requests} == {
            False
        }  # aiohttp asks twice by itself


async def test_stalled_answer_ends_when_the_client_leaves(tiny: SandboxBoard) -> None:
    async with spoilt(tiny, faults.Stalled()) as (site, session):
        with pytest.raises(TimeoutError):
            async with session.get(
                f"{site.base_url}/posts.json", timeout=aiohttp.ClientTimeout(total=0.2)
            ) as response:
                await response.read()
        await asyncio.sleep(0.2)
        assert [request.complete for request in site.requests] == [False]


async def test_swapped_export_breaks_off_once_and_is_tomorrows_from_then_on(
    tiny: SandboxBoard,
) -> None:
    tomorrow = SandboxBoard(posts=30, day=2)

    async def read(fault: faults.Fault) -> list[tuple[bool, bool]]:
        """Whether a file came whole.

        And whether it is as the index read just before says.
        """
        async with spoilt(tiny, fault) as (site, session):
            seen = []
            for _ in range(4):
                index = await (
                    await session.get(f"{site.base_url}/db_exports.json")
                ).json()
                row = next(row for row in index if row["name"] == "posts")
                try:
                    body = await (await session.get(row["url"])).read()
                except aiohttp.ClientPayloadError:
                    seen.append((False, False))
                else:
                    seen.append(
                        (True, hashlib.sha256(body).hexdigest() == row["checksum"])
                    )
            return seen

    broken, old_index, right = (False, False), (True, False), (True, True)
    assert await read(faults.Swapped(tomorrow)) == [broken, right, right, right]
    assert await read(faults.Swapped(tomorrow, index_lag=1)) == [
        broken,
        old_index,
        right,
        right,
    ]
    assert await read(faults.Swapped(tomorrow, index_lag=None)) == [
        broken,
        old_index,
        old_index,
        old_index,
    ]


async def export(board: SandboxBoard, fault: Any) -> bytes:
    """The posts export, whose index agrees with it."""
    async with spoilt(board, fault) as (site, session):
        index = await (await session.get(f"{site.base_url}/db_exports.json")).json()
        row = next(row for row in index if row["name"] == "posts")
        body = await (await session.get(row["url"])).read()
        assert (hashlib.sha256(body).hexdigest(), len(body)) == (
            row["checksum"],
            row["file_size"],
        )
        return body


def rows_of(body: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(gzip.decompress(body).decode(), newline="")))


async def test_export_with_more_columns_or_doubled_rows_agrees_with_its_index(
    tiny: SandboxBoard,
) -> None:
    wide = rows_of(await export(tiny, faults.ExtraColumns()))
    assert (wide[0][0], wide[0][-1], wide[0][1]) == ("news", "more_news", "id")
    assert {len(row) for row in wide} == {len(wide[0])}
    header, *rows = rows_of(await export(tiny, faults.DoubledRows()))
    assert len(rows) == 33
    assert len({row[header.index("id")] for row in rows}) == 30


async def test_bombs_are_small_sound_and_large_inside(tiny: SandboxBoard) -> None:
    body = await export(tiny, faults.ExportBomb(megabytes=64))
    assert len(body) < 100_000
    assert len(gzip.decompress(body)) > 64 << 20
    async with spoilt(tiny, faults.JsonBomb(megabytes=8)) as (site, session):
        response = await session.get(f"{site.base_url}/posts.json")
        assert response.headers["Content-Encoding"] == "gzip"
        assert int(response.headers["Content-Length"]) < 20_000
        assert json.loads(await response.read()) == []


async def test_pages_double_repeat_or_fall_short(tiny: SandboxBoard) -> None:
    async with spoilt(tiny, None) as (site, session):
        first = await listing(session, site, "limit=5")
        second = await listing(session, site, f"limit=5&page=b{first[-1]}")
    async with spoilt(tiny, faults.DoubledPosts()) as (site, session):
        assert await listing(session, site, "limit=5") == first
        assert await listing(session, site, f"limit=5&page=b{first[-1]}") == [
            first[-1],
            *second[:4],
        ]
        assert await listing(session, site, "limit=5&page=b1") == []
    async with spoilt(tiny, faults.RepeatingCursor()) as (site, session):
        assert await listing(session, site, f"limit=5&page=b{first[-1]}") == first
    async with spoilt(tiny, faults.ShortPages(posts=2)) as (site, session):
        assert await listing(session, site, "limit=5") == first[:2]
        assert await listing(session, site, f"limit=5&page=b{first[1]}") == first[2:4]
        async with session.get(f"{site.base_url}/posts.json?limit=x") as refused:
            assert refused.status == 410


async def test_answers_have_more_keys_or_another_shape(tiny: SandboxBoard) -> None:
    async with spoilt(tiny, faults.ExtraKeys()) as (site, session):
        post = (
            await (await session.get(f"{site.base_url}/posts.json?limit=1")).json()
        )["posts"][0]
        assert post["news"] == post["file"]["news"] == {"since": 2027}
        assert post["tags"]["news"] == []
        index = await (await session.get(f"{site.base_url}/db_exports.json")).json()
        assert all("news" in row for row in index)
    async with spoilt(tiny, faults.V2Anyway()) as (site, session):
        answer = await (await session.get(f"{site.base_url}/posts.json?limit=2")).json()
        assert [set(post) & {"file", "files"} for post in answer] == [{"files"}] * 2


async def test_post_of_two_thousand_tags_is_in_export_and_answer(
    tiny: SandboxBoard,
) -> None:
    crowded = faults.ManyTags(tiny)
    header, row, *_ = rows_of(await export(crowded, None))  # type: ignore[arg-type]
    names = row[header.index("tag_string")].split(" ")
    assert (len(names), names) == (2_000, sorted(set(names)))
    async with spoilt(crowded, None) as (site, session):
        post = (
            await (
                await session.get(
                    f"{site.base_url}/posts/{row[header.index('id')]}.json"
                )
            ).json()
        )["post"]
        assert sum(map(len, post["tags"].values())) == 2_000


# ---- by name ----


def test_faults_by_name_are_those_one_would_write(tiny: SandboxBoard) -> None:
    board, fault = parse.spoil(tiny, lambda: tiny, ["many-tags:tags=500"])
    assert fault is None
    assert len(board.posts[0].tags) == 500
    assert parse.FAULTS["repeating-cursor"] is faults.RepeatingCursor
    for name, kind in parse.FAULTS.items():
        assert parse.spoil(
            tiny,
            lambda: tiny,
            [f"{name}:column=md5" if kind is faults.MissingColumn else name],
        )[1]
        assert f"{name}: " in parse.described()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dwon", "there is no fault 'dwon'; choose among forbidden, throttled"),
        (
            "down:seconds=3",
            "the fault down takes no 'seconds'; it takes where, times, per_path",
        ),
        (
            "down:times=few",
            "the fault down cannot have times=few: Input should be a valid integer",
        ),
        (
            "missing-column",
            "the fault missing-column needs column: --fault missing-column:column=...",
        ),
        (
            "missing-column:colour",
            "the export posts has no column 'colour'; it has id, uploader_id",
        ),
        ("wrong-checksum:post", "the site has no export 'post'; it has artists, bulk"),
        ("swapped:post", "the site has no export 'post'; it has artists, bulk"),
        ("doubled-rows:post", "the site has no export 'post'; it has artists, bulk"),
        ("down:/data/,/posts", "the fault down has where twice: /data/ and /posts"),
        ("many-tags:post_id=4711000", "the board has no post 4711000"),
    ],
)
def test_fault_that_cannot_be_is_refused_with_what_can(
    tiny: SandboxBoard, text: str, says: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as raised:
        parse.spoil(tiny, lambda: tiny, [text])
    assert len(str(raised.value).splitlines()) == 1


def test_wrong_fault_on_the_command_line_is_one_line() -> None:
    command = [
        sys.executable,
        "-m",
        "sandbox",
        "--posts",
        "30",
        "--port",
        "0",
        "--fault",
        "dwon",
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("sandbox: there is no fault 'dwon'; choose among")
    assert len(result.stderr.splitlines()) == 1


def test_person_can_ask_for_faults_on_the_command_line() -> None:
    command = [sys.executable, "-m", "sandbox", "--posts", "30", "--port", "0"]
    command += [
        "--fault",
        "down:/posts,times=1,retry_after=4",
        "--fault",
        "challenge:/tags",
    ]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout
        base_url = server.stdout.readline().split()[1]

        def status(path: str) -> tuple[int, str | None]:
            request = urllib.request.Request(base_url + path, headers=AGENT)  # noqa: S310
            try:
                with urllib.request.urlopen(request) as answer:  # noqa: S310
                    return answer.status, None
            except urllib.error.HTTPError as refusal:
                with refusal:
                    return refusal.code, refusal.headers.get(
                        "Retry-After"
                    ) or refusal.headers.get("cf-mitigated")

        assert [
            status(path) for path in ("/posts.json", "/posts.json", "/tags.json")
        ] == [
            (503, "4"),
            (200, None),
            (403, "challenge"),
        ]
    finally:
        server.terminate()
        server.communicate()


def test_help_lists_the_faults() -> None:
    command = [sys.executable, "-m", "sandbox", "--fault", "help"]
    lines = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {line.split(":", 1)[0] for line in lines} == {
        *parse.FAULTS,
        parse.MANY_TAGS,
    }
