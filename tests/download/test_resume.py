"""A killed run, a damaged pack or a full disk costs no image and no request."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from pipeline import packs
from pipeline.download import spool
from pipeline.download.fetch import ASIDE
from pipeline.errors import (
    Busy,
)
from sandbox import faults
from sandbox.board.drawn import SandboxBoard
from sandbox.server.app import Site
from tests.builders.downloads import (
    leave_spooled,
    outcomes,
    requested_images,
    run,
    slowly,
    spoilt_project,
    start_stage,
    three_originals,
)
from tests.builders.project import (
    Project,
    damage,
    hashes,
    make_project,
    prepare,
    served,
)


def test_killed_download_ends_with_the_same_bytes_and_asks_for_nothing_twice(
    tmp_path: Path, board: SandboxBoard, sampled: Project
) -> None:
    run(sampled)
    undisturbed = hashes(sampled.paths.images)
    with served(board, fault=slowly) as site:
        killed = prepare(make_project(tmp_path / "killed", site))
        stored: set[str] = set()
        for more in (1, 20, 20, 20):
            started = len(site.requests)
            kill_download_after(killed, len(stored) + more)
            assert not requested(site, started) & stored
            assert stored < stored_images(killed)
            stored = stored_images(killed)
        started = len(site.requests)
        process = start_stage(killed, "download")
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert not requested(site, started) & stored
        assert hashes(killed.paths.images) == undisturbed
        assert not spool.folder(killed.paths).exists()


def kill_download_after(project: Project, images: int) -> None:
    """Runs the stage; kills it while it works, when so many images are on disk."""
    process = start_stage(project, "download")
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
    return {Path(path).stem for path in requested_images(site, since)}


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


@pytest.mark.parametrize("state", ["whole", "cut", "spoilt"])
def test_waiting_picture_is_used_only_if_it_is_whole(
    ready: Project, capfd: pytest.CaptureFixture[str], state: str
) -> None:
    row = (
        packs.index(ready.paths.images)
        .filter(pl.col("variant") == "original")
        .row(0, named=True)
    )
    path = leave_spooled(
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
    again = [path for path in requested_images(ready.site, asked) if row["md5"] in path]
    assert len(again) == (state != "whole")
    assert ("are not whole" in capfd.readouterr().err) == (state == "spoilt")
    assert hashes(ready.paths.images) == before


def test_second_run_beside_the_first_says_who_holds_the_lock(sampled: Project) -> None:
    from pipeline import locks

    with (
        locks.stage_lock(sampled.paths, "download"),
        pytest.raises(Busy, match=f"process {os.getpid()}"),
        locks.stage_lock(sampled.paths, "download"),
    ):
        pass


def test_halves_of_files_left_by_a_kill_are_swept(ready: Project) -> None:
    half = ready.paths.images / ".pack-0000000000000000.parquet.tmp"
    half.write_bytes(b"half a pack with an image in it")
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
    assert not requested_images(sampled.site, asked)


def test_ledger_keeps_every_attempt_with_its_outcome_and_how_long_it_took(
    tmp_path: Path, board: SandboxBoard, sampled: Project
) -> None:
    bad = three_originals(sampled)
    with served(board, fault=faults.Html(bad)) as site:
        spoilt = spoilt_project(tmp_path / "spoilt", site)
        run(spoilt)
    with closing(sqlite3.connect(spoilt.paths.ledger)) as connection:
        rows = connection.execute(
            "select md5, outcome, detail, seconds, wait from attempts"
        ).fetchall()
    kept = outcomes(spoilt).filter(pl.col("outcome") == "kept")["md5"]
    assert sorted(row[0] for row in rows if row[1] == "kept") == sorted(kept)
    assert Counter(row[:2] for row in rows if row[0] in bad) == {
        (md5, "not_an_image"): 3 for md5 in bad
    }
    assert all(row[3] > 0 and row[4] is None for row in rows)


def test_second_run_on_one_folder_ends_with_75_and_damages_nothing(
    tmp_path: Path, board: SandboxBoard, finished: Project
) -> None:
    with served(board, fault=slowly) as site:
        project = prepare(make_project(tmp_path / "shared", site))
        first = start_stage(project, "download")
        while not requested_images(site) and first.poll() is None:
            time.sleep(0.005)
        second = start_stage(project, "download")
        _, errors = second.communicate(timeout=60)
        assert second.returncode == 75
        assert (
            f"download is already running here (process {first.pid})" in errors.decode()
        )
        _, errors = first.communicate(timeout=120)
        assert first.returncode == 0, errors
    assert hashes(project.paths.images) == hashes(finished.paths.images)


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
    ("options", "message"),
    [
        pytest.param("size=200k", "the disk is full", id="full disk"),
        pytest.param("ro,size=50m", "the disk is read-only", id="read-only folder"),
    ],
)
def test_disk_that_takes_no_more_is_one_line_and_loses_no_picture(
    sampled: Project,
    mounted: Callable[[str], None],
    options: str,
    message: str,
    finished: Project,
) -> None:
    mounted(options)
    asked = len(sampled.site.requests)
    process = start_stage(sampled, "download")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert message in errors.decode().splitlines()[-1]
    assert "Traceback" not in errors.decode()
    subprocess.run(["umount", str(sampled.paths.images)], check=True)
    run(sampled)  # there is room again
    assert hashes(sampled.paths.images) == hashes(finished.paths.images)
    again = requested_images(sampled.site, asked)
    assert (
        sum(again.values()) - len(again) <= sampled.params.site.concurrency + ASIDE
    )  # those in flight
