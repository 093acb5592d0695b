"""The drawn board: what it promises about posts, tags, pictures and days."""

import hashlib
import io
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from sandbox.art import png
from sandbox.board import drawn as board_module
from sandbox.board.drawn import SandboxBoard, WrongPicture
from sandbox.board.posts import make_post
from sandbox.boards import open_board
from sandbox.contact_sheet import contact_sheet
from sandbox.records import CATEGORIES, Post
from sandbox.world.traits import (
    CLOSURE,
    DRAWN_GENERAL,
    IMPLICATIONS,
    OPT_OUTS,
    TRAITS,
    YOUNG,
)

STILL = ("jpg", "png", "webp")


@pytest.fixture(scope="module")
def board() -> SandboxBoard:
    return SandboxBoard()


@pytest.fixture(scope="module")
def next_day() -> SandboxBoard:
    return SandboxBoard(day=2)


@pytest.fixture(scope="module")
def eligible(board: SandboxBoard) -> list[Post]:
    """What the shipped parameters let a run choose from."""
    barred = {*OPT_OUTS, "comic"}
    return [
        post
        for post in board.posts
        if post.rating == "s"
        and not post.is_deleted
        and post.ext in STILL
        and not barred & {*post.tags, *post.locked_tags}
    ]


def by_id(board: SandboxBoard) -> dict[int, Post]:
    return {post.id: post for post in board.posts}


# --- metadata -------------------------------------------------------------------------


def test_metadata_of_30_000_posts_takes_seconds() -> None:
    begun = time.process_time()
    posts = [make_post(621, index, ("0" * 32, 1)) for index in range(3_000)]
    assert 10 * (time.process_time() - begun) < 8, (
        "30,000 posts should take about 2 s of CPU"
    )
    assert len({post.id for post in posts}) == 3_000


def test_a_smaller_board_is_a_prefix_of_a_larger_one(board: SandboxBoard) -> None:
    assert list(SandboxBoard(posts=700).posts) == list(board.posts[:700])


def test_the_board_is_the_same_in_another_process(board: SandboxBoard) -> None:
    code = (
        "from sandbox.board.drawn import SandboxBoard as B; import hashlib as h; "
        "b = B(900); known = [b.posts, b.tags, b.truth(b.posts[7].id) == 0]; "
        "print(h.sha256(repr(known).encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    root = Path(board_module.__file__).parents[2]
    printed = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        cwd=root,
        env=environment,
    )
    here = SandboxBoard(900)
    text = repr([here.posts, here.tags, False])
    assert printed.stdout.decode().strip() == hashlib.sha256(text.encode()).hexdigest()


def test_ids_grow_and_have_gaps(board: SandboxBoard) -> None:
    ids = [post.id for post in board.posts]
    assert ids == sorted(set(ids))
    assert ids[-1] - ids[0] > 2 * len(ids)
    assert (
        len({post.md5 for post in board.posts})
        == len(ids)
        == len({post.change_seq for post in board.posts})
    )


def test_posts_come_in_from_2016_until_the_exports(board: SandboxBoard) -> None:
    made = [post.created_at for post in board.posts]
    assert made == sorted(made)
    assert made[0].year == 2016
    assert (board.now - made[-1]).total_seconds() > 0
    assert all(
        post.updated_at is None or post.created_at <= post.updated_at <= board.now
        for post in board.posts
    )


def test_tags_are_sorted_by_code_point_and_in_the_tag_table(
    board: SandboxBoard,
) -> None:
    names = {tag.name for tag in board.tags}
    for post in board.posts:
        assert list(post.tags) == sorted(set(post.tags))
        assert names.issuperset(post.tags)


def test_shares_of_ratings_formats_and_deleted_posts(
    board: SandboxBoard, eligible: list[Post]
) -> None:
    share = Counter[str]()
    for post in board.posts:
        share.update([post.rating, post.ext, "deleted" if post.is_deleted else "kept"])
        share["large"] += post.ext in STILL and (
            min(post.width, post.height) > 850 or max(post.width, post.height) > 1_700
        )
    part = {name: count / len(board.posts) for name, count in share.items()}
    assert 0.62 < part["s"] < 0.68
    assert 0.03 < part["deleted"] < 0.05
    assert 0.72 < part["jpg"] < 0.78
    assert 0.18 < part["png"] < 0.24
    assert 0.01 < sum(part[ext] for ext in ("gif", "webm", "mp4", "swf")) < 0.03
    assert 0.06 < part["large"] < 0.1
    assert 0.55 < len(eligible) / len(board.posts) < 0.60


