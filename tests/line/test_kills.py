"""SIGKILL at random moments: what is started again ends as if nothing had happened.

Real processes on a served board. The moments are drawn from a seed and spread over the
time in which a run works, from its first request on; the site is slow, so that work
lasts longer than Python takes to start. CI runs six kills, by name more than a hundred:
`python -m pytest tests/line/test_kills.py -m slow -s` prints what was counted.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from pipeline import harvest, pin
from pipeline.download.fetch import ASIDE
from sandbox import faults
from sandbox.board.drawn import SandboxBoard
from sandbox.faults.base import EXPORTS
from sandbox.server.app import Request, Site
from tests.builders.project import (
    ROOT,
    Project,
    copied,
    fetch,
    hashes,
    make_project,
    prepare,
    served,
)

CONCURRENCY = 8  # requests under way at once
# Kills of one harvest, which keeps what it has and so is soon done; then another begins
ROUND = 4
API = {"source": "api", "query": "rating:s"}

ARRIVED: Counter[str] = (
    Counter()
)  # requests by path, counted when they come; the log counts them when they are over


async def arrive(request: web.Request) -> None:
    """A fault that only counts."""
    ARRIVED[request.path] += 1


# Slow enough that a run lasts: the largest export seconds, a picture about 0.1 s, an
# answer of the API about 0.5 s.
SLOW = faults.all_of(
    arrive,
    faults.Dripping(EXPORTS, pause=0.02, bytes_at_once=4_096),
    faults.Dripping(faults.PICTURES, pause=0.02, bytes_at_once=8_192),
    faults.Dripping(r"/(posts|tags|tag_\w+)\.json", pause=0.02, bytes_at_once=32_768),
    faults.Dripping("/db_exports", pause=0.02, bytes_at_once=128),
)


@dataclass
class Killer:
    """Runs one stage of a project again and again, kills it at random moments.

    And counts.
    """

    stage: str
    random: random.Random
    # Seconds from the first work of a run in which kills land: about as long as a whole
    # run works
    span: float
    kills: int = 0
    runs: int = 0  # that were let go to their end

    def strike(
        self, project: Project, kills: int, look: Callable[[], None] = lambda: None
    ) -> None:
        """Kills runs until there were so many kills in all, then lets one end.

        Or until one ends before its kill.
        """
        while self.kills < kills:
            before = files(project)
            process = started(project, self.stage)
            self._wait_for_work(process, project, before)
            try:
                process.wait(self.random.uniform(0, self.span))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                self.kills += 1
                look()
            else:
                self._judge(process)
                return
        self._judge(started(project, self.stage))

    def _wait_for_work(
        self, process: subprocess.Popen[str], project: Project, before: set[Path]
    ) -> None:
        """Returns when Python has started and everything is imported.

        A request arrives, or a file appears.
        """
        asked = ARRIVED.total()
        while (
            process.poll() is None
            and ARRIVED.total() == asked
            and files(project) <= before
        ):
            time.sleep(0.005)

    def _judge(self, process: subprocess.Popen[str]) -> None:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        self.runs += 1


def files(project: Project) -> set[Path]:
    """What a stage makes, locks aside.

    These are taken before it imports what it needs.
    """
    found = os.walk(project.paths.root)  # passes over what vanishes meanwhile
    return {
        Path(folder, name)
        for folder, _, names in found
        for name in names
        if name != "lock"
    }


def started(project: Project, stage: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline", stage]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        cwd=project.paths.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@dataclass(frozen=True)
class Ground:
    """A slow site that shows one day, one that shows the next.

    And a project that was never disturbed.
    """

    today: Site
    tomorrow: Site
    whole: Project
    searched: Project  # the same from the API
    pictures: int


def serve_ground(
    folder: Path, posts: int, **sections: dict[str, Any]
) -> Iterator[Ground]:
    with (
        served(SandboxBoard(posts=posts), fault=SLOW) as today,
        served(SandboxBoard(posts=posts, day=2), fault=SLOW) as tomorrow,
    ):
        whole = prepare(
            make_project(
                folder / "whole", today, site={"concurrency": CONCURRENCY}, **sections
            )
        )
        fetch(whole)
        searched = make_project(folder / "searched", today, harvest=API)
        harvest.run(searched.params.harvest, searched.paths, site=searched.params.site)
        pictures = len({one.path for one in pictures_asked(today)})
        yield Ground(today, tomorrow, whole, searched, pictures)


def pictures_asked(site: Site, since: int = 0) -> list[Request]:
    return [
        one
        for one in list(site.requests)[since:]
        if one.host == "static" and "/db_export/" not in one.path
    ]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Small, for a few kills."""
    yield from serve_ground(
        tmp_path_factory.mktemp("kills"), 600, sample={"size": 48, "min_positives": 12}
    )


