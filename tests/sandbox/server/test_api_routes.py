"""Listing, paging and counting: the API routes."""

import aiohttp
import pytest

from sandbox.records import Board
from sandbox.server.app import Site
from tests.builders.tiny_board import answer, ids, refusal


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
