"""The sandbox's two servers over real sockets, on a board of a few posts."""

import asyncio
import csv
import gzip
import hashlib
import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from sandbox import faults
from sandbox.board.records import CATEGORIES, Board, Post, Relation, Tag
from sandbox.server.app import LOGIN, Site, is_welcome, serve
from sandbox.server.exports import COLUMNS, build_exports, stored_gzip
from sandbox.server.search import BadQuery, Index, parse
from sandbox.server.serializers import site_time
from sandbox.server.variants import (
    NoPicture,
    has_sample,
    preview_size,
    render,
    sample_size,
)

AGENT = "e6tag-tests/1.0 (by tests@example.org)"
START = datetime(2020, 1, 15, 12, 0, 0, 120_000, tzinfo=UTC)

TAGS = {
    "fox": 5,
    "canine": 5,
    "mammal": 5,
    "standing": 0,
    "sitting": 0,
    "young": 0,
    "jan": 1,
    "♀_only": 0,
    "hi_res": 7,
}


def md5_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def picture(width: int, height: int, seed: int) -> bytes:
    """A PNG of two colours, the lower half transparent."""
    drawn = Image.new("RGBA", (width, height), (200, seed % 256, 30, 255))
    drawn.paste((0, 0, 0, 0), (0, height // 2, width, height))
    drawn.save(out := io.BytesIO(), "PNG")
    return out.getvalue()


class TinyBoard:
    """Nine posts, one for each thing that the servers treat differently."""

    name, day, now = "tiny", 1, datetime(2026, 7, 1, 5, 0, tzinfo=UTC)

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self.posts: Sequence[Post] = (
            self._post(1, "fox standing", 60, 40),
            self._post(2, "fox sitting", 60, 40, is_deleted=True),
            self._post(4, "fox young", 50, 50, rating="q"),
            self._post(5, "fox young", 50, 60, rating="s"),
            self._post(7, "sitting unknown_tag", 70, 50, is_hidden_from_anonymous=True),
            self._post(
                8,
                "fox hi_res standing",
                896,
                1200,
                description='a, "b"\r\nc',
                parent_id=1,
                source="x\ny",
            ),
            self._post(
                9,
                "jan standing",
                640,
                320,
                bg_color="ffffff",
                is_pending=True,
                rating="e",
            ),
            self._post(11, "sitting", 40, 40, ext="webm", duration=2.5),
            self._post(12, "♀_only", 1, 1, updated_at=None),
        )
        carried = [
            tag for post in self.posts if not post.is_deleted for tag in post.tags
        ]
        self.tags = tuple(
            Tag(place, name, category, carried.count(name), START, START)
            for place, (name, category) in enumerate(TAGS.items(), start=1)
        )
        self.aliases = (
            Relation(1, "vulpine", "vulpes", "active", None, START, 1),
            Relation(2, "vulpes", "fox", "active", START, START, 1),
            Relation(
                3,
                "stands",
                "standing",
                "deleted",
                START,
                START,
                1,
                reason='no, "never"',
            ),
        )
        self.implications = (
            Relation(1, "fox", "canine", "active", START, START, 1),
            Relation(2, "canine", "mammal", "active", START, START, 1),
            Relation(3, "mammal", "jan", "pending", START, START, 1),
        )

    def _post(
        self,
        number: int,
        tags: str,
        width: int,
        height: int,
        *,
        ext: str = "png",
        **more: Any,
    ) -> Post:
        data = b"not a picture" if ext == "webm" else picture(width, height, number)
        md5 = md5_of(data)
        self._files[md5] = data
        post = Post(
            number,
            3,
            START + timedelta(days=number),
            START + timedelta(days=number, seconds=1),
            md5,
            ext,
            width,
            height,
            len(data),
            "s",
            tuple(sorted(tags.split())),
            change_seq=1000 - number,
            up_score=number,
        )
        return replace(post, **more)

    def original(self, md5: str) -> bytes:
        """As every board's."""
        return self._files[md5]


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


@asynccontextmanager
async def faulty(
    board: Board, fault: faults.Fault
) -> AsyncIterator[tuple[Site, aiohttp.ClientSession]]:
    async with (
        serve(board, workers=1, fault=fault) as site,
        aiohttp.ClientSession(headers={"User-Agent": AGENT}) as session,
    ):
        yield site, session


async def answer(client: aiohttp.ClientSession, url: str, **options: Any) -> Any:
    async with client.get(url, **options) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def refusal(
    client: aiohttp.ClientSession, url: str, **options: Any
) -> tuple[int, Any]:
    async with client.get(url, **options) as response:
        return response.status, await response.json()


def ids(listing: Any) -> list[int]:
    return [post["id"] for post in listing["posts"]]


def link(site: Site, post: Post, kind: str = "", ext: str | None = None) -> str:
    folder = f"{site.static_url}/data{kind}/{post.md5[:2]}/{post.md5[2:4]}"
    return f"{folder}/{post.md5}.{ext or post.ext}"


def post_of(board: Board, number: int) -> Post:
    return next(post for post in board.posts if post.id == number)


# ---- listing ----


async def test_search_lists_newest_first_and_leaves_out_the_deleted(
    site: Site, client: aiohttp.ClientSession
) -> None:
    assert ids(await answer(client, f"{site.base_url}/posts.json")) == [
        12,
        11,
        9,
        8,
        7,
        5,
        4,
        1,
    ]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        pytest.param("a4", [7, 5], id="a gives those just above, high to low"),
        pytest.param("b8", [7, 5], id="b gives those just below, high to low"),
        pytest.param("a12", [], id="above the newest there is nothing"),
        pytest.param("2", [9, 8], id="numbers count pages"),
        pytest.param("750", [], id="the last page that may be asked for"),
    ],
)
async def test_pages_and_cursors(
    site: Site, client: aiohttp.ClientSession, page: str, expected: list[int]
) -> None:
    url = f"{site.base_url}/posts.json?limit=2&page={page}"
    assert ids(await answer(client, url)) == expected