@pytest.fixture(scope="module")
def large_ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """For a hundred kills."""
    yield from serve_ground(tmp_path_factory.mktemp("many-kills"), 1_200)


def bare(
    whole: Project,
    folder: Path,
    *,
    with_sample: bool = False,
    rate: float | None = None,
) -> Project:
    """A copy of a project in which the stage to be killed has not run."""
    project = copied(whole, folder)
    names = ["images"] if with_sample else ["snapshot", "sample", "images"]
    for path in [project.paths.work("harvest"), project.paths.work("download")]:
        remove(path)
    for name in names:
        remove(project.paths.root / "data" / name)
    project.paths.ledger.unlink(missing_ok=True)
    tree = yaml.safe_load(project.paths.params.read_text())
    tree["site"]["requests_per_second"] = rate
    project.paths.params.write_text(yaml.safe_dump(tree))
    return project


def remove(folder: Path) -> None:
    if folder.exists():
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        folder.rmdir()


def kill_harvest(ground: Ground, folder: Path, kills: int, seed: int) -> str:
    """No export is begun from zero again once a part of it is on the disk.

    And the snapshot is the undisturbed one.
    """
    killer, since = (
        Killer("harvest", random.Random(seed), span=3.0),
        len(ground.today.requests),
    )
    fetching = 0  # kills that landed before all exports were here
    sizes = {
        one.checksum: one.file_size
        for one in pin.load(ground.whole.paths.pin).exports.values()
    }
    while killer.kills < kills:
        project = bare(ground.whole, folder / f"harvest-{killer.runs}")
        exports, furthest = project.paths.work("harvest") / "exports", Counter[str]()

        def look(exports: Path = exports, furthest: Counter[str] = furthest) -> None:
            for path in sorted(exports.glob("*.part")) + sorted(exports.glob("*.gz")):
                checksum = path.name.split(".")[0]
                size = path.stat().st_size
                assert furthest[checksum] <= size <= sizes[checksum], path.name
                furthest[checksum] = size
            nonlocal fetching
            fetching += len(list(exports.glob("*.gz"))) < len(sizes)

        killer.strike(project, min(kills, killer.kills + ROUND), look)
        assert hashes(project.paths.snapshot) == hashes(ground.whole.paths.snapshot)
    asked = [
        one for one in list(ground.today.requests)[since:] if "/db_export/" in one.path
    ]
    rest, anew = (sum(one.status == status for one in asked) for status in (206, 200))
    needed = len(sizes) * killer.runs
    assert anew - needed <= killer.kills
    return (
        f"{killer.kills} kills in {killer.runs} harvests, {fetching} while exports "
        f"were fetched: {needed} exports, "
        f"{rest} requests for the rest of one, {anew} for a whole one"
    )


