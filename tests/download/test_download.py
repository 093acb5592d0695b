"""Download: every picture once, whatever happens, and only pictures."""

import asyncio
import hashlib
import io
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline import download, packs, parquet, pin, refresh, sample
from pipeline.download import spool, variants, verify
from pipeline.download.fetch import ASIDE
from pipeline.download.spool import Spool
from pipeline.download.variants import ImageRequest
from pipeline.errors import (
    BadInput,
    Busy,
    ChallengePage,
    CorruptFile,
    PolicyViolation,
    SiteUnreachable,
    TooManyRejects,
)
from pipeline.params import Params
from pipeline.schemas.images import TAKEDOWNS
from pipeline.schemas.snapshot import POSTS
from pipeline.site.client import PermanentFailure, Response, TransientFailure
from sandbox import faults
from sandbox.board.drawn import SandboxBoard
from sandbox.server import variants as site_variants
from sandbox.server.app import Site
from tests.builders.project import (
    ROOT,
    Project,
    damage,
    hashes,
    make_project,
    prepare,
    served,
)


def run(project: Project, params: Params | None = None) -> None:
    params = params or project.params
    download.run(params.download, project.paths, site=params.site)


def outcomes(project: Project) -> pl.DataFrame:
    return pl.read_parquet(project.paths.images / "outcomes.parquet")


def pictures_asked(site: Site, since: int = 0) -> Counter[str]:
    return Counter(
        r.path
        for r in site.requests[since:]
        if r.host == "static" and "/db_export/" not in r.path
    )


def stage(project: Project, name: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline", name]
    return subprocess.Popen(
        command, cwd=project.paths.root, env=environment, stderr=subprocess.PIPE
    )


def test_every_wanted_picture_is_packed_as_the_board_has_it(
    sampled: Project, board: SandboxBoard
) -> None:
    run(sampled)
    wanted = pl.read_parquet(sampled.paths.sample / "posts.parquet")["md5"]
    got = outcomes(sampled)
    assert sorted(got["md5"]) == sorted(wanted)
    assert set(got["outcome"]) <= {"kept", "not_found"}  # hidden posts are 404
    originals = got.filter(
        (pl.col("outcome") == "kept") & (pl.col("variant") == "original")
    )
    reader = packs.PackReader(sampled.paths.images)
    for md5, pack in originals.select("md5", "pack").head(20).iter_rows():
        assert reader.bytes(pack, md5) == board.original(md5)


def test_second_run_asks_for_nothing(sampled: Project) -> None:
    run(sampled)
    before, asked = hashes(sampled.paths.images), len(sampled.site.requests)
    run(sampled)
    assert hashes(sampled.paths.images) == before
    assert not pictures_asked(sampled.site, asked)


def test_no_forbidden_post_is_ever_requested(
    sampled: Project, board: SandboxBoard
) -> None:
    asked = len(sampled.site.requests)
    run(sampled)
    by_md5 = {post.md5: post for post in board.posts}
    paths = pictures_asked(sampled.site, asked)
    assert len(paths) > 50
    for path in paths:
        post = by_md5[Path(path).stem]
        assert post.rating == "s"
        assert not post.is_deleted
        assert not {"avoid_posting", "conditional_dnp"} & set(
            post.tags + post.locked_tags
        )
        assert post.ext in {"jpg", "png", "webp"}


def test_killed_download_ends_with_the_same_bytes_and_asks_for_nothing_twice(
    tmp_path: Path, board: SandboxBoard, sampled: Project
) -> None:
    run(sampled)
    undisturbed = hashes(sampled.paths.images)
    with served(board) as site:
        killed = prepare(make_project(tmp_path / "killed", site))
        stored: set[str] = set()
        for images in (1, 20, 40, 60):
            started = len(site.requests)
            kill_download_after(killed, images)
            assert not requested(site, started) & stored
            assert stored < stored_images(killed)
            stored = stored_images(killed)
        started = len(site.requests)
        process = stage(killed, "download")
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert not requested(site, started) & stored
        assert hashes(killed.paths.images) == undisturbed
        assert not spool.folder(killed.paths).exists()


def kill_download_after(project: Project, images: int) -> None:
    """Runs the stage; kills it while it works, when so many images are on disk."""
    process = stage(project, "download")
    while process.poll() is None and len(stored_images(project)) < images:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before the kill"


def stored_images(project: Project) -> set[str]:
    """Md5s of the images that are whole on disk, in packs or waiting for theirs."""
    waiting = {record.md5 for record in spool.records(project.paths)}
    packed = packs.index(project.paths.images)["md5"].to_list()
    return waiting.union(packed)


def requested(site: Site, since: int) -> set[str]:
    """Md5s of the images requested since then."""
    return {Path(path).stem for path in pictures_asked(site, since)}


def a_few(project: Project) -> list[str]:
    """Md5s of three pictures that are fetched as originals."""
    posts = pl.read_parquet(project.paths.sample / "posts.parquet").filter(
        pl.max_horizontal("width", "height") <= 850
    )
    hidden = {
        post.md5
        for post in SandboxBoard(posts=600).posts
        if post.is_hidden_from_anonymous
    }
    return [md5 for md5 in posts["md5"] if md5 not in hidden][:3]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(faults.Truncated, "truncated", id="truncated"),
        pytest.param(faults.WrongBytes, "md5_mismatch", id="another md5"),
        pytest.param(faults.Html, "not_a_picture", id="html"),
    ],
)
def test_bad_pictures_are_rejected_counted_and_listed_and_the_run_goes_on(
    sampled: Project,
    board: SandboxBoard,
    tmp_path: Path,
    fault: Callable[..., object],
    reason: str,
) -> None:
    bad = a_few(sampled)
    with served(board, fault=fault(bad)) as site:
        spoilt = prepare(
            make_project(
                tmp_path / "spoilt", site, download={"max_rejected": 0.5, "retries": 1}
            )
        )
        run(spoilt)
        refused = outcomes(spoilt).filter(pl.col("md5").is_in(bad))
        assert refused["outcome"].to_list() == [reason] * 3
        assert refused["pack"].null_count() == 3
        assert outcomes(spoilt).filter(pl.col("outcome") == "kept").height > 50


