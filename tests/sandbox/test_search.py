"""The sandbox's search language: groups in parentheses.

And what real clients ask for besides lists.
"""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest

from sandbox.board.drawn import SandboxBoard
from sandbox.records import Post
from sandbox.server.app import Site
from sandbox.server.search import BadQuery, Index, parse


@pytest.fixture(scope="module")
def index(board: SandboxBoard) -> Index:
    return Index(board)


def has(post: Post, tag: str) -> bool:
    return tag in post.tags


@pytest.mark.parametrize(
    ("query", "selects"),
    [
        pytest.param(
            "( fox ~wolf )",
            lambda p: has(p, "fox") and has(p, "wolf"),
            id="one tilde alone must hold",
        ),
        pytest.param(
            "( ~fox ~wolf ) solo",
            lambda p: has(p, "solo") and (has(p, "fox") or has(p, "wolf")),
            id="or",
        ),
        pytest.param(
            "-( fox solo )",
            lambda p: not (has(p, "fox") and has(p, "solo")),
            id="not both",
        ),
        pytest.param(
            "~( fox solo ) ~wolf",
            lambda p: (has(p, "fox") and has(p, "solo")) or has(p, "wolf"),
            id="one of two",
        ),
        pytest.param(
            "solo ( ~rating:s ~( score:>20 -fox ) )",
            lambda p: (
                has(p, "solo")
                and (
                    p.rating == "s"
                    or (p.up_score + p.down_score > 20 and not has(p, "fox"))
                )
            ),
            id="metatags and a group in a group",
        ),
        pytest.param("( )", lambda _: True, id="an empty group holds always"),
    ],
)
def test_groups_select_as_they_read(
    board: SandboxBoard, index: Index, query: str, selects: Any
) -> None:
    expected = {
        post.id for post in board.posts if selects(post) and not post.is_deleted
    }
    assert {post.id for post in index.find(query)} == expected


def test_status_in_a_group_shows_deleted_posts(
    board: SandboxBoard, index: Index
) -> None:
    deleted = {post.id for post in board.posts if post.is_deleted}
    assert (
        {post.id for post in index.find("( ~status:deleted ~id:0 )")} == deleted > set()
    )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("( fox", "not closed"),
        ("fox )", "not opened"),
        ("( " * 10 + "fox" + " )" * 10, "10 deep"),
        (" ".join(f"a{number}" for number in range(41)), "more than 40 tags"),
    ],
    ids=["open", "closed", "deep", "long"],
)
def test_query_that_the_site_refuses(query: str, message: str) -> None:
    with pytest.raises(BadQuery, match=message):
        parse(query)


def test_nine_groups_in_each_other_and_40_tags_are_accepted() -> None:
    tags = " ".join(f"a{number}" for number in range(40))
    assert parse("( " * 9 + tags + " )" * 9).terms[0].group is not None


def get(site: Site, path: str, **query: str) -> tuple[int, Any]:
    url = f"{site.base_url}{path}?{urllib.parse.urlencode(query)}"
    agent = {"User-Agent": "e6tag-tests/1 (by nobody)"}
    request = urllib.request.Request(url, headers=agent)  # noqa: S310
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_random_post_is_one_that_the_search_finds(
    site: Site, board: SandboxBoard
) -> None:
    status, answer = get(site, "/posts/random.json", tags="fox rating:s")
    assert status == 200
    assert answer["post"]["id"] in {
        post.id for post in board.posts if has(post, "fox") and post.rating == "s"
    }


def test_random_post_of_an_empty_search_is_not_found(site: Site) -> None:
    assert get(site, "/posts/random.json", tags="id:1") == (
        404,
        {"success": False, "reason": "not found"},
    )


def test_v2_is_bare_and_needs_the_literal_true(site: Site, board: SandboxBoard) -> None:
    one = board.posts[0]
    assert "post" in get(site, f"/posts/{one.id}.json", v2="1")[1]
    assert "files" in get(site, f"/posts/{one.id}.json", v2="true")[1]
    extended = get(
        site, "/posts.json", v2="true", mode="extended", tags=f"id:{one.id} status:any"
    )[1]
    assert list(extended[0]["tags"])[:2] == ["general", "artist"]
