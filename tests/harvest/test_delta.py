"""Refresh by delta: a day's changes for tens of requests.

And the same snapshot as a full harvest of that moment.
"""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import polars as pl
import pytest
from aiohttp import web

from pipeline import harvest, parquet, pin, refresh, sample
from pipeline.errors import BadAnswer, BadInput, CorruptFile, ExportChanged
from pipeline.harvest import changes, reconcile
from pipeline.harvest import delta as deltas
from pipeline.schemas.snapshot import POSTS as POSTS_SCHEMA
from sandbox.board.day2 import Day2Event, event_of
from sandbox.board.drawn import SandboxBoard
from sandbox.faults.base import honest_body
from sandbox.records import Board, Post, Relation, Tag
from sandbox.server.app import Site
from sandbox.server.service import Fault, json_response
from tests.builders.project import ROOT, Project, copied, damage, make_project, served

POSTS = 1_000


@dataclass(frozen=True, slots=True)
class Given:
    """A board of given records: a moment between the two days."""

    posts: list[Post]
    tags: list[Tag]
    aliases: list[Relation]
    implications: list[Relation]
    now: object
    name: str = "given"
    day: int = 2

    def original(self, md5: str) -> bytes:
        """Returns nothing: images are not asked for here."""
        raise KeyError(md5)


def given(like: Board, posts: list[Post]) -> Given:
    return Given(
        posts, list(like.tags), list(like.aliases), list(like.implications), like.now
    )


@dataclass(frozen=True, slots=True)
class Days:
    """Both days, the harvest of the first.

    And a way to have a board served where the first was.
    """

    day1: SandboxBoard
    day2: SandboxBoard
    harvested: Project  # of day 1; to be copied
    full: Project  # of day 2, harvested from its exports
    serve: Callable[..., Site]


def snapshot(project: Project) -> dict[str, pl.DataFrame]:
    return {
        path.stem: pl.read_parquet(path)
        for path in sorted(project.paths.snapshot.glob("*.parquet"))
    }


def run_harvest(project: Project) -> dict[str, pl.DataFrame]:
    harvest.run(project.params.harvest, project.paths, site=project.params.site)
    return snapshot(project)


def run_delta(project: Project) -> bool:
    return refresh.run(project.params, project.paths, delta=True)


def assert_same(found: dict[str, pl.DataFrame], full: dict[str, pl.DataFrame]) -> None:
    """Every table and column, but is_withheld: an export cannot know it."""
    assert found.keys() == full.keys()
    for name, table in full.items():
        expected = table.drop("is_withheld", strict=False)
        assert found[name].drop("is_withheld", strict=False).equals(expected), name


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Days]:
    """Day 1 is harvested in full; then the server is day 2."""
    folder = tmp_path_factory.mktemp("days")
    day1, day2 = SandboxBoard(posts=POSTS), SandboxBoard(posts=POSTS, day=2)
    with served(day1) as at:
        harvested = make_project(folder / "day1", at)
        run_harvest(harvested)
    ports = {
        "port": int(at.base_url.rsplit(":", 1)[1]),
        "static_port": int(at.static_url.rsplit(":", 1)[1]),
    }
    with ExitStack() as stack:

        def serve(board: Board, **options: object) -> Site:
            stack.close()
            return stack.enter_context(served(board, **ports, **options))

        full = make_project(folder / "day2", serve(day2))
        run_harvest(full)
        yield Days(day1, day2, harvested, full, serve)


@pytest.fixture
def project(days: Days, tmp_path: Path) -> Project:
    """A copy of the project of day 1, whose site is now day 2."""
    return replace(
        copied(days.harvested, tmp_path / "project"), site=days.serve(days.day2)
    )


def test_board_of_the_tests_sees_every_fate(days: Days) -> None:
    assert {event_of(index) for index in range(POSTS)} == set(Day2Event)


def test_delta_gives_what_a_full_harvest_of_the_day_gives(
    days: Days, project: Project
) -> None:
    assert run_delta(project)
    found = run_harvest(project)
    assert_same(found, snapshot(days.full))
    assert found["posts"].height != snapshot(days.harvested)["posts"].height