def test_site_that_gives_the_same_wrong_file_for_every_picture_is_left_alone(
    tmp_path: Path, board: SandboxBoard
) -> None:
    with served(board, fault=faults.WrongBytes("/data/(?!db_export/)")) as site:
        project = prepare(
            make_project(tmp_path / "placeholder", site, download={"retries": 0})
        )
        with pytest.raises(
            SiteUnreachable,
            match=r"none of 25 pictures in a row, .* "
            r"Check site.static_url and site.contact\. Run the same command",
        ):
            run(project)
        assert sum(pictures_asked(site).values()) < 100


def test_decompression_bomb_is_refused_unopened(
    tmp_path: Path, sampled: Project, board: SandboxBoard
) -> None:
    md5 = a_few(sampled)[0]
    post = next(post for post in board.posts if post.md5 == md5)
    planted = faults.Planted(board, {post.id: faults.bomb()})
    with served(planted) as site:
        spoilt = prepare(
            make_project(tmp_path / "spoilt", site, download={"max_rejected": 0.5})
        )
        run(spoilt)
        refused = outcomes(spoilt).filter(pl.col("outcome") == "decompression_bomb")
        assert refused["md5"].to_list() == [
            hashlib.md5(faults.bomb(), usedforsecurity=False).hexdigest()
        ]


def test_too_many_refusals_fail_the_stage_but_lose_nothing(
    tmp_path: Path, sampled: Project, board: SandboxBoard
) -> None:
    bad = a_few(sampled)
    with served(board, fault=faults.Html(bad)) as site:
        spoilt = prepare(
            make_project(
                tmp_path / "spoilt", site, download={"max_rejected": 0.0, "retries": 0}
            )
        )
        with pytest.raises(
            TooManyRejects, match=r"pictures are not here \(limit 0.0%\), first"
        ):
            run(spoilt)
        assert outcomes(spoilt).filter(pl.col("outcome") == "kept").height > 50


def test_site_that_goes_down_can_be_tried_later_and_nothing_is_lost(
    tmp_path: Path, sampled: Project, board: SandboxBoard
) -> None:
    run(sampled)
    with served(board, fault=faults.Down("/data/0")) as site:
        half = prepare(make_project(tmp_path / "half", site, download={"retries": 0}))
        with pytest.raises(SiteUnreachable) as raised:
            run(half)
        assert raised.value.exit_status == 75
    with served(board) as site:  # back again, at another address
        address = {
            "name": "custom",
            "base_url": site.base_url,
            "static_url": site.static_url,
        }
        params = Params.model_validate(
            {**half.params.model_dump(), "site": address, "download": SAME}
        )
        download.run(params.download, half.paths, site=params.site)
        assert (
            outcomes(half)["outcome"].to_list()
            == outcomes(sampled)["outcome"].to_list()
        )
        assert all(count == 1 for count in pictures_asked(site).values())
        delivered = [
            one.path
            for one in site.requests
            if one.host == "static" and one.status == 200
        ]
        assert all(
            path.startswith("/data/0") for path in delivered
        )  # what came before the fault is not asked for again


SAME = {"pack_images": 40, "retries": 2}