async def test_cursor_overrides_the_order_of_the_query(
    site: Site, client: aiohttp.ClientSession
) -> None:
    url = f"{site.base_url}/posts.json?tags=order:id&limit=3"
    assert ids(await answer(client, url)) == [1, 4, 5]
    assert ids(await answer(client, f"{url}&page=b9")) == [8, 7, 5]


@pytest.mark.parametrize(
    "query",
    [
        "limit=321",
        "limit=x",
        "page=0",
        "page=751",
        "page=z9",
        "page=b2147483648",
        "page=a",
    ],
)
async def test_page_or_limit_out_of_range_is_gone(
    site: Site, client: aiohttp.ClientSession, query: str
) -> None:
    status, body = await refusal(client, f"{site.base_url}/posts.json?{query}")
    assert (status, body["success"], body["code"]) == (410, False, None)
    assert body["message"]


async def test_limit_zero_gives_an_empty_page(
    site: Site, client: aiohttp.ClientSession
) -> None:
    assert await answer(client, f"{site.base_url}/posts.json?limit=0") == {"posts": []}


async def test_more_than_forty_tags_are_unprocessable(
    site: Site, client: aiohttp.ClientSession
) -> None:
    tags = " ".join(f"tag{number}" for number in range(41))
    status, body = await refusal(
        client, f"{site.base_url}/posts.json", params={"tags": tags}
    )
    assert status == 422
    assert "40" in body["message"]


async def test_md5_answers_one_wrapped_post(
    site: Site, client: aiohttp.ClientSession, board: Board
) -> None:
    url = f"{site.base_url}/posts.json?md5="
    assert (await answer(client, url + board.posts[0].md5))["post"]["id"] == 1
    assert await refusal(client, url + "0" * 32) == (
        404,
        {"success": False, "reason": "not found"},
    )


async def test_count_agrees_with_the_listing(
    site: Site, client: aiohttp.ClientSession
) -> None:
    assert await answer(client, f"{site.base_url}/posts/count.json?tags=fox") == {
        "count": 4,
        "capped": False,
    }


