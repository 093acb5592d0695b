"""The JSON shapes of posts, tags and relations."""

from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from sandbox.records import CATEGORIES
from sandbox.server.app import LOGIN, Site
from sandbox.server.serializers import site_time
from tests.builders.tiny_board import answer, refusal


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


@pytest.mark.parametrize(
    "path",
    [
        "posts.json",
        "posts/count.json",
        "posts/random.json",
        "posts/1.json",
        "tags.json",
        "tag_aliases.json",
        "tag_implications.json",
        "avoid_postings.json",
        "db_exports.json",
    ],
)
async def test_wrong_key_is_unauthorised(
    site: Site, client: aiohttp.ClientSession, path: str
) -> None:
    url = f"{site.base_url}/{path}?login={LOGIN[0]}&api_key="
    assert (await refusal(client, url + "wrong"))[0] == 401
    assert await answer(client, url + LOGIN[1]) is not None


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