def test_damaged_pack_is_found_named_and_fetched_anew(
    sampled: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    run(sampled)
    before = hashes(sampled.paths.images)
    path = packs.pack_files(sampled.paths.images)[0]
    damage(path)
    run(sampled)
    assert f"{path.name} is damaged" in capfd.readouterr().err
    assert hashes(sampled.paths.images) == before


def change_posts(
    project: Project, *changes: pl.Expr, without: tuple[int, ...] = ()
) -> None:
    """Changes the snapshot's posts, as a refresh would, and samples anew."""
    path = project.paths.snapshot / "posts.parquet"
    posts = (
        pl.read_parquet(path)
        .filter(~pl.col("post_id").is_in(without))
        .with_columns(*changes)
    )
    parquet.write(path, posts, POSTS)
    params = project.params
    sample.run(params.sample, project.paths)


def takedowns(project: Project) -> pl.DataFrame:
    return pl.read_parquet(project.paths.images / "takedowns.parquet")


def test_most_failures_being_temporary_the_line_says_when_to_come_back(
    tmp_path: Path, board: SandboxBoard, sampled: Project
) -> None:
    with served(board, fault=faults.Down(a_few(sampled))) as site:
        project = prepare(
            make_project(
                tmp_path / "half", site, download={"max_rejected": 0.02, "retries": 0}
            )
        )
        with pytest.raises(
            SiteUnreachable,
            match=r"What is here is kept\. Run the same command again in a minute\.$",
        ):
            run(project)


def test_pictures_leave_also_where_the_sample_is_of_another_day_or_gone(
    ready: Project,
) -> None:
    first, second = packs.index(ready.paths.images)["md5"][:2]
    path = ready.paths.snapshot / "posts.parquet"
    posts = pl.read_parquet(path)
    parquet.write(
        path,
        posts.with_columns(pl.col("is_deleted") | (pl.col("md5") == first)),
        POSTS,
    )
    with pytest.raises(PolicyViolation, match="1 sampled posts may not be fetched"):
        run(ready)
    assert first not in set(packs.index(ready.paths.images)["md5"])
    assert takedowns(ready)["md5"].to_list() == [first]
    (ready.paths.sample / "posts.parquet").unlink()
    parquet.write(
        path,
        posts.with_columns(
            pl.col("is_deleted") | (pl.col("md5").is_in([first, second]))
        ),
        POSTS,
    )
    with pytest.raises(
        CorruptFile, match=r"posts\.parquet is not there\. Run dvc repro: "
    ):
        run(ready)
    assert not {first, second} & set(packs.index(ready.paths.images)["md5"])
    assert set(takedowns(ready)["md5"]) == {first, second}


def test_sample_of_another_day_is_not_fetched(ready: Project) -> None:
    path = ready.paths.snapshot / "posts.parquet"
    posts = pl.read_parquet(path).with_columns(is_deleted=True)
    parquet.write(path, posts, POSTS)
    with pytest.raises(PolicyViolation, match="may not be fetched"):
        run(ready)


def test_pictures_of_posts_that_were_taken_down_leave_their_packs_and_are_listed(
    ready: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    assert takedowns(ready).is_empty()
    index = packs.index(ready.paths.images)
    one_pack = index.filter(pl.col("pack") == index["pack"][0]).head(6)
    deleted, withheld, opted_out, moving, replaced, expunged = one_pack[
        "post_id"
    ].to_list()
    before = hashes(ready.paths.images)

    def of(post_id: int) -> pl.Expr:
        return pl.col("post_id") == post_id

    change_posts(
        ready,
        pl.col("is_deleted") | of(deleted),
        (pl.col("is_withheld") | of(withheld)).alias("is_withheld"),
        pl.when(of(opted_out))
        .then(pl.lit(["conditional_dnp"]))
        .otherwise("locked_tags")
        .alias("locked_tags"),
        pl.when(of(moving)).then(2.5).otherwise("duration").alias("duration"),
        pl.when(of(replaced)).then(pl.lit("f" * 32)).otherwise("md5").alias("md5"),
        without=(expunged,),
    )
    run(ready)
    said = dict(takedowns(ready).select("post_id", "reason").iter_rows())
    assert said == {
        deleted: "deleted",
        withheld: "withheld",
        opted_out: "opted_out",
        moving: "not_still",
        replaced: "replaced",
        expunged: "expunged",
    }
    assert takedowns(ready)["md5"].to_list() == sorted(one_pack["md5"])
    assert set(takedowns(ready)["snapshot"]) == {pin.load(ready.paths.pin).moment}
    assert (
        "6 pictures may no longer be kept and leave: 1 deleted, 1 expunged, 1 not_still"
        in capfd.readouterr().err
    )
    gone = set(one_pack["md5"])
    assert not gone & set(packs.index(ready.paths.images)["md5"])
    changed = {
        name
        for name, digest in hashes(ready.paths.images).items()
        if before.get(name, digest) != digest
    }
    assert changed == {one_pack["pack"][0], "outcomes.parquet", "takedowns.parquet"}


def of_site(project: Project, site: str) -> None:
    """Makes the stored images those of another site; this one lacks the first."""
    table = project.paths.images / "takedowns.parquet"
    parquet.write(table, takedowns(project), TAKEDOWNS, metadata={"site": site})
    first = packs.index(project.paths.images)["post_id"][0]
    change_posts(project, pl.col("is_deleted"), without=(first,))


@pytest.mark.parametrize("other", ["e621", "https://mirror.example"])
def test_pictures_of_a_real_site_are_not_removed_for_another_site(
    ready: Project, other: str
) -> None:
    of_site(ready, other)
    before = hashes(ready.paths.images)
    with pytest.raises(
        BadInput, match=rf"holds 1 pictures of {other} that .* does not have"
    ):
        run(ready)
    assert hashes(ready.paths.images) == before


def test_pictures_of_an_embedded_site_leave_for_another_and_are_no_takedowns(
    ready: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    first = packs.index(ready.paths.images)["md5"][0]
    of_site(ready, "sandbox")
    run(ready)
    assert first not in set(packs.index(ready.paths.images)["md5"])
    assert takedowns(ready).is_empty()
    assert (
        "1 pictures are of sandbox, another site, and leave" in capfd.readouterr().err
    )


def test_takedown_is_listed_as_long_as_it_holds(ready: Project) -> None:
    index = packs.index(ready.paths.images)
    first, second = index["post_id"][:2]
    change_posts(ready, pl.col("is_deleted") | pl.col("post_id").is_in([first, second]))
    run(ready)
    listed = takedowns(ready)
    run(ready)
    assert takedowns(ready).equals(listed)
    assert set(listed["post_id"]) == {first, second}
    change_posts(ready, pl.col("is_deleted") & (pl.col("post_id") != first))
    run(ready)
    assert takedowns(ready)["post_id"].to_list() == [second]


def test_picture_stays_while_one_of_its_posts_is_permitted(ready: Project) -> None:
    row = packs.index(ready.paths.images).row(0, named=True)
    path = ready.paths.snapshot / "posts.parquet"
    posts = pl.read_parquet(path)
    twin = posts.filter(pl.col("md5") == row["md5"]).with_columns(
        post_id=pl.lit(1, dtype=pl.Int64), is_deleted=pl.lit(value=True)
    )
    parquet.write(path, pl.concat([posts, twin]), POSTS, order_by="post_id")
    run(ready)
    assert takedowns(ready).is_empty()
    assert row["md5"] in set(packs.index(ready.paths.images)["md5"])


def test_picture_that_waits_is_taken_down_too(ready: Project) -> None:
    row = packs.index(ready.paths.images).row(0, named=True)
    body = packs.PackReader(ready.paths.images).bytes(row["pack"], row["md5"])
    leave_waiting(ready, row, body)
    shutil.rmtree(ready.paths.images)
    change_posts(ready, pl.col("is_deleted") | (pl.col("post_id") == row["post_id"]))
    run(ready)
    assert takedowns(ready).select("md5", "post_id", "reason").rows() == [
        (row["md5"], row["post_id"], "deleted")
    ]
    left = [
        path
        for path in ready.paths.root.rglob("*")
        if path.is_file() and body[:400] in path.read_bytes()
    ]
    assert left == []


def leave_waiting(project: Project, row: dict[str, Any], body: bytes) -> Path:
    """Leaves a picture as a killed run does."""
    one = ImageRequest(row["md5"], row["post_id"], row["variant"], "", 0, 0, 0)
    place = Spool(project.paths)
    record = place.append("pack-0.parquet", one, body)
    place.close()
    return record.path


@pytest.mark.parametrize("state", ["whole", "cut", "spoilt"])
def test_waiting_picture_is_used_only_if_it_is_whole(
    ready: Project, capfd: pytest.CaptureFixture[str], state: str
) -> None:
    row = (
        packs.index(ready.paths.images)
        .filter(pl.col("variant") == "original")
        .row(0, named=True)
    )
    path = leave_waiting(
        ready, row, packs.PackReader(ready.paths.images).bytes(row["pack"], row["md5"])
    )
    before = hashes(ready.paths.images)
    if state == "cut":
        os.truncate(path, path.stat().st_size - 1)
    elif state == "spoilt":
        damage(path)
    shutil.rmtree(ready.paths.images)
    ready.paths.ledger.unlink()
    asked = len(ready.site.requests)
    run(ready)
    again = [path for path in pictures_asked(ready.site, asked) if row["md5"] in path]
    assert len(again) == (state != "whole")
    assert ("are not whole" in capfd.readouterr().err) == (state == "spoilt")
    assert hashes(ready.paths.images) == before


def test_rate_is_kept_over_everything_together(tmp_path: Path, site: Site) -> None:
    limited = {"requests_per_second": 40.0}
    project = prepare(make_project(tmp_path / "slow", site, site=limited))
    asked = len(site.requests)
    run(project)
    times = [request.time for request in site.requests[asked:]]
    assert len(times) > 60
    assert (times[-1] - times[0]) >= (len(times) - 1) / 40.0 * 0.9


class Troubled:
    """Answers 500 for some pictures.

    And a challenge page for the one after which the run has to end.
    """

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.last: str | None = None

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """Returns the answer, or null where the honest one is due."""
        md5 = Path(request.path).stem
        if md5 in self.failing:
            return web.Response(status=500, text="no")
        if md5 == self.last:
            return web.Response(
                status=403, headers={"cf-mitigated": "challenge"}, text="<html>"
            )
        return None


@pytest.fixture
def troubled(tmp_path: Path, board: SandboxBoard) -> Iterator[tuple[Project, Troubled]]:
    """A sampled project that asks for one picture after the other, in order of md5.

    And what troubles its site.
    """
    trouble = Troubled()
    with served(board, fault=trouble) as site:
        options = {
            "site": {"concurrency": 1},
            "download": {"retries": 0, "max_rejected": 0.5},
        }
        yield prepare(make_project(tmp_path / "troubled", site, **options)), trouble


def visible(project: Project) -> list[str]:
    """Md5s of the sampled pictures that the site gives, in order."""
    hidden = {
        post.md5
        for post in SandboxBoard(posts=600).posts
        if post.is_hidden_from_anonymous
    }
    return sorted(
        set(pl.read_parquet(project.paths.sample / "posts.parquet")["md5"]) - hidden
    )


def cut_short(
    project: Project, trouble: Troubled, *, at: int, failing: list[str]
) -> None:
    """Runs until the site asks for a human at a picture; some before it fail."""
    trouble.failing, trouble.last = set(failing), visible(project)[at]
    with pytest.raises(ChallengePage):
        run(project)
    trouble.failing, trouble.last = set(), None


def test_run_that_was_cut_short_asks_again_for_what_failed_for_a_passing_reason(
    troubled: tuple[Project, Troubled], finished: Project
) -> None:
    project, trouble = troubled
    failing = visible(project)[:3]
    cut_short(project, trouble, at=20, failing=failing)  # within the first pack
    asked = len(project.site.requests)
    run(project)
    assert (
        set(outcomes(project)["outcome"])
        == set(outcomes(finished)["outcome"])
        == {"kept", "not_found"}
    )
    assert hashes(project.paths.images) == hashes(finished.paths.images)
    again = {Path(path).stem for path in pictures_asked(project.site, asked)} & set(
        visible(project)
    )
    # What was under way when the first run ended may have come.
    assert (
        {*failing, *visible(project)[60:]}
        <= again
        <= {*failing, *visible(project)[20:]}
    )


def test_what_failed_in_a_sealed_pack_is_asked_for_by_the_run_after_the_unfinished_one(
    troubled: tuple[Project, Troubled],
) -> None:
    project, trouble = troubled
    failing = visible(project)[:3]
    cut_short(project, trouble, at=60, failing=failing)  # within the second pack
    (sealed,) = packs.pack_files(project.paths.images)
    before = sealed.read_bytes()
    run(project)
    rows = outcomes(project).filter(pl.col("md5").is_in(failing))
    assert rows["outcome"].to_list() == ["unavailable"] * 3
    assert set(rows["detail"]) == {"status 500"}
    assert sealed.read_bytes() == before
    others = hashes(project.paths.images)
    run(project)
    assert set(outcomes(project)["outcome"]) == {"kept", "not_found"}
    assert sealed.read_bytes() == before
    assert (
        len(packs.pack_files(project.paths.images))
        == sum(name.startswith("pack-") for name in others) + 1
    )


def test_pack_that_is_damaged_while_another_plan_is_unfinished_is_fetched_anew_too(
    troubled: tuple[Project, Troubled], capfd: pytest.CaptureFixture[str]
) -> None:
    project, trouble = troubled
    run(project)
    before, (first, second, *_) = (
        hashes(project.paths.images),
        packs.pack_files(project.paths.images),
    )
    index = packs.index(project.paths.images)
    damage(first)
    cut_short(
        project,
        trouble,
        at=visible(project).index(index.filter(pl.col("pack") == first.name)["md5"][5]),
        failing=[],
    )
    damage(second)
    run(project)
    assert f"{second.name} is damaged" in capfd.readouterr().err
    assert outcomes(project).filter(pl.col("outcome") == "unavailable").is_empty()
    assert sorted(packs.index(project.paths.images)["md5"]) == visible(project)
    assert hashes(project.paths.images)[first.name] == before[first.name]


def test_dry_run_prints_the_plan_and_asks_for_nothing(
    sampled: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = len(sampled.site.requests)
    download.run(
        sampled.params.download, sampled.paths, site=sampled.params.site, dry_run=True
    )
    assert "pictures to fetch in" in capfd.readouterr().err
    assert len(sampled.site.requests) == asked
    assert not sampled.paths.images.exists()
    assert not sampled.paths.ledger.exists()


def fresh(project: Project) -> None:
    """Nothing was fetched yet."""


def killed(project: Project) -> None:
    """A run was killed: failures in the log of the ledger, spooled images, one cut."""
    process = stage(project, "download")
    waits = project.paths.work("download") / "pictures"
    while process.poll() is None and not (
        packs.pack_files(project.paths.images) and any(waits.glob("*"))
    ):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(0.5)  # the server notices, and notes the requests that were under way
    assert project.paths.ledger.with_name("ledger.sqlite-wal").stat().st_size > 0
    last = max(waits.glob("*"), key=lambda path: path.stat().st_mtime_ns)
    os.truncate(last, last.stat().st_size - 1)


def half_damaged(project: Project) -> None:
    """One pack is damaged."""
    run(project)
    damage(packs.pack_files(project.paths.images)[0])


def lowered(project: Project) -> None:
    """Pictures are here that are beyond the limit of today."""
    run(project)
    path = project.paths.params
    path.write_text(path.read_text().replace("max_bytes: 52428800", "max_bytes: 30000"))


def readmitted(project: Project) -> None:
    """A picture left its pack and may be fetched again.

    Another may be kept no longer.
    """
    run(project)
    path = project.paths.snapshot / "posts.parquet"
    first, second = packs.index(project.paths.images)["post_id"][:2]
    posts = pl.read_parquet(path)
    parquet.write(
        path,
        posts.with_columns(pl.col("is_deleted") | (pl.col("post_id") == first)),
        POSTS,
    )
    with pytest.raises(PolicyViolation):
        run(project)
    parquet.write(path, posts, POSTS)
    change_posts(project, pl.col("is_deleted") | (pl.col("post_id") == second))


def failed(project: Project) -> None:
    """Some pictures failed for a passing reason."""
    run(project)
    with closing(sqlite3.connect(project.paths.ledger)) as connection:
        connection.execute("update settled set outcome = 'unavailable'")
        connection.commit()


def everything(project: Project) -> dict[Path, tuple[int, bytes]]:
    """What is in the folder, with the time of the last change."""
    files = [path for path in project.paths.root.rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.parametrize(
    "state", [fresh, killed, half_damaged, lowered, readmitted, failed]
)
def test_dry_run_prints_the_very_plan_and_changes_nothing(
    tmp_path: Path, board: SandboxBoard, state: Callable[[Project], None]
) -> None:
    with served(board, fault=slightly) as site:
        options = {
            "site": {"concurrency": 4},
            "download": {"max_rejected": 1.0, "max_bytes": 52_428_800},
        }
        project = prepare(make_project(tmp_path / "planned", site, **options))
        state(project)
        before, asked = everything(project), len(site.requests)
        dry = subprocess.run(
            [sys.executable, "-m", "pipeline", "download", "--dry-run"],
            cwd=project.paths.root,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert dry.returncode == 0, dry.stderr
        assert everything(project) == before
        assert len(site.requests) == asked
        process = stage(project, "download")
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        lines = errors.decode().splitlines()
        assert [
            line for line in lines if "pictures to fetch in" in line
        ] == dry.stderr.splitlines()
        assert dry.stdout == ""
        planned = int(dry.stderr.split()[1].replace(",", ""))
        assert planned == len(pictures_asked(site, asked))
        assert planned > 0
        beyond = [
            line
            for line in lines
            if "are beyond the present limits and leave (download.max_bytes 30,000"
            in line
        ]
        assert len(beyond) == (state is lowered)


async def slightly(request: web.Request) -> None:
    """Takes a little time with every picture."""
    if request.path.startswith("/data/") and "/db_export/" not in request.path:
        await asyncio.sleep(0.01)


def test_dry_run_beside_a_run_says_who_holds_the_lock(sampled: Project) -> None:
    from pipeline import locks

    with locks.stage_lock(sampled.paths, "download"):
        process = subprocess.run(
            [sys.executable, "-m", "pipeline", "download", "--dry-run"],
            cwd=sampled.paths.root,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 75
        assert (
            f"download is already running here (process {os.getpid()})"
            in process.stderr
        )


def test_originals_that_are_listed_as_too_large_are_not_asked_for(
    tmp_path: Path, board: SandboxBoard, capfd: pytest.CaptureFixture[str]
) -> None:
    limit = 60_000
    options = {"variant": "original", "max_bytes": limit, "max_rejected": 1.0}
    with served(board) as site:
        project = prepare(make_project(tmp_path / "large", site, download=options))
        posts = pl.read_parquet(project.paths.sample / "posts.parquet")
        large = dict(
            posts.filter(pl.col("file_size") > limit)
            .select("md5", "file_size")
            .iter_rows()
        )
        assert len(large) > 10
        capfd.readouterr()
        run(project)
        assert (
            f"download: {posts.height - len(large):,} of {posts.height:,} pictures to "
            "fetch" in capfd.readouterr().err
        )
        assert not large.keys() & {Path(path).stem for path in pictures_asked(site)}
        refused = outcomes(project).filter(pl.col("outcome") == "too_large")
        assert dict(refused.select("md5", "detail").iter_rows()) == {
            md5: f"listed with {size:,} bytes, limit 60,000: not asked for"
            for md5, size in large.items()
        }
        asked = len(site.requests)
        raised = project.params.download.model_copy(update={"max_bytes": 52_428_800})
        download.run(raised, project.paths, site=project.params.site)
        assert {Path(path).stem for path in pictures_asked(site, asked)} == set(large)


def test_posts_that_a_search_no_longer_finds_are_not_called_expunged(
    tmp_path: Path, board: SandboxBoard
) -> None:
    after = SandboxBoard(posts=600, day=2)
    with served(board) as site:
        project = make_project(
            tmp_path / "found", site, harvest={"source": "api", "query": "rating:s"}
        )
        prepare(project)
        run(project)
        ports = {
            "port": urlsplit(site.base_url).port,
            "static_port": urlsplit(site.static_url).port,
        }
    with served(after, **ports):
        refresh.run(project.params, project.paths)
        prepare(project)
        run(project)
    now = {post.id: post for post in after.posts}
    seen = set()
    for post_id, reason in takedowns(project).select("post_id", "reason").iter_rows():
        post = now.get(post_id)
        gone = post is None or post.is_deleted or post.rating != "s"
        seen.add(reason)
        assert reason == "not_listed" if gone else reason in {"replaced", "opted_out"}
    assert "not_listed" in seen
    assert "expunged" not in seen


def test_second_run_beside_the_first_says_who_holds_the_lock(sampled: Project) -> None:
    from pipeline import locks

    with (
        locks.stage_lock(sampled.paths, "download"),
        pytest.raises(Busy, match=f"process {os.getpid()}"),
        locks.stage_lock(sampled.paths, "download"),
    ):
        pass


class Switch:
    """Answers every request for a picture with one status, while it is on."""

    def __init__(self, status: int, content_type: str) -> None:
        self.on, self.status, self.content_type = True, status, content_type

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """Returns the answer, or null where the honest one is due."""
        if not self.on or request.path.endswith((".json", ".gz")):
            return None
        return web.Response(
            status=self.status, text="no", content_type=self.content_type
        )


@pytest.mark.parametrize(
    ("status", "content_type", "error"),
    [
        pytest.param(403, "application/json", SiteUnreachable, id="shut out"),
        pytest.param(403, "text/html", ChallengePage, id="a page of the edge"),
        pytest.param(
            404, "application/json", SiteUnreachable, id="files in another place"
        ),
    ],
)
def test_site_that_gives_no_picture_ends_the_run_and_is_asked_again_later(
    tmp_path: Path,
    board: SandboxBoard,
    finished: Project,
    status: int,
    content_type: str,
    error: type[Exception],
) -> None:
    switch = Switch(status, content_type)
    with served(board, fault=switch) as site:
        project = prepare(make_project(tmp_path / "shut", site))
        with pytest.raises(error) as raised:
            run(project)
        assert raised.value.exit_status == 75  # type: ignore[attr-defined]
        assert sum(pictures_asked(site).values()) < 100
        switch.on = False
        run(project)
        assert hashes(project.paths.images) == hashes(finished.paths.images)


def test_picture_that_always_fails_is_asked_for_once_per_try(
    tmp_path: Path, board: SandboxBoard, sampled: Project
) -> None:
    bad = a_few(sampled)
    with served(board, fault=faults.Html(bad)) as site:
        spoilt = prepare(
            make_project(
                tmp_path / "spoilt", site, download={"max_rejected": 0.5, "retries": 2}
            )
        )
        run(spoilt)
        asked = pictures_asked(site)
        assert [count for path, count in asked.items() if Path(path).stem in bad] == [
            3,
            3,
            3,
        ]


def test_lowered_limit_holds_for_pictures_that_are_here(ready: Project) -> None:
    params = ready.params.download.model_copy(
        update={"max_bytes": 30_000, "max_rejected": 1.0}
    )
    download.run(params, ready.paths, site=ready.params.site)
    kept = [
        picture
        for path in packs.pack_files(ready.paths.images)
        for picture in packs.read_images(path)
    ]
    assert kept
    assert all(len(picture.bytes) <= 30_000 for picture in kept)
    assert (outcomes(ready)["outcome"] == "too_large").sum() > 0


def test_halves_of_files_left_by_a_kill_are_swept(ready: Project) -> None:
    half = ready.paths.images / ".pack-0000000000000000.parquet.tmp"
    half.write_bytes(b"half a pack with a picture in it")
    run(ready)
    assert not half.exists()


@pytest.mark.parametrize("kind", ["damaged", "of another version"])
def test_ledger_that_cannot_be_used_is_set_aside_and_said(
    sampled: Project, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    if kind == "damaged":
        sampled.paths.ledger.write_bytes(b"not a database" * 100)
    else:
        with closing(sqlite3.connect(sampled.paths.ledger)) as connection:
            connection.execute("create table settled (md5 text)")
    run(sampled)
    assert "ledger.sqlite cannot be used" in capfd.readouterr().err
    assert outcomes(sampled).height > 50
    asked = len(sampled.site.requests)
    run(sampled)  # the new one is in use: nothing is asked again
    assert not pictures_asked(sampled.site, asked)


def test_ledger_keeps_every_attempt_with_its_outcome_and_how_long_it_took(
    tmp_path: Path, board: SandboxBoard, sampled: Project
) -> None:
    bad = a_few(sampled)
    with served(board, fault=faults.Html(bad)) as site:
        spoilt = prepare(
            make_project(
                tmp_path / "spoilt", site, download={"max_rejected": 0.5, "retries": 2}
            )
        )
        run(spoilt)
    with closing(sqlite3.connect(spoilt.paths.ledger)) as connection:
        rows = connection.execute(
            "select md5, outcome, detail, seconds, wait from attempts"
        ).fetchall()
    kept = outcomes(spoilt).filter(pl.col("outcome") == "kept")["md5"]
    assert sorted(row[0] for row in rows if row[1] == "kept") == sorted(kept)
    assert Counter(row[:2] for row in rows if row[0] in bad) == {
        (md5, "not_a_picture"): 3 for md5 in bad
    }
    assert all(row[3] > 0 and row[4] is None for row in rows)


def test_original_with_the_right_md5_that_cannot_be_opened_is_not_retried(
    tmp_path: Path, sampled: Project, board: SandboxBoard
) -> None:
    post = next(post for post in board.posts if post.md5 == a_few(sampled)[0])
    broken = b"\x89PNG\r\n\x1a\n" + b"no chunks follow" * 8
    with served(faults.Planted(board, {post.id: broken})) as site:
        spoilt = prepare(
            make_project(tmp_path / "spoilt", site, download={"max_rejected": 0.5})
        )
        run(spoilt)
        refused = outcomes(spoilt).filter(pl.col("outcome") == "broken_picture")
        assert refused["md5"].to_list() == [
            hashlib.md5(broken, usedforsecurity=False).hexdigest()
        ]
        assert max(pictures_asked(site).values()) == 1


def test_second_run_on_one_folder_ends_with_75_and_damages_nothing(
    tmp_path: Path, board: SandboxBoard, finished: Project
) -> None:
    with served(board, fault=slowly) as site:
        project = prepare(make_project(tmp_path / "shared", site))
        first = stage(project, "download")
        while not pictures_asked(site) and first.poll() is None:
            time.sleep(0.005)
        second = stage(project, "download")
        _, errors = second.communicate(timeout=60)
        assert second.returncode == 75
        assert (
            f"download is already running here (process {first.pid})" in errors.decode()
        )
        _, errors = first.communicate(timeout=120)
        assert first.returncode == 0, errors
    assert hashes(project.paths.images) == hashes(finished.paths.images)


async def slowly(request: web.Request) -> None:
    """Takes its time with every picture, and then answers honestly."""
    if request.path.startswith("/data/") and "/db_export/" not in request.path:
        await asyncio.sleep(0.3)


@pytest.fixture
def mounted(sampled: Project) -> Iterator[Callable[[str], None]]:
    """Returns a function that mounts a file system on data/images."""
    images = sampled.paths.images
    images.mkdir(parents=True)

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(images)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("this machine may not mount file systems")

    yield mount
    subprocess.run(["umount", str(images)], capture_output=True, check=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param("size=200k", "the disk is full", id="full disk"),
        pytest.param("ro,size=50m", "the disk is read-only", id="read-only folder"),
    ],
)
def test_disk_that_takes_no_more_is_one_line_and_loses_no_picture(
    sampled: Project,
    mounted: Callable[[str], None],
    options: str,
    said: str,
    finished: Project,
) -> None:
    mounted(options)
    asked = len(sampled.site.requests)
    process = stage(sampled, "download")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said in errors.decode().splitlines()[-1]
    assert "Traceback" not in errors.decode()
    subprocess.run(["umount", str(sampled.paths.images)], check=True)
    run(sampled)  # there is room again
    assert hashes(sampled.paths.images) == hashes(finished.paths.images)
    again = pictures_asked(sampled.site, asked)
    assert (
        sum(again.values()) - len(again) <= sampled.params.site.concurrency + ASIDE
    )  # those in flight


sizes = st.integers(min_value=1, max_value=20_000)


@given(width=sizes, height=sizes)
def test_sizes_of_variants_are_those_that_the_site_makes(
    width: int, height: int
) -> None:
    post = replace(
        SandboxBoard(posts=100).posts[0], ext="jpg", tags=(), width=width, height=height
    )
    assert variants.has_sample(width, height) == site_variants.has_sample(post)
    assert variants.sample_size(width, height) == site_variants.sample_size(
        width, height
    )
    assert variants.preview_size(width, height) == site_variants.preview_size(
        width, height
    )


@given(width=sizes, height=sizes)
def test_sizes_of_variants_obey_the_rules(width: int, height: int) -> None:
    sample_width, sample_height = variants.sample_size(width, height)
    assert min(sample_width, sample_height) <= 850
    assert max(sample_width, sample_height) <= 1700
    assert 850 in (sample_width, sample_height) or 1700 in (sample_width, sample_height)
    assert min(variants.preview_size(width, height)) == 256
    assert max(variants.preview_size(width, height)) <= 512
    assert max(variants.old_preview_size(width, height)) == 150


@pytest.mark.parametrize(
    ("ext", "size", "variant", "path"),
    [
        pytest.param(
            "jpg",
            (3000, 2000),
            "sample",
            "/data/sample/ab/cd/{}.jpg",
            id="sample of a jpg",
        ),
        pytest.param(
            "png",
            (3000, 2000),
            "sample",
            "/data/sample/ab/cd/{}.webp",
            id="sample that keeps alpha",
        ),
        pytest.param(
            "webp",
            (800, 1701),
            "sample",
            "/data/sample/ab/cd/{}.webp",
            id="sample for its length",
        ),
        pytest.param(
            "png",
            (850, 1700),
            "sample",
            "/data/ab/cd/{}.png",
            id="too small for a sample",
        ),
        pytest.param(
            "png",
            (850, 1700),
            "preview",
            "/data/preview/ab/cd/{}.webp",
            id="preview that keeps alpha",
        ),
        pytest.param(
            "jpg",
            (1, 1),
            "preview",
            "/data/ab/cd/{}.jpg",
            id="no preview of a 1 x 1 entry",
        ),
        pytest.param(
            "jpg", (3000, 2000), "original", "/data/ab/cd/{}.jpg", id="original"
        ),
    ],
)
def test_file_asked_for_is_one_that_exists(
    ext: str, size: tuple[int, int], variant: str, path: str
) -> None:
    md5 = "abcd" + "0" * 28
    one = variants.image_request(1, md5, ext, *size, 1000, variant)
    assert one.path == path.format(md5)
    assert one.variant == (variant if f"/{variant}/" in path else "original")


@pytest.mark.parametrize("variant", ["sample", "preview", "original"])
def test_every_variant_is_fetched_without_asking_for_what_does_not_exist(
    tmp_path: Path, board: SandboxBoard, variant: str
) -> None:
    with served(board) as site:
        project = prepare(
            make_project(tmp_path / variant, site, download={"variant": variant})
        )
        run(project)
        hidden = {post.md5 for post in board.posts if post.is_hidden_from_anonymous}
        missing = [
            one.path
            for one in site.requests
            if one.host == "static" and one.status == 404
        ]
        assert all(Path(path).stem in hidden for path in missing)
    got = outcomes(project).filter(~pl.col("md5").is_in(hidden))
    assert set(got["outcome"]) == {"kept"}
    index = packs.index(project.paths.images).join(
        pl.read_parquet(project.paths.sample / "posts.parquet").select("md5", "ext"),
        on="md5",
    )
    kinds = set(
        index.filter(pl.col("variant") != "original")
        .select("ext", "format")
        .iter_rows()
    )
    assert kinds <= {("jpg", "jpeg"), ("png", "webp"), ("webp", "webp")}


def jpeg(width: int, height: int) -> bytes:
    picture = Image.effect_noise((width, height), 60).convert("RGB")
    picture.save(out := io.BytesIO(), "JPEG", quality=80, progressive=True)
    return out.getvalue()


def judged(variant: str, size: tuple[int, int], body: bytes) -> str:
    """Returns what becomes of a variant of a 2,500 x 1,700 picture.

    Kept, or the reason.
    """
    one = variants.image_request(1, "a" * 32, "jpg", *size, 1000, variant)
    try:
        verify.verify_image(one, Response("image/jpeg", body), 10**8)
    except (PermanentFailure, TransientFailure) as answer:
        return str(answer.reason)
    return "kept"


@pytest.mark.parametrize(
    ("variant", "size", "outcome"),
    [
        pytest.param("sample", (1250, 850), "kept", id="sample"),
        pytest.param("sample", (1251, 849), "kept", id="sample, rounded otherwise"),
        pytest.param("sample", (1253, 850), "wrong_dimensions", id="not this sample"),
        pytest.param("preview", (376, 256), "kept", id="preview"),
        pytest.param("preview", (150, 102), "kept", id="preview by the old rule"),
        pytest.param(
            "preview", (150, 150), "wrong_dimensions", id="preview by no rule"
        ),
    ],
)
def test_variants_are_held_to_the_sizes_of_the_rules(
    variant: str, size: tuple[int, int], outcome: str
) -> None:
    assert judged(variant, (2500, 1700), jpeg(*size)) == outcome


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_sample_that_is_cut_off_is_found_though_it_is_decoded_small(
    share: float,
) -> None:
    body = jpeg(1250, 850)
    assert (
        judged("sample", (2500, 1700), body[: int(len(body) * share)])
        == "broken_picture"
    )