def test_delta_costs_few_requests_and_never_the_export_of_posts(
    project: Project,
) -> None:
    run_delta(project)
    run_harvest(project)
    asked = [request.path for request in project.site.requests]
    assert len(asked) <= 60
    assert not any(path.endswith("posts.csv.gz") for path in asked)


def test_delta_knows_of_changed_posts_what_the_site_withholds(
    days: Days, project: Project
) -> None:
    run_delta(project)
    posts = run_harvest(project)["posts"]
    withheld = set(posts.filter("is_withheld")["post_id"])
    before = {post.id: post.change_seq for post in days.day1.posts}
    refused = {
        post.id
        for post in days.day2.posts
        if before.get(post.id) != post.change_seq and not post.is_deleted
        if post.is_hidden_from_anonymous
        or (post.rating != "s" and "young" in post.tags)
    }
    assert withheld == refused


def test_deleted_posts_that_lost_their_md5_are_kept_and_never_sampled(
    days: Days, project: Project, tmp_path: Path
) -> None:
    before = {post.id for post in days.day1.posts if post.is_deleted}
    lost = [
        post.id for post in days.day2.posts if post.is_deleted and post.id not in before
    ]
    posts = [
        replace(post, md5="") if post.id in lost else post for post in days.day2.posts
    ]
    at = days.serve(given(days.day2, posts))
    full = make_project(tmp_path / "full", at)
    run_delta(project)
    assert_same(run_harvest(project), run_harvest(full))
    for harvested in (project, full):
        sample.run(harvested.params.sample, harvested.paths)
        tables = snapshot(harvested)
        assert tables["rejected"].is_empty()
        without = tables["posts"].filter(pl.col("md5").is_null())
        assert without["post_id"].to_list() == lost
        assert without["is_deleted"].all()
        path = harvested.paths.sample / "excluded_posts.parquet"
        reasons = dict(pl.read_parquet(path).select("post_id", "reason").iter_rows())
        assert {reasons[post_id] for post_id in lost} == {"deleted"}


def test_pin_names_base_and_change_and_counts_what_changed(
    days: Days, project: Project
) -> None:
    run_delta(project)
    pinned, was = pin.load(project.paths.pin), pin.load(days.harvested.paths.pin)
    assert pinned.exports["posts"] == was.exports["posts"]
    assert pinned.exports["tags"] == pin.load(days.full.paths.pin).exports["tags"]
    before = {post.id: post.change_seq for post in days.day1.posts}
    assert pinned.delta is not None
    assert pinned.delta.base_change == max(before.values())
    assert pinned.delta.change == max(post.change_seq for post in days.day2.posts)
    assert pinned.delta.changed == sum(
        before.get(post.id) != post.change_seq for post in days.day2.posts
    )
    assert (
        pinned.delta.gone
        == len(before.keys() - {post.id for post in days.day2.posts})
        > 0
    )


def test_delta_with_nothing_new_leaves_the_pin_as_it_is(
    days: Days, project: Project
) -> None:
    project = replace(project, site=days.serve(days.day1))
    before = project.paths.pin.read_bytes()
    assert not run_delta(project)
    assert project.paths.pin.read_bytes() == before


def test_second_delta_with_nothing_new_leaves_the_pin_as_it_is(
    project: Project,
) -> None:
    run_delta(project)
    before = project.paths.pin.read_bytes()
    asked = len(project.site.requests)
    assert not run_delta(project)
    assert project.paths.pin.read_bytes() == before
    assert len(project.site.requests) - asked <= 5


def noon(days: Days) -> Given:
    """Half of day 2's changes have happened.

    And a post came that is expunged by the evening.
    """
    later = sorted(post.change_seq for post in days.day2.posts)[-40]
    then = {post.id: post for post in days.day1.posts}
    then |= {post.id: post for post in days.day2.posts if post.change_seq <= later}
    passing = replace(
        days.day1.posts[7],
        id=max(then) + 1,
        md5="0" * 32,
        change_seq=later + 1,
        is_deleted=False,
    )
    return given(days.day2, [*(then[post_id] for post_id in sorted(then)), passing])