def kill_search(ground: Ground, folder: Path, kills: int, seed: int) -> str:
    """No page that is on the disk is asked for again.

    And the snapshot is the undisturbed one.
    """
    killer, since = (
        Killer("harvest", random.Random(seed), span=2.0),
        len(ground.today.requests),
    )
    while killer.kills < kills:
        project = bare(ground.searched, folder / f"search-{killer.runs}")
        killer.strike(project, min(kills, killer.kills + ROUND))
        assert hashes(project.paths.snapshot) == hashes(ground.searched.paths.snapshot)
    asked = Counter(
        f"{one.path}?{one.query}"
        for one in list(ground.today.requests)[since:]
        if one.host == "site"
    )
    needed = len(asked) * killer.runs
    again = sum(asked.values()) - needed
    assert (
        again <= 4 * killer.kills
    )  # what was under way, and the empty page at the end of each of three listings
    return (
        f"{killer.kills} kills in {killer.runs} harvests from the API: {needed} pages, "
        f"{again} asked for again"
    )


def kill_download(ground: Ground, folder: Path, kills: int, seed: int) -> str:
    """Beyond one each, only images in flight are asked for again.

    And the packs are the undisturbed ones.
    """
    killer, since = (
        Killer("download", random.Random(seed), span=1.2),
        len(ground.today.requests),
    )
    rate = (
        0.7 * ground.pictures / (kills * killer.span / 2)
    )  # of the pictures, so many are fetched when all kills landed
    project = bare(ground.whole, folder / "download", with_sample=True, rate=rate)
    killer.strike(project, kills)
    assert (killer.kills, killer.runs) == (kills, 1)
    assert hashes(project.paths.images) == hashes(ground.whole.paths.images)
    asked = Counter(one.path for one in pictures_asked(ground.today, since))
    again = sum(asked.values()) - len(asked)
    assert again <= (CONCURRENCY + ASIDE) * killer.kills
    return (
        f"{killer.kills} kills in one download: {len(asked)} images, {again} asked "
        "for again"
    )


def kill_refresh(ground: Ground, folder: Path, kills: int, seed: int) -> str:
    """The pin is the old one or the new one, byte for byte."""
    project = bare(ground.whole, folder / "refresh")
    tree = yaml.safe_load(project.paths.params.read_text())
    tree["site"] |= {
        "base_url": ground.tomorrow.base_url,
        "static_url": ground.tomorrow.static_url,
    }
    project.paths.params.write_text(yaml.safe_dump(tree))
    old, seen = project.paths.pin.read_bytes(), Counter[bytes]()

    def look() -> None:
        seen[project.paths.pin.read_bytes()] += 1
        project.paths.pin.write_bytes(old)

    killer = Killer("refresh", random.Random(seed), span=0.8)
    while killer.kills < kills:
        killer.strike(project, kills, look)
        new = project.paths.pin.read_bytes()
        project.paths.pin.write_bytes(old)
    assert new != old
    assert set(seen) <= {old, new}
    return (
        f"{killer.kills} kills of refresh: the old pin after {seen[old]}, the new one "
        f"after {seen[new]}"
    )


FEW = [(kill_harvest, 2), (kill_search, 1), (kill_download, 2), (kill_refresh, 1)]
MANY = [(kill_harvest, 25), (kill_search, 15), (kill_download, 100), (kill_refresh, 15)]


def rows(campaign: list[tuple[Callable[..., str], int]]) -> pytest.MarkDecorator:
    params = [
        pytest.param(kill, kills, id=f"{kill.__name__.removeprefix('kill_')}-{kills}")
        for kill, kills in campaign
    ]
    return pytest.mark.parametrize(("kill", "kills"), params)


@rows(FEW)
def test_killed_stage_ends_as_if_nothing_had_happened(
    ground: Ground, tmp_path: Path, kill: Callable[..., str], kills: int
) -> None:
    print(kill(ground, tmp_path, kills, seed=621))


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@rows(MANY)
def test_stage_killed_many_times_ends_as_if_nothing_had_happened(
    large_ground: Ground, tmp_path: Path, kill: Callable[..., str], kills: int
) -> None:
    print(kill(large_ground, tmp_path, kills, seed=621))