# ---- the search language ----


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("fox standing", [8, 1], id="and"),
        pytest.param("fox -standing", [5, 4], id="not"),
        pytest.param("~young ~jan", [9, 5, 4], id="or"),
        pytest.param("fox ~young ~hi_res", [8, 5, 4], id="and with or"),
        pytest.param("s*ing -sitting", [9, 8, 1], id="wildcard"),
        pytest.param("vulpine hi_res", [8], id="chain of aliases"),
        pytest.param("stands", [], id="deleted alias does not resolve"),
        pytest.param("rating:q", [4], id="rating"),
        pytest.param("-rating:s", [9, 4], id="negated rating"),
        pytest.param("type:webm", [11], id="type"),
        pytest.param("id:1,8,3", [8, 1], id="list of ids"),
        pytest.param("id:4..7", [7, 5, 4], id="range of ids"),
        pytest.param("id:..4", [4, 1], id="open range"),
        pytest.param("width:>=640", [9, 8], id="at least"),
        pytest.param("score:<5", [4, 1], id="below"),
        pytest.param(
            "change:>994 status:any order:change_asc",
            [5, 4, 2, 1],
            id="feed of changes",
        ),
        pytest.param("status:deleted", [2], id="only deleted"),
        pytest.param("fox status:all", [8, 5, 4, 2, 1], id="deleted too"),
        pytest.param("status:pending", [9], id="pending"),
        pytest.param("fox order:score", [8, 5, 4, 1], id="by score"),
        pytest.param("fox order:id", [1, 4, 5, 8], id="ascending"),
        pytest.param("fox order:created_asc", [1, 4, 5, 8], id="by age"),
        pytest.param("date:2020-01-16", [1], id="day"),
        pytest.param("id:junk", [], id="junk number"),
        pytest.param("no_such_tag", [], id="unknown tag"),
    ],
)
def test_query_selects(board: Board, query: str, expected: list[int]) -> None:
    assert [post.id for post in Index(board).find(query)] == expected


def test_status_rating_and_limit_do_not_count_as_tags() -> None:
    free = "status:deleted rating:s limit:5 "
    assert parse(free + " ".join(f"tag{number}" for number in range(40))).limit == 5
    with pytest.raises(BadQuery):
        parse(free + " ".join(f"tag{number}" for number in range(41)))


# ---- shapes ----


async def test_legacy_post_has_the_keys_of_the_site_in_its_order(
    site: Site, client: aiohttp.ClientSession
) -> None:
    post = (await answer(client, f"{site.base_url}/posts/8.json"))["post"]
    assert " ".join(post) == (
        "id created_at updated_at file preview sample score tags locked_tags "
        "change_seq flags rating fav_count "
        "sources pools relationships approver_id uploader_id uploader_name description "
        "comment_count is_favorited "
        "vote has_notes duration"
    )
    assert post["tags"]["general"] == ["standing"]
    assert tuple(post["tags"]) == CATEGORIES
    assert post["sources"] == ["x", "y"]
    assert post["relationships"] == {
        "parent_id": 1, "has_children": False, "has_active_children": False,
        "children": []
    }  # fmt: skip
    assert post["sample"]["has"] is True
    assert (post["sample"]["width"], post["sample"]["height"]) == (850, 1138)


async def test_tag_that_the_table_does_not_know_is_in_no_category(
    site: Site, client: aiohttp.ClientSession
) -> None:
    post = (await answer(client, f"{site.base_url}/posts/7.json"))["post"]
    assert [name for names in post["tags"].values() for name in names] == ["sitting"]


async def test_sample_url_is_null_where_there_is_no_sample(
    site: Site, client: aiohttp.ClientSession
) -> None:
    post = (await answer(client, f"{site.base_url}/posts/1.json"))["post"]
    assert post["sample"] == {
        "has": False,
        "width": 60,
        "height": 40,
        "url": None,
        "alt": None,
        "alternates": {},
    }
    assert post["preview"]["url"].endswith(".jpg")


def urls(post: Any) -> set[str | None]:
    return {post["file"]["url"], post["preview"]["url"], post["preview"]["alt"]}