def test_two_deltas_in_a_row_give_what_one_gives(days: Days, project: Project) -> None:
    board = noon(days)
    days.serve(board)
    run_delta(project)
    posts = run_harvest(project)["posts"]
    assert posts["post_id"].to_list() == [post.id for post in board.posts]
    assert posts["tags"].to_list() == [list(post.tags) for post in board.posts]
    days.serve(days.day2)
    run_delta(project)
    assert_same(run_harvest(project), snapshot(days.full))


def test_delta_goes_on_from_the_base_where_the_changes_were_lost(
    days: Days, project: Project
) -> None:
    days.serve(noon(days))
    run_delta(project)
    shutil.rmtree(project.paths.work("refresh"))
    shutil.rmtree(project.paths.work("harvest") / "base")
    with pytest.raises(
        BadInput, match=r"Run e6tag refresh --delta to fetch them again"
    ):
        run_harvest(project)
    days.serve(days.day2)
    run_delta(project)
    assert_same(run_harvest(project), snapshot(days.full))


def test_changes_that_are_not_those_pinned_are_not_used(project: Project) -> None:
    run_delta(project)
    damage(next((project.paths.work("refresh") / "changes").glob("*.parquet")))
    with pytest.raises(
        CorruptFile,
        match=r"is damaged: its SHA-256 .* Delete it and run e6tag refresh --delta",
    ):
        run_harvest(project)


def test_full_refresh_keeps_a_delta_on_the_newest_export(
    days: Days, project: Project
) -> None:
    pinned = pin.load(project.paths.pin)
    run_delta(project)
    delta = pin.load(project.paths.pin)
    days.serve(days.day1)  # whose export of posts is the base of the delta
    refresh.run(project.params, project.paths)
    assert pin.load(project.paths.pin) == replace(delta, exports=pinned.exports)


def test_full_refresh_leaves_a_delta_whose_changes_are_not_here(
    days: Days, project: Project
) -> None:
    pinned = pin.load(project.paths.pin)
    run_delta(project)
    shutil.rmtree(project.paths.root / ".work")  # a clone has the pin alone
    days.serve(days.day1)
    refresh.run(project.params, project.paths)
    assert pin.load(project.paths.pin) == pinned
    run_harvest(project)


def test_full_refresh_takes_a_newer_export_in_place_of_the_delta(
    days: Days, project: Project
) -> None:
    run_delta(project)
    refresh.run(project.params, project.paths)
    assert pin.load(project.paths.pin) == pin.load(days.full.paths.pin)
    assert_same(run_harvest(project), snapshot(days.full))


def test_delta_without_its_base_names_the_full_refresh(project: Project) -> None:
    shutil.rmtree(project.paths.work("harvest") / "exports")
    with pytest.raises(
        BadInput,
        match=r"is not here: a delta builds on the export of posts .* "
        "Run e6tag refresh for",
    ):
        run_delta(project)
    assert not project.site.requests


def test_delta_of_another_site_is_refused(project: Project) -> None:
    pinned = pin.load(project.paths.pin)
    pin.save(project.paths.pin, replace(pinned, site="http://127.0.0.1:9"))
    with pytest.raises(BadInput, match=r"nothing to build a delta on"):
        run_delta(project)


def test_too_many_differences_ask_for_a_full_refresh(
    days: Days, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "MAX_DIFFERENCES", 20)
    days.serve(given(days.day2, list(days.day2.posts)[30:]))
    before = project.paths.pin.read_bytes()
    with pytest.raises(
        BadInput,
        match=r"the site counts 31 posts otherwise .* Run e6tag refresh for a full one",
    ):
        run_delta(project)
    assert project.paths.pin.read_bytes() == before


