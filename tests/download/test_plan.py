"""The plan of a run: what a dry run prints, and what a run after a kill retries."""

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from aiohttp import web

from pipeline import download, packs, parquet
from pipeline.errors import (
    ChallengePage,
    PolicyViolation,
)
from pipeline.schemas.snapshot import POSTS
from sandbox.board.drawn import SandboxBoard
from tests.builders.downloads import (
    available_md5s,
    change_posts,
    outcomes,
    requested_images,
    run,
    start_stage,
)
from tests.builders.project import (
    Project,
    damage,
    hashes,
    make_project,
    prepare,
    run_command,
    served,
)


class Troubled:
    """Answers 500 for some images.

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
    """A sampled project that asks for one image after the other, in order of md5.

    And what troubles its site.
    """
    trouble = Troubled()
    with served(board, fault=trouble) as site:
        options = {
            "site": {"concurrency": 1},
            "download": {"retries": 0, "max_rejected": 0.5},
        }
        yield prepare(make_project(tmp_path / "troubled", site, **options)), trouble


def cut_short(
    project: Project, trouble: Troubled, *, at: int, failing: list[str]
) -> None:
    """Runs until the site asks for a human at an image; some before it fail."""
    trouble.failing, trouble.last = set(failing), available_md5s(project)[at]
    with pytest.raises(ChallengePage):
        run(project)
    trouble.failing, trouble.last = set(), None


def test_run_that_was_cut_short_asks_again_for_what_failed_for_a_passing_reason(
    troubled: tuple[Project, Troubled], finished: Project
) -> None:
    project, trouble = troubled
    failing = available_md5s(project)[:3]
    cut_short(project, trouble, at=20, failing=failing)  # within the first pack
    asked = len(project.site.requests)
    run(project)
    assert (
        set(outcomes(project)["outcome"])
        == set(outcomes(finished)["outcome"])
        == {"kept", "not_found"}
    )
    assert hashes(project.paths.images) == hashes(finished.paths.images)
    again = {Path(path).stem for path in requested_images(project.site, asked)} & set(
        available_md5s(project)
    )
    # What was under way when the first run ended may have come.
    assert (
        {*failing, *available_md5s(project)[60:]}
        <= again
        <= {*failing, *available_md5s(project)[20:]}
    )


def test_what_failed_in_a_sealed_pack_is_asked_for_by_the_run_after_the_unfinished_one(
    troubled: tuple[Project, Troubled],
) -> None:
    project, trouble = troubled
    failing = available_md5s(project)[:3]
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
        at=available_md5s(project).index(
            index.filter(pl.col("pack") == first.name)["md5"][5]
        ),
        failing=[],
    )
    damage(second)
    run(project)
    assert f"{second.name} is damaged" in capfd.readouterr().err
    assert outcomes(project).filter(pl.col("outcome") == "unavailable").is_empty()
    assert sorted(packs.index(project.paths.images)["md5"]) == available_md5s(project)
    assert hashes(project.paths.images)[first.name] == before[first.name]


def test_dry_run_prints_the_plan_and_asks_for_nothing(
    sampled: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = len(sampled.site.requests)
    download.run(
        sampled.params.download, sampled.paths, site=sampled.params.site, dry_run=True
    )
    assert "images to fetch in" in capfd.readouterr().err
    assert len(sampled.site.requests) == asked
    assert not sampled.paths.images.exists()
    assert not sampled.paths.ledger.exists()


def fresh(project: Project) -> None:
    """Nothing was fetched yet."""


def killed(project: Project) -> None:
    """A run was killed: failures in the log of the ledger, spooled images, one cut."""
    process = start_stage(project, "download")
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
    """Images are here that are beyond the limit of today."""
    run(project)
    path = project.paths.params
    path.write_text(path.read_text().replace("max_bytes: 52428800", "max_bytes: 30000"))


def readmitted(project: Project) -> None:
    """An image left its pack and may be fetched again.

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
    """Some images failed for a passing reason."""
    run(project)
    with closing(sqlite3.connect(project.paths.ledger)) as connection:
        connection.execute("update settled set outcome = 'unavailable'")
        connection.commit()


def all_files(project: Project) -> dict[Path, tuple[int, bytes]]:
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
        before, asked = all_files(project), len(site.requests)
        dry = run_command(project.paths.root, "download", "--dry-run")
        assert dry.returncode == 0, dry.stderr
        assert all_files(project) == before
        assert len(site.requests) == asked
        process = start_stage(project, "download")
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        lines = errors.decode().splitlines()
        assert [
            line for line in lines if "images to fetch in" in line
        ] == dry.stderr.splitlines()
        assert dry.stdout == ""
        planned = int(dry.stderr.split()[1].replace(",", ""))
        assert planned == len(requested_images(site, asked))
        assert planned > 0
        beyond = [
            line
            for line in lines
            if "beyond the present limits and are removed (download.max_bytes 30,000"
            in line
        ]
        assert len(beyond) == (state is lowered)


async def slightly(request: web.Request) -> None:
    """Takes a little time with every image."""
    if request.path.startswith("/data/") and "/db_export/" not in request.path:
        await asyncio.sleep(0.01)


def test_dry_run_beside_a_run_says_who_holds_the_lock(sampled: Project) -> None:
    from pipeline import locks

    with locks.stage_lock(sampled.paths, "download"):
        process = run_command(sampled.paths.root, "download", "--dry-run")
        assert process.returncode == 75
        assert (
            f"download is already running here (process {os.getpid()})"
            in process.stderr
        )