@pytest.mark.parametrize(
    ("number", "anonymous", "logged_in", "safe"),
    [
        pytest.param(2, False, False, False, id="deleted: nobody"),
        pytest.param(
            4, False, True, False, id="young and questionable: only with a login"
        ),
        pytest.param(5, True, True, True, id="young and safe: everybody"),
        pytest.param(
            7, False, True, False, id="hidden from anonymous: only with a login"
        ),
        pytest.param(9, True, True, False, id="explicit: not in safe mode"),
    ],
)
async def test_urls_are_null_by_the_three_rules(
    site: Site,
    client: aiohttp.ClientSession,
    number: int,
    anonymous: bool,
    logged_in: bool,
    safe: bool,
) -> None:
    url = f"{site.base_url}/posts/{number}.json"
    basic: dict[str, Any] = {
        "headers": {"Authorization": aiohttp.encode_basic_auth(*LOGIN)}
    }
    for address, options, expected in (
        (url, {}, anonymous),
        (url, basic, logged_in),
        (f"{url}?safe_mode=true", {}, safe),
    ):
        post = (await answer(client, address, **options))["post"]
        assert (urls(post) != {None}) is expected
        assert post["file"]["md5"]
        assert post["file"]["ext"]


async def test_wrong_key_is_unauthorised(
    site: Site, client: aiohttp.ClientSession
) -> None:
    url = f"{site.base_url}/posts.json?login={LOGIN[0]}&api_key="
    assert (await refusal(client, url + "wrong"))[0] == 401
    assert len(ids(await answer(client, url + LOGIN[1]))) == 8


async def test_v2_is_bare_and_falls_back_to_the_original(
    site: Site, client: aiohttp.ClientSession
) -> None:
    basic = (await answer(client, f"{site.base_url}/posts.json?v2=true&tags=id:1"))[0]
    extended = await answer(
        client, f"{site.base_url}/posts/1.json?v2=true&mode=extended"
    )
    thumbnail = await answer(
        client, f"{site.base_url}/posts/1.json?v2=true&mode=thumbnails"
    )
    assert (
        basic["files"]["sample"]["jpg"]
        == basic["files"]["original"]["url"]
        == thumbnail["file_url"]
    )
    assert basic["tags"] == ["fox", "standing"]
    assert extended["tags"]["species"] == ["fox"]
    assert thumbnail["tags"] == "fox standing"


async def test_only_drops_the_wrapper(
    site: Site, client: aiohttp.ClientSession
) -> None:
    assert await answer(
        client, f"{site.base_url}/posts.json?only=id,rating&limit=1"
    ) == [{"id": 12, "rating": "s"}]


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        pytest.param(
            datetime(2020, 3, 8, 6, 59, 59, 999_000, tzinfo=UTC),
            "2020-03-08T01:59:59.999-05:00",
            id="last of winter",
        ),
        pytest.param(
            datetime(2020, 3, 8, 7, tzinfo=UTC),
            "2020-03-08T03:00:00.000-04:00",
            id="first of summer",
        ),
        pytest.param(
            datetime(2020, 11, 1, 5, 59, tzinfo=UTC),
            "2020-11-01T01:59:00.000-04:00",
            id="last of summer",
        ),
        pytest.param(
            datetime(2020, 11, 1, 6, tzinfo=UTC),
            "2020-11-01T01:00:00.000-05:00",
            id="first of winter",
        ),
    ],
)
def test_times_are_eastern(moment: datetime, expected: str) -> None:
    assert site_time(moment) == expected


async def test_tags_hide_the_empty_and_come_by_count(
    site: Site, client: aiohttp.ClientSession
) -> None:
    url = f"{site.base_url}/tags.json"
    found = await answer(client, url)
    assert found[0]["name"] == "fox"
    assert all(tag["post_count"] > 0 for tag in found)
    names = await answer(
        client, url, params={"search[name_matches]": "*ing", "search[order]": "name"}
    )
    assert [tag["name"] for tag in names] == ["sitting", "standing"]
    empty = await answer(
        client, url, params={"search[hide_empty]": "false", "search[category]": "5"}
    )
    assert {tag["name"] for tag in empty} == {"fox", "canine", "mammal"}
    assert (await answer(client, f"{site.base_url}/tags/♀_only.json"))["category"] == 0