def test_post_that_a_list_leaves_out_is_not_taken_for_gone(
    days: Days, project: Project
) -> None:
    """Index and database disagree: counted and listed short by one.

    And yet the post is there.
    """
    shy = days.day2.posts[500].id

    async def forgetful(request: web.Request) -> web.StreamResponse | None:
        if "id:" not in request.query.get("tags", ""):
            return None
        low, high = map(
            int, request.query["tags"].split()[0].removeprefix("id:").split("..")
        )
        found = [
            post
            for post in days.day2.posts
            if low <= post.id <= high and post.id != shy
        ]
        if request.path == "/posts/count.json":
            return json_response({"count": len(found), "capped": False})
        return None

    days.serve(days.day2, fault=forgetful)
    run_delta(project)
    assert_same(run_harvest(project), snapshot(days.full))


def test_site_that_cannot_count_asks_for_a_full_refresh(
    days: Days, project: Project
) -> None:
    async def old(request: web.Request) -> web.StreamResponse | None:
        return (
            json_response({"success": False, "reason": "not found"}, 404)
            if "count" in request.path
            else None
        )

    days.serve(days.day2, fault=old)
    with pytest.raises(
        BadInput,
        match=r"count\.json .* is refused \(status 404.*"
        "Run e6tag refresh, without --delta",
    ):
        run_delta(project)


def test_hidden_post_is_not_taken_for_gone(days: Days, project: Project) -> None:
    """403 says that the post is there and not shown."""
    expunged = {post.id for post in days.day1.posts} - {
        post.id for post in days.day2.posts
    }

    async def hiding(request: web.Request) -> web.StreamResponse | None:
        if request.path in {f"/posts/{post_id}.json" for post_id in expunged}:
            return json_response({"success": False, "reason": "Access Denied"}, 403)
        return None

    days.serve(days.day2, fault=hiding)
    run_delta(project)
    assert expunged <= set(run_harvest(project)["posts"]["post_id"])


def test_post_that_the_feed_did_not_tell_of_is_found_by_counting(
    days: Days, project: Project
) -> None:
    quiet = replace(
        days.day1.posts[400], id=days.day1.posts[400].id + 1, md5="1" * 32, change_seq=1
    )
    posts = sorted([*noon(days).posts, quiet], key=lambda post: post.id)
    assert len({post.id for post in posts}) == len(posts)
    days.serve(given(days.day2, posts))
    run_delta(project)
    assert quiet.id in set(run_harvest(project)["posts"]["post_id"])


def feed_starts(site: Site) -> list[str]:
    return [
        tags
        for request in site.requests
        for tags in parse_qs(request.query).get("tags", [])
        if tags.startswith("change:>")
    ]


@pytest.mark.parametrize("answered", [2, 3, 5, 7])
def test_delta_killed_at_any_moment_goes_on_and_ends_the_same(
    days: Days, project: Project, answered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = given(
        days.day2,
        [
            replace(post, change_seq=900_000_000 + 16 * n)
            for n, post in enumerate(days.day2.posts)
        ],
    )
    site = days.serve(many)
    undisturbed = copied(project, project.paths.root.with_name("undisturbed"))
    run_delta(undisturbed)
    asked_at_once = len(site.requests)
    site = days.serve(many, fault=slowly)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "refresh", "--delta"],
        cwd=project.paths.root, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while len(site.requests) < answered and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -9
    assert pin.load(project.paths.pin).delta is None
    before = feed_starts(site)
    run_delta(project)
    assert project.paths.pin.read_bytes() == undisturbed.paths.pin.read_bytes()
    again = feed_starts(site)[len(before) :]
    assert len(set(before) & set(again)) <= 1, (
        "only the page under way, or the empty last one, is asked for again"
    )
    assert len(before) + len(again) <= 4 + 1 + 2
    assert asked_at_once >= answered


async def slowly(request: web.Request) -> web.StreamResponse | None:
    """Nothing is wrong, but it takes its time.

    So a run can be killed between two answers.
    """
    await asyncio.sleep(0.08)
    return None


def altered(alter: Callable[[list[Any]], None]) -> Fault:
    """A fault: lists of posts are as `alter` leaves the honest ones."""

    async def answer(request: web.Request) -> web.StreamResponse | None:
        if request.path != "/posts.json" or "only" in request.query:
            return None
        tree = json.loads(await honest_body(request))
        alter(tree["posts"])
        return json_response(tree)

    return answer


