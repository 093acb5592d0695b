"""Harvest from the search API.

Any shape of answer, resumable at every page, the same tables as from exports.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import polars as pl
import pytest
from aiohttp import web

from pipeline import harvest, pin, refresh
from pipeline.errors import BadAnswer, ExportChanged
from pipeline.harvest import api, api_models, page_cache
from sandbox.board.drawn import SandboxBoard
from sandbox.faults.base import honest_body
from sandbox.records import Post
from sandbox.server.app import LOGIN, Site
from sandbox.server.serializers import Shapes, Viewer
from sandbox.server.service import SERVICE, json_response
from tests.builders.project import ROOT, Project, make_project, served

EVERYTHING = "status:any"

Answering = Callable[[web.Request, list[Any]], Any]


def search(folder: Path, at: Site, query: str = EVERYTHING, **site: Any) -> Project:
    return make_project(
        folder / "search", at, harvest={"source": "api", "query": query}, site=site
    )


def run(project: Project) -> dict[str, pl.DataFrame]:
    harvest.run(project.params.harvest, project.paths, site=project.params.site)
    return {
        path.stem: pl.read_parquet(path)
        for path in sorted(project.paths.snapshot.glob("*.parquet"))
    }


def paged(site: Site, start: int = 0) -> list[str]:
    """The cursors of the post pages asked for since, those of a refresh left out."""
    asked = [
        parse_qs(one.query)
        for one in site.requests[start:]
        if one.path == "/posts.json"
    ]
    return [query["page"][0] for query in asked if query["limit"] == ["320"]]


def posts_as(shape: Answering) -> Any:
    """A fault: `shape` makes the pages of posts from the honest legacy records."""

    async def answer(request: web.Request) -> web.StreamResponse | None:
        if request.path != "/posts.json" or request.query.get("limit") != "320":
            return None
        service = request.app[SERVICE]
        before = int(request.query["page"].removeprefix("b"))
        found = [
            post
            for post in service.index.find(request.query["tags"], order="id_desc")
            if post.id < before
        ][:320]
        return json_response(
            shape(request, [service.shapes.legacy(post, Viewer()) for post in found])
        )

    return answer


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, site: Site
) -> dict[str, pl.DataFrame]:
    """The snapshot of the same board, from its exports."""
    return run(make_project(tmp_path_factory.mktemp("exported") / "project", site))


@pytest.fixture(scope="module")
def searched(
    tmp_path_factory: pytest.TempPathFactory, site: Site
) -> dict[str, pl.DataFrame]:
    """The snapshot of the small board, found by searching for everything."""
    return run(search(tmp_path_factory.mktemp("searched"), site))


def test_posts_are_those_of_the_exports_in_every_column_but_is_withheld(
    searched, exported
) -> None:  # type: ignore[no-untyped-def]
    assert (
        searched["posts"]
        .drop("is_withheld")
        .equals(exported["posts"].drop("is_withheld"))
    )


def test_tags_are_those_of_the_exports_that_the_posts_lead_to(
    searched, exported
) -> None:  # type: ignore[no-untyped-def]
    used = set(exported["posts"]["tags"].explode(empty_as_null=False))
    assert used <= set(searched["tags"]["name"])
    same = exported["tags"].filter(
        pl.col("name").is_in(searched["tags"]["name"].to_list())
    )
    assert searched["tags"].equals(same)
    relations = pl.concat([searched["aliases"], searched["implications"]])
    led_to = set(
        relations.filter(
            pl.col("antecedent").is_in(searched["tags"]["name"].to_list())
        )["consequent"]
    )
    assert led_to & set(exported["tags"]["name"]) <= set(searched["tags"]["name"])


@pytest.mark.parametrize("name", ["aliases", "implications"])
def test_relations_are_those_of_the_exports_in_force(
    searched, exported, name: str
) -> None:  # type: ignore[no-untyped-def]
    in_force = exported[name].filter(
        pl.col("status").is_in(["active", "processing", "queued"])
    )
    assert searched[name].equals(in_force)
    assert in_force.height < exported[name].height


def test_snapshot_has_the_same_files_and_schemas(searched, exported) -> None:  # type: ignore[no-untyped-def]
    assert searched.keys() == exported.keys()
    assert {name: searched[name].schema for name in exported} == {
        name: exported[name].schema for name in exported
    }


def is_refused(post: Post) -> bool:
    return post.is_hidden_from_anonymous or (
        post.rating != "s" and "young" in post.tags
    )


def test_null_address_is_a_refusal_and_a_deleted_post_is_deleted(
    searched, board: SandboxBoard
) -> None:  # type: ignore[no-untyped-def]
    posts = searched["posts"]
    refused = {
        post.id for post in board.posts if is_refused(post) and not post.is_deleted
    }
    assert set(posts.filter("is_withheld")["post_id"]) == refused > set()
    assert set(posts.filter("is_deleted")["post_id"]) == {
        post.id for post in board.posts if post.is_deleted
    }


def test_login_is_given_the_addresses_that_anonymous_is_not(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("E6TAG_API_KEY", LOGIN[1])
    posts = run(search(tmp_path, site, login=LOGIN[0]))["posts"]
    assert not posts["is_withheld"].any()


def test_query_selects_and_leaves_deleted_posts_out(
    tmp_path: Path, site: Site, board: SandboxBoard
) -> None:
    posts = run(search(tmp_path, site, "rating:s ( ~fox ~wolf )"))["posts"]
    expected = [
        post.id
        for post in board.posts
        if post.rating == "s"
        and not post.is_deleted
        and {"fox", "wolf"} & set(post.tags)
    ]
    assert posts["post_id"].to_list() == expected != []


def test_refresh_pins_a_search_with_two_requests(
    tmp_path: Path, site: Site, board: SandboxBoard
) -> None:
    asked = len(site.requests)
    project = search(tmp_path, site, "rating:s")
    assert len(site.requests) - asked == 2
    newest = max(
        post.id for post in board.posts if post.rating == "s" and not post.is_deleted
    )
    expected = pin.Search(
        "rating:s", newest, max(post.change_seq for post in board.posts)
    )
    assert pin.load(project.paths.pin) == pin.Pin(site.base_url, {}, search=expected)
    before = project.paths.pin.read_bytes()
    assert not refresh.run(project.params, project.paths)
    assert project.paths.pin.read_bytes() == before


def test_search_that_finds_nothing_is_not_pinned(tmp_path: Path, site: Site) -> None:
    with pytest.raises(
        BadAnswer, match=r"finds no post for 'id:1'\. Correct harvest\.query"
    ):
        search(tmp_path, site, "id:1")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (
            {"source": "exports", "query": None},
            r"pins the search 'rating:s' but params.yaml asks for the exports",
        ),
        (
            {"source": "api", "query": "fox"},
            r"pins the search 'rating:s' but params.yaml asks for the search 'fox'",
        ),
    ],
    ids=["source", "query"],
)
def test_pin_of_another_source_or_query_is_not_used(
    tmp_path: Path, site: Site, section: dict[str, Any], words: str
) -> None:
    project = search(tmp_path, site, "rating:s")
    with pytest.raises(ExportChanged, match=words + r"\. Run e6tag refresh"):
        harvest.run(
            project.params.harvest.model_copy(update=section), project.paths,
            site=project.params.site
        )  # fmt: skip


def test_second_harvest_asks_for_nothing_and_gives_the_same_bytes(
    tmp_path: Path, site: Site
) -> None:
    project = search(tmp_path, site)
    run(project)
    before = {path.name: path.read_bytes() for path in project.paths.snapshot.iterdir()}
    asked = len(site.requests)
    run(project)
    assert len(site.requests) == asked
    assert {
        path.name: path.read_bytes() for path in project.paths.snapshot.iterdir()
    } == before


def test_pages_of_another_pin_are_removed(tmp_path: Path, site: Site) -> None:
    project = search(tmp_path, site)
    run(project)
    kept = project.paths.work("harvest") / "pages"
    first = set(kept.iterdir())
    pinned = pin.load(project.paths.pin)
    assert pinned.search is not None
    pin.save(
        project.paths.pin,
        replace(
            pinned, search=replace(pinned.search, newest_id=pinned.search.newest_id - 1)
        ),
    )
    run(project)
    assert len(set(kept.iterdir())) == 1
    assert not first & set(kept.iterdir())


def v2(mode: str) -> Answering:
    def shape(request: web.Request, found: list[Any]) -> Any:
        service = request.app[SERVICE]
        return [
            service.shapes.v2(service.index.by_id[one["id"]], Viewer(), mode)
            for one in found
        ]

    return shape


SHAPES: dict[str, Answering] = {
    "bare array": lambda _, found: found,
    "v2 basic": v2("basic"),
    "v2 extended": v2("extended"),
    "empty list wrapped": lambda _, found: found or {"posts": []},
    "unknown keys": lambda _, found: {
        "posts": [{**one, "news": {"a": 1}} for one in found],
        "page": 3,
    },
    "other offsets": lambda _, found: [
        {
            **one,
            "created_at": one["created_at"]
            .replace("-04:00", "-0400")
            .replace("-05:00", "-0500"),
        }
        for one in found
    ],
    "short pages": lambda _, found: (
        found[:7]
        if len(found) % 2
        else found[: max(1, len(found) // 3)]
        if found
        else []
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_gives_the_same_posts(
    tmp_path: Path, board: SandboxBoard, searched, name: str
) -> None:  # type: ignore[no-untyped-def]
    with served(board, fault=posts_as(SHAPES[name])) as at:
        found = run(search(tmp_path, at))
    assert found["posts"].equals(searched["posts"])
    assert found["rejected"].is_empty()


def test_empty_page_and_not_a_short_one_is_the_end(
    tmp_path: Path, board: SandboxBoard
) -> None:
    with served(board, fault=posts_as(lambda _, found: found[:100])) as at:
        posts = run(search(tmp_path, at))["posts"]
        cursors = paged(at)
    assert posts.height == len(board.posts) == 600
    assert len(cursors) == 7, "six pages of 100 and an empty one"


def test_search_whose_records_cannot_be_read_is_not_pinned(
    tmp_path: Path, board: SandboxBoard
) -> None:
    async def unrated(request: web.Request) -> web.StreamResponse | None:
        posts = json.loads(await honest_body(request))["posts"]
        return json_response({"posts": [{**one, "rating": None} for one in posts]})

    words = (
        r"finds posts for 'solo -id:1', but no record of its answer can be read, "
        r"first id \d+: None \(rating is no text\)"
    )
    with (
        served(board, fault=unrated) as at,
        pytest.raises(BadAnswer, match=words) as raised,
    ):
        search(tmp_path, at, "solo -id:1")
    assert "Correct harvest.query" not in str(raised.value)


def test_record_without_what_is_needed_is_listed_and_the_rest_kept(
    tmp_path: Path, board: SandboxBoard
) -> None:
    broken = board.posts[10].id

    def shape(_: web.Request, found: list[Any]) -> Any:
        return {
            "posts": [
                {**one, "file": None} if one["id"] == broken else one for one in found
            ]
        }

    with served(board, fault=posts_as(shape)) as at:
        snapshot = run(search(tmp_path, at))
    assert snapshot["posts"].height == len(board.posts) - 1
    rows = snapshot["rejected"].rows(named=True)
    assert [(row["export"], row["row"], row["value"]) for row in rows] == [
        ("posts", 590, f"id {broken}")
    ]
    assert rows[0]["reason"] == "file.ext is missing"


def test_post_given_twice_is_taken_as_it_changed_last(
    tmp_path: Path, board: SandboxBoard
) -> None:
    moved = board.posts[400]

    def shape(_: web.Request, found: list[Any]) -> Any:
        shapes = Shapes(board, "http://127.0.0.1")
        late = {
            **shapes.legacy(moved, Viewer()),
            "change_seq": moved.change_seq + 1,
            "rating": "e",
        }
        return {"posts": [late, *found] if found else []}

    with served(board, fault=posts_as(shape)) as at:
        snapshot = run(search(tmp_path, at))
    assert snapshot["posts"].height == len(board.posts)
    assert snapshot["posts"].filter(post_id=moved.id)["rating"].to_list() == ["e"]
    assert snapshot["rejected"].select("reason", "value").rows() == [
        ("id given more than once", str(moved.id))
    ]


@pytest.mark.parametrize(
    ("where", "change", "stays"),
    [
        pytest.param("before", 1, False, id="a newer change, on an earlier page"),
        pytest.param(
            "before", None, True, id="a change of unknown number, on an earlier page"
        ),
        pytest.param("after", 0, False, id="the same change, on a later page"),
        pytest.param("after", -1, True, id="an older change, on a later page"),
        pytest.param(
            "after", None, False, id="a change of unknown number, on a later page"
        ),
    ],
)
def test_post_whose_newer_version_cannot_be_read_is_left_out(
    tmp_path: Path, board: SandboxBoard, where: str, change: int | None, stays: bool
) -> None:
    """A page of 100 ends with the post and the next one begins with it.

    One of the two records cannot be read.
    """
    moved = board.posts[400]
    record = Shapes(board, "http://127.0.0.1").legacy(moved, Viewer())
    spoilt = {
        "id": moved.id,
        "change_seq": None if change is None else moved.change_seq + change,
    }
    last, first = (spoilt, record) if where == "before" else (record, spoilt)

    def shape(_: web.Request, found: list[Any]) -> Any:
        page = [last if one["id"] == moved.id else one for one in found[:100]]
        return {
            "posts": [first, *page]
            if page and page[0]["id"] == board.posts[399].id
            else page
        }

    with served(board, fault=posts_as(shape)) as at:
        project = search(tmp_path, at)
        snapshot = run(project)
    assert run(project)["rejected"].equals(snapshot["rejected"]), "from the kept pages"
    posts = [post.id for post in board.posts if stays or post.id != moved.id]
    assert snapshot["posts"]["post_id"].to_list() == posts
    assert [value.split(":")[0] for value in snapshot["rejected"]["value"]] == [
        f"id {moved.id}"
    ]


def test_cursor_that_repeats_ends_the_run_with_one_line(
    tmp_path: Path, board: SandboxBoard
) -> None:
    first: list[Any] = []

    def shape(_: web.Request, found: list[Any]) -> Any:
        first[:] = first or found
        return {"posts": first}

    with served(board, fault=posts_as(shape)) as at:
        project = search(tmp_path, at)
        with pytest.raises(
            BadAnswer, match=r"gave no record below id .* it would repeat for ever"
        ):
            run(project)
        assert len(paged(at)) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"success": True}, "where a list of posts was expected"),
        (
            v2("thumbnails"),
            "in the thumbnails shape, which has neither change_seq nor locked tags",
        ),
    ],
    ids=["no list", "thumbnails"],
)
def test_answer_that_is_no_list_of_posts_is_one_line(
    tmp_path: Path, board: SandboxBoard, answer: Any, words: str
) -> None:
    shape = answer if callable(answer) else lambda *_: answer
    with served(board, fault=posts_as(shape)) as at:
        project = search(tmp_path, at)
        with pytest.raises(BadAnswer, match=words) as raised:
            run(project)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_status == 1
    assert not project.paths.snapshot.exists()


def test_query_that_the_site_refuses_is_one_line_with_its_message(
    tmp_path: Path, site: Site
) -> None:
    with pytest.raises(
        BadAnswer,
        match=r"is refused \(status 422.*more than 40 tags.*Correct harvest\.query",
    ):
        search(tmp_path, site, " ".join(f"a{number}" for number in range(41)))


@pytest.mark.parametrize("answered", [1, 5, 8])
def test_harvest_killed_at_any_page_asks_only_for_what_is_missing(
    tmp_path: Path,
    board: SandboxBoard,
    searched: dict[str, pl.DataFrame],
    answered: int,
) -> None:
    async def slowly(request: web.Request) -> web.StreamResponse | None:
        await asyncio.sleep(0.06)
        return await posts_as(lambda _, found: found[:100])(request)

    with served(board, fault=slowly) as at:
        project = search(tmp_path, at)
        before = len(at.requests)
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "harvest"],
            cwd=project.paths.root, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while len(at.requests) < before + answered and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -9
        killed_after = at.requests[before:]
        found = run(project)
        asked = [(one.path, one.query) for one in at.requests[before:]]
    twice = len(asked) - len(set(asked))
    assert twice <= 1, "only the answer under way is asked for again"
    assert len(killed_after) >= answered
    assert found["posts"].equals(searched["posts"])
    assert found["tags"].equals(searched["tags"])


def test_names_are_asked_for_in_batches_that_fit_an_address() -> None:
    names = sorted(
        {f"name_{number}" for number in range(900)}
        | {"♀" * 60 + str(number) for number in range(40)}
    )
    batches = list(api._batches(names))
    assert [name for batch in batches for name in batch] == names
    assert all(len(batch) <= page_cache.LIMIT for batch in batches)
    assert all(len(quote(",".join(batch))) <= api.NAMES_LENGTH for batch in batches)


def test_name_with_a_comma_is_asked_for_alone(
    tmp_path: Path, board: SandboxBoard
) -> None:
    def shape(_: web.Request, found: list[Any]) -> Any:
        return [
            {**one, "tags": {"general": ["fox", "a,b/c?"], "lore": ["gone,"]}}
            for one in found
        ]

    async def odd(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/tags/a,b/c?.json":
            return json_response(
                {"id": 1, "name": "a,b/c?", "category": 0, "post_count": 5}
            )
        return await posts_as(shape)(request)

    with served(board, fault=odd) as at:
        snapshot = run(search(tmp_path, at))
    assert snapshot["tags"].filter(tag_id=1).rows() == [(1, "a,b/c?", 0, 5)]
    assert snapshot["unknown_tags"].rows() == [("gone,", 600)]


def test_times_of_any_offset_become_utc() -> None:
    board = SandboxBoard(posts=100)
    legacy = Shapes(board, "http://127.0.0.1").legacy(board.posts[0], Viewer())
    texts = [
        "2026-07-01T01:00:00.244-04:00",
        "2026-07-01T08:00:00.244+03:00",
        "2026-07-01T05:00:00.244Z",
    ]
    rows = api_models.parse_page(
        [{**legacy, "created_at": text} for text in texts], api_models.POSTS, "here"
    ).rows
    assert {row["created_at"].isoformat() for row in rows} == {
        "2026-07-01T05:00:00.244000+00:00"
    }


def test_locked_tags_keep_their_minus() -> None:
    board = SandboxBoard(posts=100)
    legacy = Shapes(board, "http://127.0.0.1").legacy(board.posts[0], Viewer())
    rows = api_models.parse_page(
        [{**legacy, "locked_tags": ["-young", "fox"]}], api_models.POSTS, "here"
    ).rows
    assert rows[0]["locked_tags"] == ["-young", "fox"]