async def test_relations_are_found_by_status_and_name(
    site: Site, client: aiohttp.ClientSession
) -> None:
    approved = {"search[status]": "approved"}
    aliases = await answer(client, f"{site.base_url}/tag_aliases.json", params=approved)
    assert [alias["antecedent_name"] for alias in aliases] == ["vulpes", "vulpine"]
    assert aliases[0]["post_count"] == 4
    fox = {"search[antecedent_name]": "fox"}
    implications = await answer(
        client, f"{site.base_url}/tag_implications.json", params=fox
    )
    assert implications[0]["descendant_names"] == ["canine", "mammal"]


# ---- who may ask ----


@pytest.mark.parametrize(
    ("agent", "welcome"),
    [
        pytest.param("", False, id="none"),
        pytest.param("python-requests/2.32.3", False, id="requests"),
        pytest.param("Python/3.11 aiohttp/3.14.5", False, id="aiohttp"),
        pytest.param("curl/8.5.0", False, id="curl"),
        pytest.param(
            "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0",
            False,
            id="a browser",
        ),
        pytest.param(
            "Mozilla/5.0 (compatible; tagger/1.0; +https://example.org)",
            True,
            id="names a contact",
        ),
        pytest.param(AGENT, True, id="descriptive"),
    ],
)
def test_agent_must_be_descriptive(agent: str, welcome: bool) -> None:
    assert is_welcome(agent) is welcome


async def test_default_agent_gets_a_page_of_html(site: Site) -> None:
    async with (
        aiohttp.ClientSession() as careless,
        careless.get(f"{site.base_url}/posts.json") as response,
    ):
        assert (response.status, response.content_type) == (403, "text/html")


async def test_unknown_path_is_not_found(
    site: Site, client: aiohttp.ClientSession
) -> None:
    assert await refusal(client, f"{site.base_url}/nothing.json") == (
        404,
        {"success": False, "reason": "not found"},
    )


# ---- exports ----


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(gzip.decompress(data).decode(), newline="")))


async def test_index_and_files_agree(site: Site, client: aiohttp.ClientSession) -> None:
    index = await answer(client, f"{site.base_url}/db_exports.json")
    assert [row["name"] for row in index] == sorted(COLUMNS)
    assert index[5]["updated_at"] == "2026-07-01T01:01:40.244-04:00"
    for row in index:
        async with client.get(row["url"]) as response:
            body = await response.read()
        assert row["url"].startswith(f"{site.static_url}/data/db_export/")
        assert (len(body), hashlib.sha256(body).hexdigest()) == (
            row["file_size"],
            row["checksum"],
        )
        assert gzip.decompress(body).decode().split("\n")[0] == COLUMNS[row["name"]]


def test_posts_export_holds_every_post_and_tells_null_from_empty(board: Board) -> None:
    body = gzip.decompress(build_exports(board)["posts"].body).decode()
    first = body.split("\n")[1]
    assert first.startswith(
        f'1,3,2020-01-16 12:00:00.12,{board.posts[0].md5},"",s,60,40,'
        "fox standing,,0,png,,999,,"
    )
    assert first.endswith(',0,"",,2020-01-16 12:00:01.12,f,f,f,1,1,0,f,f,f,,,')
    rows = rows_of(build_exports(board)["posts"].body)
    assert [int(row["id"]) for row in rows] == [1, 2, 4, 5, 7, 8, 9, 11, 12]
    assert rows[5]["description"] == 'a, "b"\r\nc'
    assert (rows[1]["is_deleted"], rows[7]["duration"], rows[8]["updated_at"]) == (
        "t",
        "2.5",
        "",
    )


