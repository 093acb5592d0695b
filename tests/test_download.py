"""Download: every picture once, whatever happens, and only pictures."""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from aiohttp import web
from conftest import Project, damage, make_project, prepare, served

from pipeline import download, packs, sample
from pipeline.errors import Busy, ChallengePage, PolicyViolation, SiteUnreachable, TooManyRejects
from pipeline.params import Params
from sandbox import faults
from sandbox.board import SandboxBoard
from sandbox.server import Site


def run(project: Project, params: Params | None = None) -> None:
    params = params or project.params
    download.run(params.download, project.paths, site=params.site)


def outcomes(project: Project) -> pl.DataFrame:
    return pl.read_parquet(project.paths.images / "outcomes.parquet")


def hashes(project: Project) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(project.paths.images.iterdir())}


def pictures_asked(site: Site, since: int = 0) -> Counter[str]:
    return Counter(r.path for r in site.requests[since:] if r.host == "static" and "/db_export/" not in r.path)


def stage(project: Project, name: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "pipeline", name]
    return subprocess.Popen(command, cwd=project.paths.root, env=environment, stderr=subprocess.PIPE)


def test_every_wanted_picture_is_packed_as_the_board_has_it(sampled: Project, board: SandboxBoard) -> None:
    run(sampled)
    wanted = pl.read_parquet(sampled.paths.sample / "posts.parquet")["md5"]
    got = outcomes(sampled)
    assert sorted(got["md5"]) == sorted(wanted)
    assert set(got["outcome"]) <= {"kept", "not_found"}  # hidden posts are 404
    originals = got.filter((pl.col("outcome") == "kept") & (pl.col("variant") == "original"))
    reader = packs.Reader(sampled.paths.images)
    for md5, pack in originals.select("md5", "pack").head(20).iter_rows():
        assert reader.bytes(pack, md5) == board.original(md5)


def test_second_run_asks_for_nothing(sampled: Project) -> None:
    run(sampled)
    before, asked = hashes(sampled), len(sampled.site.requests)
    run(sampled)
    assert hashes(sampled) == before
    assert not pictures_asked(sampled.site, asked)


def test_no_forbidden_post_is_ever_requested(sampled: Project, board: SandboxBoard) -> None:
    asked = len(sampled.site.requests)
    run(sampled)
    by_md5 = {post.md5: post for post in board.posts}
    paths = pictures_asked(sampled.site, asked)
    assert len(paths) > 50
    for path in paths:
        post = by_md5[Path(path).stem]
        assert post.rating == "s"
        assert not post.is_deleted
        assert not {"avoid_posting", "conditional_dnp"} & set(post.tags + post.locked_tags)
        assert post.ext in {"jpg", "png", "webp"}


def test_killed_download_ends_with_the_same_bytes_and_asks_for_nothing_twice(
    tmp_path: Path, board: SandboxBoard, sampled: Project
) -> None:
    run(sampled)
    undisturbed = hashes(sampled)
    with served(board) as site:
        killed = prepare(make_project(tmp_path / "killed", site))
        kills = 0
        for delivered in (5, 25, 60, 90):  # kill when so many pictures have left the server
            process = stage(killed, "download")
            while process.poll() is None and sum(pictures_asked(site).values()) < delivered:
                time.sleep(0.005)
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.communicate()
        process = stage(killed, "download")
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert kills >= 3
        assert hashes(killed) == undisturbed
        asked = pictures_asked(site)
        in_flight = killed.params.site.concurrency * kills
        assert sum(asked.values()) - len(asked) <= in_flight
        waiting = killed.paths.work("download") / "pictures"
        assert not waiting.exists()


def a_few(project: Project) -> list[str]:
    """Md5s of three pictures that are fetched as originals."""
    posts = pl.read_parquet(project.paths.sample / "posts.parquet").filter(pl.max_horizontal("width", "height") <= 850)
    hidden = {post.md5 for post in SandboxBoard(posts=600).posts if post.is_hidden_from_anonymous}
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
    sampled: Project, board: SandboxBoard, tmp_path: Path, fault: Callable[..., object], reason: str
) -> None:
    bad = a_few(sampled)
    with served(board, fault=fault(bad)) as site:
        spoilt = prepare(make_project(tmp_path / "spoilt", site, download={"max_rejected": 0.5, "retries": 1}))
        run(spoilt)
        refused = outcomes(spoilt).filter(pl.col("md5").is_in(bad))
        assert refused["outcome"].to_list() == [reason] * 3
        assert refused["pack"].null_count() == 3
        assert outcomes(spoilt).filter(pl.col("outcome") == "kept").height > 50


def test_decompression_bomb_is_refused_unopened(tmp_path: Path, sampled: Project, board: SandboxBoard) -> None:
    md5 = a_few(sampled)[0]
    post = next(post for post in board.posts if post.md5 == md5)
    planted = faults.Planted(board, {post.id: faults.bomb()})
    with served(planted) as site:
        spoilt = prepare(make_project(tmp_path / "spoilt", site, download={"max_rejected": 0.5}))
        run(spoilt)
        refused = outcomes(spoilt).filter(pl.col("outcome") == "decompression_bomb")
        assert refused["md5"].to_list() == [hashlib.md5(faults.bomb(), usedforsecurity=False).hexdigest()]