def test_every_forbidden_combination_is_there(board: SandboxBoard) -> None:
    found = Counter[str]()
    for post in board.posts:
        for name in (*YOUNG, *OPT_OUTS):
            if name in post.tags:
                found[f"{name} {post.rating}"] += 1
            elif name in post.locked_tags:
                found[f"{name} locked only"] += 1
        reached = any("young" in CLOSURE.get(name, ()) for name in post.tags)
        if reached and "young" not in post.tags and post.rating != "s":
            found["young only by implication"] += 1
    for name in (*YOUNG, *OPT_OUTS):
        assert all(found[f"{name} {rating}"] >= 5 for rating in "sqe"), name
    assert all(found[f"{name} locked only"] >= 5 for name in OPT_OUTS)
    assert found["young only by implication"] >= 10


def test_the_awkward_rows_are_there(board: SandboxBoard) -> None:
    posts, ids = board.posts, {post.id for post in board.posts}
    assert any(post.parent_id and post.parent_id not in ids for post in posts)
    assert any("\r\n" in post.description and '"' in post.description for post in posts)
    assert any("\n" in post.source for post in posts)
    assert any(post.updated_at is None for post in posts)
    assert any(post.bg_color for post in posts)
    assert any(
        post.bg_color is None and "transparent_background" in board.truth(post.id)
        for post in posts[:3_000]
    )
    for flag in (
        "is_pending",
        "is_flagged",
        "is_hidden_from_anonymous",
        "is_rating_locked",
    ):
        assert any(getattr(post, flag) for post in posts), flag
    names = {name for post in posts for name in post.tags}
    assert any(not name.isascii() for name in names)
    for sign in "\"'/:?&()":
        assert any(sign in name for name in names), sign


# --- vocabulary -----------------------------------------------------------------------


def test_ninety_tags_and_more_are_drawn() -> None:
    assert len(DRAWN_GENERAL) == len(set(DRAWN_GENERAL)) >= 90
    assert all(CATEGORIES[TRAITS[name].category] == "general" for name in DRAWN_GENERAL)


def test_frequencies_fall_from_over_half_the_posts_to_a_handful(
    board: SandboxBoard, eligible: list[Post]
) -> None:
    counts = Counter(name for post in eligible for name in post.tags)
    live = Counter(
        name for post in board.posts if not post.is_deleted for name in post.tags
    )
    many = [name for name in DRAWN_GENERAL if counts[name] >= 1_300]
    between = [name for name in DRAWN_GENERAL if 570 <= counts[name] < 1_300]
    few = [name for name in DRAWN_GENERAL if counts[name] < 570]
    handful = [name for name in DRAWN_GENERAL if 5 <= live[name] <= 30]
    assert max(counts.values()) > len(eligible) / 2
    assert 45 <= len(many) <= 65
    assert len(few) >= 15
    assert not between, "tags at the threshold of 512 positives make a sample large"
    assert handful