def test_creator_and_approver_swap_places_between_aliases_and_implications(
    board: Board,
) -> None:
    exports = build_exports(board)
    assert rows_of(exports["tag_aliases"].body)[0]["creator_id"] == "1"
    implication = rows_of(exports["tag_implications"].body)[0]
    assert (implication["creator_id"], implication["approver_id"]) == ("1", "")
    assert implication["descendant_names"] == "{canine,mammal}"


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 200_000])
def test_stored_gzip_is_gzip(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert gzip.decompress(stored_gzip(data)) == data


# ---- files ----


async def test_original_has_the_md5_of_its_post(
    site: Site, client: aiohttp.ClientSession, board: Board
) -> None:
    for number in (1, 8, 11):
        post = post_of(board, number)
        async with client.get(link(site, post)) as response:
            assert md5_of(await response.read()) == post.md5


@pytest.mark.parametrize(
    ("number", "kind", "ext"),
    [
        pytest.param(2, "", "png", id="deleted original"),
        pytest.param(2, "/preview", "jpg", id="deleted preview"),
        pytest.param(4, "", "png", id="young and questionable"),
        pytest.param(7, "", "png", id="hidden from anonymous"),
        pytest.param(1, "", "jpg", id="wrong extension"),
        pytest.param(1, "/sample", "jpg", id="no sample of a small picture"),
        pytest.param(11, "/sample", "jpg", id="poster of a video that cannot be drawn"),
    ],
)
async def test_file_is_not_found(
    site: Site,
    client: aiohttp.ClientSession,
    board: Board,
    number: int,
    kind: str,
    ext: str,
) -> None:
    assert (await refusal(client, link(site, post_of(board, number), kind, ext)))[
        0
    ] == 404


async def test_login_opens_what_is_hidden_from_anonymous(
    site: Site, client: aiohttp.ClientSession, board: Board
) -> None:
    headers = {"Authorization": aiohttp.encode_basic_auth(*LOGIN)}
    async with client.get(link(site, post_of(board, 7)), headers=headers) as response:
        assert response.status == 200


async def test_unknown_md5_and_misplaced_md5_are_not_found(
    site: Site, client: aiohttp.ClientSession, board: Board
) -> None:
    unknown = replace(board.posts[0], md5="0" * 32)
    assert (await refusal(client, link(site, unknown)))[0] == 404
    misplaced = f"{site.static_url}/data/zz/zz/{board.posts[0].md5}.png"
    assert (await refusal(client, misplaced))[0] == 404


@pytest.mark.parametrize(
    ("original", "sample", "preview"),
    [
        pytest.param((1792, 2400), (850, 1138), (256, 343), id="recorded sample"),
        pytest.param((2500, 1700), (1250, 850), (376, 256), id="recorded preview"),
        pytest.param((500, 4000), (212, 1700), (256, 512), id="long side capped"),
        pytest.param((100, 50), (1700, 850), (512, 256), id="small files are enlarged"),
    ],
)
def test_sizes_follow_the_contract(
    original: tuple[int, int], sample: tuple[int, int], preview: tuple[int, int]
) -> None:
    assert sample_size(*original) == sample
    assert preview_size(*original) == preview


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"width": 851, "height": 851}, True, id="both sides above 850"),
        pytest.param({"width": 850, "height": 1700}, False, id="neither side too long"),
        pytest.param({"width": 10, "height": 1701}, True, id="longer side above 1700"),
        pytest.param(
            {"width": 2000, "height": 2000, "ext": "gif"}, False, id="gif never"
        ),
        pytest.param(
            {"width": 2000, "height": 2000, "tags": ("animated_png",)},
            False,
            id="animated never",
        ),
        pytest.param(
            {"width": 10, "height": 10, "ext": "webm"}, True, id="video always"
        ),
    ],
)
def test_which_posts_have_samples(
    board: Board, change: dict[str, Any], expected: bool
) -> None:
    assert has_sample(replace(board.posts[0], **change)) is expected


async def test_variants_are_what_the_json_says(
    site: Site, client: aiohttp.ClientSession, board: Board
) -> None:
    post = (await answer(client, f"{site.base_url}/posts/8.json"))["post"]
    for variant in (post["sample"], post["preview"]):
        for url, kind in ((variant["url"], "JPEG"), (variant["alt"], "WEBP")):
            async with client.get(url) as response:
                drawn = Image.open(io.BytesIO(await response.read()))
            assert (drawn.format, drawn.size) == (
                kind,
                (variant["width"], variant["height"]),
            )