def test_too_many_refusals_fail_the_stage_but_lose_nothing(
    tmp_path: Path, sampled: Project, board: SandboxBoard
) -> None:
    bad = a_few(sampled)
    with served(board, fault=faults.Html(bad)) as site:
        spoilt = prepare(make_project(tmp_path / "spoilt", site, download={"max_rejected": 0.0, "retries": 0}))
        with pytest.raises(TooManyRejects, match=r"pictures are not here \(limit 0.0%\), first"):
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
        address = {"name": "custom", "base_url": site.base_url, "static_url": site.static_url}
        params = Params.model_validate({**half.params.model_dump(), "site": address, "download": SAME})
        download.run(params.download, half.paths, site=params.site)
        assert outcomes(half)["outcome"].to_list() == outcomes(sampled)["outcome"].to_list()
        assert all(count == 1 for count in pictures_asked(site).values())
        delivered = [one.path for one in site.requests if one.host == "static" and one.status == 200]
        assert all(
            path.startswith("/data/0") for path in delivered
        )  # what came before the fault is not asked for again


SAME = {"pack_pictures": 40, "retries": 2}


def test_damaged_pack_is_found_named_and_fetched_anew(sampled: Project, capfd: pytest.CaptureFixture[str]) -> None:
    run(sampled)
    before = hashes(sampled)
    path = packs.files(sampled.paths.images)[0]
    damage(path)
    run(sampled)
    assert f"{path.name} is damaged" in capfd.readouterr().err
    assert hashes(sampled) == before


def test_picture_of_a_post_that_was_taken_down_leaves_the_packs(sampled: Project) -> None:
    run(sampled)
    path = sampled.paths.snapshot / "posts.parquet"
    gone = outcomes(sampled).filter(pl.col("outcome") == "kept")["md5"][0]
    posts = pl.read_parquet(path).with_columns(is_deleted=pl.col("is_deleted") | (pl.col("md5") == gone))
    posts.write_parquet(path)
    with pytest.raises(PolicyViolation, match="may not be fetched"):
        run(sampled)  # the sample is of another day
    params = sampled.params
    sample.run(params.sample, sampled.paths, since=params.harvest.since.isoformat(), manifest=params.manifest)
    run(sampled)
    assert gone not in set(packs.index(sampled.paths.images)["md5"])
    assert gone not in set(outcomes(sampled)["md5"])


def test_rate_is_kept_over_everything_together(tmp_path: Path, site: Site) -> None:
    limited = {"requests_per_second": 40.0}
    project = prepare(make_project(tmp_path / "slow", site, site=limited))
    asked = len(site.requests)
    run(project)
    times = [request.time for request in site.requests[asked:]]
    assert len(times) > 60
    assert (times[-1] - times[0]) >= (len(times) - 1) / 40.0 * 0.9


def test_dry_run_prints_the_plan_and_asks_for_nothing(sampled: Project, capfd: pytest.CaptureFixture[str]) -> None:
    asked = len(sampled.site.requests)
    download.run(sampled.params.download, sampled.paths, site=sampled.params.site, dry_run=True)
    assert "pictures to fetch in" in capfd.readouterr().err
    assert len(sampled.site.requests) == asked
    assert not sampled.paths.images.exists()


def test_second_run_beside_the_first_says_who_holds_the_lock(sampled: Project) -> None:
    from pipeline import locks

    with (
        locks.held(sampled.paths, "download"),
        pytest.raises(Busy, match=f"process {os.getpid()}"),
        locks.held(sampled.paths, "download"),
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
        return web.Response(status=self.status, text="no", content_type=self.content_type)


@pytest.mark.parametrize(
    ("status", "content_type", "error"),
    [
        pytest.param(403, "application/json", SiteUnreachable, id="shut out"),
        pytest.param(403, "text/html", ChallengePage, id="a page of the edge"),
        pytest.param(404, "application/json", SiteUnreachable, id="files in another place"),
    ],
)
def test_site_that_gives_no_picture_ends_the_run_and_is_asked_again_later(
    tmp_path: Path, board: SandboxBoard, finished: Project, status: int, content_type: str, error: type[Exception]
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
        assert hashes(project) == hashes(finished)


def test_picture_that_always_fails_is_asked_for_once_per_try(
    tmp_path: Path, board: SandboxBoard, sampled: Project
) -> None:
    bad = a_few(sampled)
    with served(board, fault=faults.Html(bad)) as site:
        spoilt = prepare(make_project(tmp_path / "spoilt", site, download={"max_rejected": 0.5, "retries": 2}))
        run(spoilt)
        asked = pictures_asked(site)
        assert [count for path, count in asked.items() if Path(path).stem in bad] == [3, 3, 3]


def test_lowered_limit_holds_for_pictures_that_are_here(ready: Project) -> None:
    params = ready.params.download.model_copy(update={"max_bytes": 30_000, "max_rejected": 1.0})
    download.run(params, ready.paths, site=ready.params.site)
    kept = [picture for path in packs.files(ready.paths.images) for picture in packs.pictures(path)]
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