def test_a_typical_post_has_12_to_20_general_tags(eligible: list[Post]) -> None:
    general = [
        sum(name in TRAITS and TRAITS[name].category == 0 for name in post.tags)
        for post in eligible
    ]
    assert 12 <= sorted(general)[len(general) // 2] <= 20


def test_traits_are_correlated(board: SandboxBoard) -> None:
    truths = [board.truth(post.id) for post in board.posts[:3_000]]

    def share(name: str, given: str) -> float:
        return sum(name in truth for truth in truths if given in truth) / sum(
            given in truth for truth in truths
        )

    assert share("moon", "night") > 0.6 > 0.05 > share("sun", "night")
    assert share("fluffy_tail", "fox") > 2 * share("fluffy_tail", "mammal") / 1.5
    assert share("orange_body", "red_fox") > 0.8 > share("orange_body", "wolf")
    assert share("scarf", "snow") > 2 * share("scarf", "grass")


def test_implications_form_a_dag_and_reach_young_in_one_and_two_steps() -> None:
    assert all(name not in CLOSURE[above] for name, above in IMPLICATIONS)
    assert {("cub", "young"), ("kit_(young)", "cub")} <= set(IMPLICATIONS)
    assert CLOSURE["red_fox"] == ("red_fox", "fox", "canine", "canid", "mammal")


def test_relations_of_every_status_and_an_alias_of_two_steps(
    board: SandboxBoard,
) -> None:
    statuses = {
        relation.status.split(":")[0]
        for relation in (*board.aliases, *board.implications)
    }
    assert statuses >= {
        "active",
        "pending",
        "deleted",
        "retired",
        "queued",
        "processing",
        "error",
    }
    active = {
        alias.antecedent_name: alias.consequent_name
        for alias in board.aliases
        if alias.status == "active"
    }
    assert active[active["doggy"]] == "domestic_dog"
    assert any(not antecedent.isascii() for antecedent in active)
    assert any(relation.created_at is None for relation in board.aliases)


def test_older_posts_lag_behind_aliases_and_implications(board: SandboxBoard) -> None:
    spellings = {
        alias.antecedent_name for alias in board.aliases if alias.status == "active"
    }
    old, new = board.posts[:12_000], board.posts[12_000:]
    assert sum(bool(spellings & set(post.tags)) for post in old) > 300
    assert not any(spellings & set(post.tags) for post in new)
    lacking = [
        post
        for post in old
        if any(not set(CLOSURE.get(name, ())) <= set(post.tags) for name in post.tags)
    ]
    assert len(lacking) > 300


def test_post_counts_leave_out_deleted_posts_and_drift_on_few_tags(
    board: SandboxBoard,
) -> None:
    counts = Counter(
        name for post in board.posts if not post.is_deleted for name in post.tags
    )
    off = [tag.name for tag in board.tags if tag.post_count != counts[tag.name]]
    assert 1 <= len(off) < len(board.tags) / 10


# --- labels ---------------------------------------------------------------------------


def test_annotators_overlook_some_tags_and_invent_few(board: SandboxBoard) -> None:
    given = missing = wrong = 0
    for post in board.posts[12_000:14_000]:
        truth = {name for name in board.truth(post.id) if name in DRAWN_GENERAL}
        tags = {name for name in post.tags if name in DRAWN_GENERAL}
        given += len(tags)
        missing += len(truth - tags)
        wrong += len(tags - truth)
    assert 0.02 < missing / (given + missing) < 0.12
    assert 0 < wrong / given < 0.02


def test_truth_is_closed_under_implications(board: SandboxBoard) -> None:
    for post in board.posts[:500]:
        truth = board.truth(post.id)
        assert all(truth.issuperset(CLOSURE[name]) for name in truth)


def test_truth_of_an_unknown_post_is_a_key_error(board: SandboxBoard) -> None:
    with pytest.raises(KeyError):
        board.truth(board.posts[0].id - 5)


# --- pictures -------------------------------------------------------------------------


def test_pictures_have_the_bytes_of_the_catalogue(board: SandboxBoard) -> None:
    for post in board.posts[
        ::750
    ]:  # 40 posts of all years; `original` compares the md5s itself
        data = board.original(post.md5)
        assert len(data) == post.file_size
        if post.ext in STILL:
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
                assert picture.size == (post.width, post.height)
                assert (
                    picture.format
                    == {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[post.ext]
                )


def test_a_picture_drawn_otherwise_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = SandboxBoard(posts=5)
    monkeypatch.setattr(board_module, "file_bytes", lambda _scene: b"another Pillow")
    with pytest.raises(WrongPicture, match="python -m sandbox catalogue"):
        small.original(small.posts[0].md5)


def test_an_unknown_md5_is_a_key_error(board: SandboxBoard) -> None:
    with pytest.raises(KeyError):
        board.original("0" * 32)


def test_another_seed_is_another_board_drawn_at_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    other = SandboxBoard(posts=6, seed=7)
    assert "drawing" in capfd.readouterr().err
    post = next(post for post in other.posts if post.ext in STILL)
    assert (
        hashlib.md5(other.original(post.md5), usedforsecurity=False).hexdigest()
        == post.md5
    )
    assert [post.tags for post in other.posts] != [
        post.tags for post in SandboxBoard(posts=6).posts
    ]


def test_animations_begin_as_their_kind_does(board: SandboxBoard) -> None:
    magic = {"gif": b"GIF8", "webm": b"\x1aE\xdf\xa3", "mp4": b"ftyp", "swf": b"FWS"}
    for ext, start in magic.items():
        post = next(post for post in board.posts if post.ext == ext)
        assert start in board.original(post.md5)[:12]
        assert (post.duration is None) == (ext == "swf")


def test_re_encoded_copies_without_a_parent_exist(board: SandboxBoard) -> None:
    from sandbox.board.provenance import origin_of

    kinds = Counter(
        (origin.kind, origin.parented)
        for origin in (origin_of(621, index) for index in range(5_000))
    )
    assert kinds["copy", False] > 40
    assert kinds["copy", True] > 25
    assert kinds["recoloured", True] > 60
    assert kinds["cropped", True] > 40


def test_png_writer_is_read_back_and_stores_its_pixels() -> None:
    pixels = bytes((x * y) % 3 for y in range(300) for x in range(301))
    data = png.encode(301, 300, pixels, bytes([0, 0, 0, 255, 0, 0, 9, 9, 9]), b"\x80")
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size == (301, 300)
        assert picture.tobytes() == pixels
        assert picture.convert("RGBA").getpixel((0, 0)) == (0, 0, 0, 128)
    assert len(data) > len(pixels)


def test_a_contact_sheet_shows_as_many_pictures_as_asked_for() -> None:
    sheet = contact_sheet(SandboxBoard(posts=40), n=10, seed=1)
    assert sheet.width == 8 * 240
    assert sheet.height > 2 * 240


# --- day 2 ----------------------------------------------------------------------------


def test_day_2_brings_one_percent_new_posts(
    board: SandboxBoard, next_day: SandboxBoard
) -> None:
    before, after = by_id(board), by_id(next_day)
    fresh = [post for number, post in after.items() if number not in before]
    assert len(fresh) == 300
    assert all(board.now < post.created_at < next_day.now for post in fresh)
    assert [post.id for post in next_day.posts] == sorted(after)


def test_day_2_changes_what_a_day_changes_and_bumps_change_seq(
    board: SandboxBoard, next_day: SandboxBoard
) -> None:
    before, after = by_id(board), by_id(next_day)
    seen = Counter[str]("expunged" for number in before if number not in after)
    highest = max(post.change_seq for post in board.posts)
    for number, old in before.items():
        new = after.get(number)
        if new is None or new == old:
            continue
        assert new.change_seq > highest
        seen["deleted"] += new.is_deleted and not old.is_deleted
        seen["replaced"] += new.md5 != old.md5
        seen["retagged"] += new.tags != old.tags and new.md5 == old.md5
        seen["rerated"] += new.rating != old.rating
        seen["opted out"] += (
            "conditional_dnp" in new.tags and "conditional_dnp" not in old.tags
        )
    for event in (
        "expunged",
        "deleted",
        "replaced",
        "retagged",
        "rerated",
        "opted out",
    ):
        assert seen[event] >= 20, event


def test_a_small_board_sees_every_event_too() -> None:
    before, after = (
        by_id(SandboxBoard(posts=600)),
        by_id(SandboxBoard(posts=600, day=2)),
    )
    assert len(after.keys() - before.keys()) == 6
    assert before.keys() - after.keys()
    assert any(
        post.md5 != before[number].md5
        for number, post in after.items()
        if number in before
    )


def test_a_replaced_file_is_served_and_the_old_one_is_gone(
    board: SandboxBoard, next_day: SandboxBoard
) -> None:
    before = by_id(board)
    new = next(
        post
        for post in next_day.posts
        if post.id in before and post.md5 != before[post.id].md5
    )
    assert len(next_day.original(new.md5)) == new.file_size
    with pytest.raises(KeyError):
        next_day.original(before[new.id].md5)


def test_day_2_has_one_new_alias_whose_old_spelling_was_in_use(
    board: SandboxBoard, next_day: SandboxBoard
) -> None:
    fresh = set(next_day.aliases) - set(board.aliases)
    assert [(alias.antecedent_name, alias.consequent_name) for alias in fresh] == [
        ("smiling", "smile")
    ]
    assert sum("smiling" in post.tags for post in board.posts) > 100


def test_there_is_no_day_3() -> None:
    with pytest.raises(ValueError, match="day is 3; it must be 1 or 2"):
        SandboxBoard(posts=3, day=3)


def test_board_opens_by_name_at_its_day() -> None:
    opened = open_board("sandbox", posts=10, seed=3, day=2)
    assert (len(opened.posts) >= 10, opened.seed, opened.day) == (True, 3, 2)
    with pytest.raises(ValueError, match="no board 'e62'; choose one of sandbox"):
        open_board("e62")