def unrated(*ids: int) -> Fault:
    """A fault: the records of these posts cannot be read, whatever asks for them."""

    def alter(posts: list[Any]) -> None:
        for one in posts:
            if one["id"] in ids:
                del one["rating"]

    return altered(alter)


def rejected(found: dict[str, pl.DataFrame]) -> list[tuple[str, int, str, str]]:
    return found["rejected"].select("export", "row", "reason", "value").rows()


def with_fate(days: Days, fate: Day2Event) -> Post:
    """A post of day 1 that meets this fate by day 2, as it is on day 2."""
    index = next(index for index in range(POSTS) if event_of(index) is fate)
    return next(
        post for post in days.day2.posts if post.id == days.day1.posts[index].id
    )


@pytest.mark.parametrize(
    "fate", [Day2Event.TAKEN_DOWN, None], ids=["taken down", "new"]
)
def test_post_whose_change_cannot_be_read_leaves_the_table(
    days: Days,
    project: Project,
    fate: Day2Event | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_delta(project)
    sound = pin.load(project.paths.pin).delta
    project = copied(days.harvested, project.paths.root.with_name("spoilt"))
    post = with_fate(days, fate) if fate else days.day2.posts[-1]
    days.serve(days.day2, fault=unrated(post.id))
    capsys.readouterr()
    run_delta(project)
    errors = capsys.readouterr().err
    found, full = run_harvest(project), snapshot(days.full)
    assert rejected(found) == [("posts", 0, "rating is missing", f"id {post.id}")]
    expected = full["posts"].filter(pl.col("post_id") != post.id)
    assert found["posts"].drop("is_withheld").equals(expected.drop("is_withheld"))
    delta = pin.load(project.paths.pin).delta
    assert sound is not None
    assert delta is not None
    assert (delta.changed, delta.gone) == (sound.changed, sound.gone), (
        "the post counts as changed, and is not gone"
    )
    line = (
        f"1 record of changed posts cannot be read, first id {post.id} "
        "(rating is missing). The snapshot leaves "
    )
    assert errors.count(line) == capsys.readouterr().err.count(line) == 1
    assert "data/snapshot/rejected.parquet" in errors


def test_post_that_cannot_be_read_stays_out_until_a_later_change_can(
    days: Days, project: Project
) -> None:
    post = with_fate(days, Day2Event.RETAGGED)

    def changed(change_seq: int, tag: str) -> Given:
        # What the export has, then what a delta has, goes too, and is not taken for
        # gone.
        late = replace(post, change_seq=change_seq, tags=(tag,))
        return given(
            days.day2, [late if one.id == post.id else one for one in days.day2.posts]
        )

    def tags() -> list[list[str]]:
        posts = run_harvest(project)["posts"]
        assert posts.height == len(days.day2.posts) - (
            posts.filter(post_id=post.id).height == 0
        )
        return posts.filter(post_id=post.id)["tags"].to_list()

    days.serve(changed(910_000_000, "fox"))
    run_delta(project)
    assert tags() == [["fox"]]
    days.serve(changed(920_000_000, "wolf"), fault=unrated(post.id))
    run_delta(project)
    assert tags() == []
    before = project.paths.pin.read_bytes()
    site = days.serve(changed(920_000_000, "wolf"), fault=unrated(post.id))
    assert not run_delta(project)
    assert project.paths.pin.read_bytes() == before
    assert len(site.requests) <= 5, "it is held, so that no count differs"
    days.serve(changed(930_000_000, "solo"))
    run_delta(project)
    assert tags() == [["solo"]]
    assert run_harvest(project)["rejected"].is_empty()


def test_post_that_cannot_be_read_and_then_is_expunged_is_gone(
    days: Days, project: Project
) -> None:
    post = with_fate(days, Day2Event.RETAGGED)
    days.serve(days.day2, fault=unrated(post.id))
    run_delta(project)
    was = pin.load(project.paths.pin).delta
    days.serve(given(days.day2, [one for one in days.day2.posts if one.id != post.id]))
    run_delta(project)
    found, delta = run_harvest(project), pin.load(project.paths.pin).delta
    assert (
        found["posts"].filter(post_id=post.id).height,
        found["rejected"].height,
    ) == (0, 0)
    assert was is not None
    assert delta is not None
    assert (delta.changed, delta.gone) == (was.changed - 1, was.gone + 1)


MIXED = (10, 400, 700)
"""Posts on the first, second and third page of a feed in which all posts changed."""


@pytest.mark.parametrize(
    ("page", "change", "stays"),
    [
        pytest.param(0, 11, True, id="an older change"),
        pytest.param(
            0, None, True, id="a change of unknown number, on an earlier page"
        ),
        pytest.param(1, None, False, id="a change of unknown number, on the same page"),
        pytest.param(2, None, False, id="a change of unknown number, on a later page"),
        pytest.param(2, 701, False, id="a newer change"),
    ],
)
def test_post_is_as_the_latest_word_of_one_feed_says(
    days: Days, project: Project, page: int, change: int | None, stays: bool
) -> None:
    """The record of post 400 can be read.

    And one feed tells of the post once more in one that cannot.
    """
    many = given(
        days.day2,
        [
            replace(post, change_seq=900_000_000 + 16 * n)
            for n, post in enumerate(days.day2.posts)
        ],
    )
    post = many.posts[400]

    def twice(posts: list[Any]) -> None:
        if many.posts[MIXED[page]].id in {one["id"] for one in posts}:
            posts.insert(
                0,
                {
                    "id": post.id,
                    "change_seq": None
                    if change is None
                    else many.posts[change].change_seq,
                },
            )

    days.serve(many, fault=altered(twice))
    run_delta(project)
    found = run_harvest(project)
    assert found["posts"]["post_id"].to_list() == [
        one.id for one in many.posts if stays or one.id != post.id
    ]
    assert [value.split(":")[0] for *_, value in rejected(found)] == [
        f"id {post.id}"
    ] * (not stays)


def test_record_without_an_id_stops_the_delta_and_is_asked_for_again(
    days: Days, project: Project
) -> None:
    def nameless(posts: list[Any]) -> None:
        for one in posts[:1]:
            one["id"] = "?"

    before = project.paths.pin.read_bytes()
    days.serve(days.day2, fault=altered(nameless))
    with pytest.raises(
        BadAnswer,
        match=r"with change:>\d+ gave a record without an id that can be read "
        r"\(number 1: id is not a whole number\): nobody can know which post changed\. "
        r"Nothing was pinned\. Run e6tag refresh, without --delta, for a full one",
    ):
        run_delta(project)
    assert project.paths.pin.read_bytes() == before
    days.serve(days.day2)
    run_delta(project)
    assert_same(run_harvest(project), snapshot(days.full))


def with_quiet_post(days: Days) -> tuple[Given, Post]:
    """Returns a board, and a post of it that is in no feed of changes."""
    sound = days.day1.posts[400]
    quiet = replace(sound, id=sound.id + 1, md5="1" * 32, change_seq=1)
    posts = sorted([*noon(days).posts, quiet], key=lambda post: post.id)
    return given(days.day2, posts), quiet


def test_post_found_by_counting_that_has_no_id_stops_the_refresh(
    days: Days, project: Project
) -> None:
    board, quiet = with_quiet_post(days)

    def nameless(posts: list[Any]) -> None:
        for one in posts:
            if one["id"] == quiet.id:
                one["id"] = "?"

    before = project.paths.pin.read_bytes()
    days.serve(board, fault=altered(nameless))
    with pytest.raises(
        BadAnswer, match="with ids that are missing from the feed gave a record without"
    ):
        run_delta(project)
    assert project.paths.pin.read_bytes() == before


def test_post_found_by_counting_that_cannot_be_read_is_listed_and_counted_as_held(
    days: Days, project: Project
) -> None:
    board, quiet = with_quiet_post(days)
    days.serve(board, fault=unrated(quiet.id))
    run_delta(project)
    found = run_harvest(project)
    assert rejected(found) == [("posts", 0, "rating is missing", f"id {quiet.id}")]
    assert found["posts"]["post_id"].to_list() == [
        post.id for post in board.posts if post.id != quiet.id
    ]
    site = days.serve(board, fault=unrated(quiet.id))
    assert not run_delta(project)
    assert len(site.requests) <= 5


def test_changes_that_do_not_tell_which_posts_are_out_are_fetched_again(
    days: Days, project: Project
) -> None:
    run_delta(project)
    folder, pinned = (
        project.paths.work("refresh") / "changes",
        pin.load(project.paths.pin),
    )
    assert pinned.delta is not None
    old = folder / "old.parquet"
    row = {"export": "posts", "row": 0, "reason": "rating is missing", "value": "id 7"}
    note = {
        **parquet.metadata(folder / f"{pinned.delta.checksum}.parquet"),
        "rejected": json.dumps([row]),
    }
    parquet.write(
        old,
        parquet.read(folder / f"{pinned.delta.checksum}.parquet"),
        POSTS_SCHEMA,
        metadata=note,
    )
    checksum = hashlib.sha256(old.read_bytes()).hexdigest()
    old.rename(folder / f"{checksum}.parquet")
    pin.save(
        project.paths.pin,
        replace(pinned, delta=replace(pinned.delta, checksum=checksum)),
    )
    with pytest.raises(
        BadInput,
        match=r"does not record which posts could not be read: .* "
        "Run e6tag refresh --delta",
    ):
        run_harvest(project)
    run_delta(project)
    assert pin.load(project.paths.pin) == pinned
    assert_same(run_harvest(project), snapshot(days.full))


def damage_base(project: Project) -> Path:
    """Damages the export that a delta builds on, where nothing of it is noted.

    Returns its path.
    """
    shutil.rmtree(project.paths.work("harvest") / "base")
    path = deltas.base_export(pin.load(project.paths.pin), project.paths)
    damage(path)
    return path


def test_damaged_base_is_fetched_again_while_the_site_has_it(
    days: Days, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damage_base(project)
    days.serve(days.day1)
    assert not run_delta(project)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name.removesuffix(
        ".csv.gz"
    )
    assert "the export posts was damaged on this disk" in capsys.readouterr().err
    days.serve(days.day2)
    run_delta(project)
    assert_same(run_harvest(project), snapshot(days.full))


def test_damaged_base_that_the_site_no_longer_has_names_the_full_refresh(
    days: Days, project: Project
) -> None:
    damage_base(project)
    with pytest.raises(
        ExportChanged,
        match=r"the site serves posts of .*, which is gone\. Run e6tag refresh, review",
    ):
        run_delta(project)
    refresh.run(project.params, project.paths)
    assert_same(run_harvest(project), snapshot(days.full))


def test_search_pin_has_nothing_to_build_a_delta_on(days: Days, tmp_path: Path) -> None:
    at = days.serve(days.day2)
    project = make_project(
        tmp_path / "search", at, harvest={"source": "api", "query": "rating:s"}
    )
    with pytest.raises(BadInput, match=r"--delta builds on a pinned export"):
        run_delta(project)


def test_changes_at_the_edges_of_chunks_are_not_lost(
    days: Days, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_delta(project)
    delta = pin.load(project.paths.pin).delta
    assert delta is not None
    file = project.paths.work("refresh") / "changes" / f"{delta.checksum}.parquet"
    folder = project.paths.root / "applied"
    shutil.copytree(days.harvested.paths.snapshot, folder)
    monkeypatch.setattr(parquet, "ROW_GROUP", 7)
    changes.apply_delta(file, folder)
    expected = snapshot(days.full)["posts"].drop("is_withheld")
    assert (
        pl.read_parquet(folder / "posts.parquet").drop("is_withheld").equals(expected)
    )


def test_pin_with_a_delta_reads_back(project: Project) -> None:
    run_delta(project)
    tree = json.loads(project.paths.pin.read_text())
    assert set(tree["delta"]) == {
        "base_change",
        "change",
        "changed",
        "gone",
        "checksum",
    }
    params = project.params.harvest.model_copy(update={"source": "api", "query": "fox"})
    with pytest.raises(
        ExportChanged,
        match=r"pins the exports but params.yaml asks for the search 'fox'",
    ):
        harvest.run(params, project.paths, site=project.params.site)