@pytest.mark.parametrize(
    "size", [(586, 412), (1, 1), (999, 3), (2000, 1333), (4001, 333)]
)
@pytest.mark.parametrize("kind", ["sample", "preview"])
def test_any_size_is_rendered_to_the_size_that_the_rules_give(
    size: tuple[int, int], kind: Any
) -> None:
    rendered = Image.open(io.BytesIO(render(picture(*size, seed=1), kind, "jpg", None)))
    assert rendered.size == (sample_size if kind == "sample" else preview_size)(*size)


def test_what_is_no_picture_has_no_variants() -> None:
    with pytest.raises(NoPicture):
        render(b"not a picture", "preview", "jpg", None)


@pytest.mark.parametrize(
    ("bg_color", "expected"),
    [
        pytest.param(None, (0x15, 0x2F, 0x56), id="dark blue"),
        pytest.param("ffffff", (255, 255, 255), id="bg_color"),
    ],
)
def test_jpeg_flattens_transparency_and_webp_keeps_it(
    bg_color: str | None, expected: tuple[int, int, int]
) -> None:
    data = picture(640, 320, 9)
    jpeg = Image.open(io.BytesIO(render(data, "preview", "jpg", bg_color)))
    assert jpeg.info["progressive"]
    found = jpeg.getpixel((100, 250))
    assert isinstance(found, tuple)
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 2
    webp = Image.open(io.BytesIO(render(data, "preview", "webp", bg_color)))
    assert webp.mode == "RGBA"


async def test_range_is_honoured_for_the_same_file_only(
    site: Site, client: aiohttp.ClientSession, board: Board
) -> None:
    url = f"{site.static_url}/data/db_export/posts.csv.gz"
    async with client.get(url) as response:
        whole, etag, modified = (
            await response.read(),
            response.headers["ETag"],
            response.headers["Last-Modified"],
        )
    for validator in (etag, modified):
        async with client.get(
            url, headers={"Range": "bytes=100-", "If-Range": validator}
        ) as response:
            assert (response.status, await response.read()) == (206, whole[100:])
            assert (
                response.headers["Content-Range"]
                == f"bytes 100-{len(whole) - 1}/{len(whole)}"
            )
    async with client.get(
        url, headers={"Range": "bytes=100-", "If-Range": '"another day"'}
    ) as response:
        assert (response.status, await response.read()) == (200, whole)
    async with client.get(url, headers={"Range": "bytes=-7"}) as response:
        assert (response.status, await response.read()) == (206, whole[-7:])
    async with client.get(url, headers={"Range": f"bytes={len(whole)}-"}) as response:
        assert response.status == 416


async def test_unchanged_file_is_not_sent_again(
    site: Site, client: aiohttp.ClientSession, board: Board
) -> None:
    url = link(site, board.posts[0])
    async with client.head(url) as response:
        assert int(response.headers["Content-Length"]) == board.posts[0].file_size
        etag = response.headers["ETag"]
    async with client.get(url, headers={"If-None-Match": etag}) as response:
        assert response.status == 304


# ---- log and faults ----


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


# ---- processes ----


def children_of(pid: int) -> list[int]:
    return [
        int(child)
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]


def wait_until_gone(pids: Iterable[int]) -> list[int]:
    deadline = time.monotonic() + 10
    while left := [pid for pid in pids if is_running(pid)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_killed_server_leaves_no_painter_behind(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(
        textwrap.dedent("""
        import asyncio, sys
        sys.path.insert(0, TESTS)
        from test_sandbox import AGENT, TinyBoard, link
        import aiohttp
        from sandbox.server.app import serve

        async def main():
            board = TinyBoard()
            client = aiohttp.ClientSession(headers={"User-Agent": AGENT})
            async with serve(board) as site, client:
                async with client.get(link(site, board.posts[0])) as response:
                    await response.read()
                print("painted", flush=True)
                await asyncio.Event().wait()

        if __name__ == "__main__":
            asyncio.run(main())
        """).replace("TESTS", repr(str(Path(__file__).parent)))
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    server = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert server.stdout
        assert server.stdout.readline() == "painted\n"
        painters = children_of(server.pid)
        assert painters
    finally:
        server.send_signal(signal.SIGKILL)
        server.communicate()
    assert wait_until_gone(painters) == []
