"""The failure campaign: the sandbox misbehaves in every way it knows.

And the real stages run against it.

Each case is a row: what goes wrong and where, the exit status, the words of the line,
what is on the disk after it. Then the fault is lifted and the same command must end
with the bytes of an undisturbed run, without asking again for what it had.
docs/reliability.md shows the rows; docs/resume.md what to do about them.
"""

import hashlib
import math
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from aiohttp import web
from typer.testing import CliRunner

from pipeline import harvest, refresh
from pipeline.cli import app
from pipeline.params import Params
from pipeline.site import client
from sandbox import faults
from sandbox.board.drawn import SandboxBoard
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

EXPORT = r"/data/db_export/posts"
INDEX = "/db_exports"
API = "/posts.json"
HALF = r"/data/(\w+/)?[0-7]"  # half of the pictures: the others must arrive
# Those that are asked for when half of them have come
LATER = r"/data/((sample|preview)/)?[89a-f]"
NO_POSTS = '{"posts":[]}'  # the page after the last one: not kept, so asked for again
QUERY = "rating:s"  # what the API is asked for: 393 posts, two pages


class Unruly:
    """A fault that can be changed while its board is served.

    Counts by path and query what it spoiled.
    """

    def __init__(self) -> None:
        self.fault: faults.Fault | None = None
        self.struck: Counter[str] = Counter()

    async def __call__(self, request: web.Request) -> web.StreamResponse | None:
        """The present fault's answer."""
        try:
            answer = await self.fault(request) if self.fault else None
        except web.HTTPNotFound:
            self.struck[address(request.path, request.query_string)] += 1
            raise
        self.struck[address(request.path, request.query_string)] += answer is not None
        return answer


def address(path: str, query: str) -> str:
    return f"{path}?{query}"


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the campaign takes place: one served board.

    And what undisturbed runs make of it.
    """

    site: Site
    unruly: Unruly
    elsewhere: Site  # another host, which nobody has a reason to ask
    # All from exports: snapshot and sample; images where the fixture `pictures` is
    finished: Project
    found: Project  # a snapshot from the API
    counted: Counter[str] = field(
        default_factory=Counter
    )  # requests of the present case

    def start(self, case: "Case", folder: Path) -> Project:
        """A project at the point where the case's stage runs."""
        project = copied(self.whole(case), folder / "project")
        tree = yaml.safe_load(project.paths.params.read_text())
        for section, values in case.sections.items():
            tree.setdefault(section, {}).update(values)
        project.paths.params.write_text(yaml.safe_dump(tree))
        remove(
            project,
            ".work",
            "data/images",
            "data/ledger.sqlite",
            "data/politeness.json",
        )
        if case.source != "pictures":
            remove(project, "data/snapshot", "data/sample")
        return replace(project, params=Params.model_validate(tree))

    @property
    def bad(self) -> frozenset[str]:
        """Md5s of three images that are wanted as originals."""
        outcomes = pl.read_parquet(self.finished.paths.images / "outcomes.parquet")
        return frozenset(
            outcomes.filter(outcome="kept", variant="original")["md5"].head(3)
        )

    def whole(self, case: "Case") -> Project:
        """The undisturbed project of the case's source."""
        return self.found if case.source == "api" else self.finished

    @contextmanager
    def disturbed(self, case: "Case") -> Iterator["Asked"]:
        """The case's fault is there; counting begins."""
        self.unruly.struck.clear()
        self.counted.clear()
        self.unruly.fault = case.fault(self)
        try:
            with self.honest() as asked:
                yield asked
        finally:
            self.unruly.fault = None

    @contextmanager
    def honest(self) -> Iterator["Asked"]:
        """Gives what was asked for within the block, by the beginning of the path."""
        start = len(self.site.requests)

        def asked(path: str) -> list[Request]:
            return [
                request
                for request in list(self.site.requests)[start:]
                if request.path.startswith(path)
            ]

        yield asked
        answered = (
            one
            for one in asked("/")
            if not (one.status == 200 and 0 < one.bytes_sent <= len(NO_POSTS))
        )
        self.counted.update(address(one.path, one.query) for one in answered)

    @property
    def spoiled(self) -> int:
        """How many requests the fault has spoiled since the case began."""
        return self.unruly.struck.total()

    def given(self) -> Counter[str]:
        """How often each address gave the honest answer since the case began."""
        return self.counted - self.unruly.struck


Asked = Callable[[str], list[Request]]


@pytest.fixture(scope="module")
def ground(
    board: SandboxBoard, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    """Served once; each case sets the fault and takes it away."""
    unruly, folder = Unruly(), tmp_path_factory.mktemp("ground")
    with served(board, fault=unruly) as site, served(board) as elsewhere:
        small = {"sample": {"size": 48, "min_positives": 12, "min_eval_positives": 1}}
        finished = prepare(
            make_project(
                folder / "exports", site, **small, download={"pack_images": 16}
            )
        )
        found = make_project(
            folder / "api", site, harvest={"source": "api", "query": QUERY}
        )
        harvest.run(found.params.harvest, found.paths, site=found.params.site)
        yield Ground(site, unruly, elsewhere, finished, found)


@pytest.fixture(scope="module")
def pictures(ground: Ground) -> None:
    """Fetches the images of the undisturbed project."""
    fetch(ground.finished)


def remove(project: Project, *names: str) -> None:
    for name in names:
        path = project.paths.root / name
        for file in sorted(path.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        if path.exists():
            path.rmdir() if path.is_dir() else path.unlink()


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the campaign.

    `source` is exports, api or pictures: the stage is harvest, harvest or download.
    """

    name: str
    source: str
    fault: Callable[[Ground], faults.Fault]
    status: int = 0
    # Regular expression, in the last line of an error, or in what a run that succeeds
    # says
    says: str = ""
    kept: Mapping[str, int] | None = (
        None  # outcomes other than kept, by reason; None: as in an undisturbed run
    )
    final: bool = False  # the site's no: not asked again, so the pictures stay away
    pinned: bool = False  # the fault is there when the pin is made
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    range: bool = (
        False  # the rest of the export is asked for, not the whole of it again
    )


PATIENT = {"download": {"retries": 3, "max_rejected": 0.5}}
# Answers arrive in the order of the requests.
ONE_BY_ONE = {"site": {"concurrency": 1}}
HASTY = {"download": {"retries": 0, "max_rejected": 0.5}}


def spoils(fault: faults.Fault) -> Callable[[Ground], faults.Fault]:
    """The fault anew for each run: faults count."""
    return lambda _: replace(fault)  # type: ignore[type-var]


EXPORTS = [
    Case(
        "429 with Retry-After",
        "exports",
        spoils(faults.Throttled(times=1, retry_after=1)),
    ),
    Case("429 without", "exports", spoils(faults.Throttled(times=3))),
    Case(
        "503 with Retry-After",
        "exports",
        spoils(faults.Down(EXPORT, times=1, retry_after=1)),
    ),
    Case("503 without", "exports", spoils(faults.Down(times=2, per_path=True))),
    Case(
        "503, asks for an hour",
        "exports",
        spoils(faults.Down(EXPORT, retry_after=3_600)),
        75,
        "asks to wait 3,600 s",
    ),
    Case(
        "503 for ever",
        "exports",
        spoils(faults.Down(EXPORT)),
        75,
        r"posts\.csv\.gz does not answer after \d+ tries",
    ),
    Case("500", "exports", spoils(faults.Failing(times=2))),
    Case("520", "exports", spoils(faults.Failing(EXPORT, times=2, status=520))),
    Case(
        "challenge 403",
        "exports",
        spoils(faults.Challenge(INDEX)),
        75,
        "asks for a human",
    ),
    Case(
        "challenge 403, body only",
        "exports",
        spoils(faults.Challenge(INDEX, header=False)),
        75,
        "asks for a human",
    ),
    Case(
        "challenge 403, header only",
        "exports",
        spoils(faults.Challenge(INDEX, body=False)),
        75,
        "asks for a human",
    ),
    Case(
        "challenge 200",
        "exports",
        spoils(faults.Challenge(EXPORT, status=200)),
        75,
        "asks for a human",
    ),
    Case(
        "challenge 200, body only",
        "exports",
        spoils(faults.Challenge(INDEX, status=200, header=False)),
        75,
        "human",
    ),
    Case(
        "403 page",
        "exports",
        spoils(faults.Forbidden()),
        75,
        r"page of its own \(403\)",
    ),
    Case("reset", "exports", spoils(faults.Reset(EXPORT, times=2)), range=True),
    Case("truncated", "exports", spoils(faults.Truncated(EXPORT, times=2)), range=True),
    Case(
        "chunks without an end",
        "exports",
        spoils(faults.Unfinished(EXPORT, times=2)),
        range=True,
    ),
    Case(
        "half, and its length agrees",
        "exports",
        spoils(faults.Shortened(EXPORT, times=1)),
    ),
    Case("half for ever", "exports", spoils(faults.Shortened(EXPORT)), 1, "posts"),
    Case("stall after the head", "exports", spoils(faults.Stalled(EXPORT, times=1))),
    Case(
        "stall midway",
        "exports",
        spoils(faults.Stalled(EXPORT, times=1, share=0.5)),
        range=True,
    ),
    Case("silence", "exports", spoils(faults.Silent(INDEX, times=1))),
    Case("drip", "exports", spoils(faults.Dripping(EXPORT, times=1)), range=True),
    Case("wrong byte once", "exports", spoils(faults.Flipped(EXPORT, times=1))),
    Case(
        "wrong byte for ever",
        "exports",
        spoils(faults.Flipped(EXPORT)),
        1,
        "has SHA-256 .* Nothing was written",
    ),
    Case(
        "wrong checksum",
        "exports",
        spoils(faults.WrongChecksum()),
        1,
        "has SHA-256 .* Nothing was written",
        pinned=True,
    ),
    Case("HTML", "exports", spoils(faults.Html(EXPORT)), 75, "posts"),
    Case(
        "listed and not there",
        "exports",
        spoils(faults.Missing(EXPORT)),
        1,
        "posts.csv.gz is refused",
    ),
    Case(
        "redirect",
        "exports",
        lambda at: faults.Redirected(EXPORT, to=at.elsewhere.static_url),
        1,
        "status 302 to",
    ),
    Case(
        "index redirected",
        "exports",
        lambda at: faults.Redirected(INDEX, to=at.elsewhere.base_url),
        1,
        "status 302 to",
    ),
    Case(
        "missing column",
        "exports",
        spoils(faults.MissingColumn("md5")),
        1,
        "has no column md5",
        pinned=True,
    ),
    Case("more columns", "exports", spoils(faults.ExtraColumns()), pinned=True),
    Case("more keys", "exports", spoils(faults.ExtraKeys())),
]

SEARCH = [
    Case(
        "429 with Retry-After", "api", spoils(faults.Throttled(times=1, retry_after=1))
    ),
    Case("503 without", "api", spoils(faults.Down(times=2, per_path=True))),
    Case(
        "503, asks for an hour",
        "api",
        spoils(faults.Down("/tags", retry_after=3_600)),
        75,
        "asks to wait 3,600 s",
    ),
    Case("500", "api", spoils(faults.Failing(times=3))),
    Case("520", "api", spoils(faults.Failing(times=3, status=520))),
    Case(
        "challenge 403",
        "api",
        spoils(faults.Challenge("/tag_implications")),
        75,
        "asks for a human",
    ),
    Case(
        "challenge 200",
        "api",
        spoils(faults.Challenge("/tag_implications", status=200)),
        75,
        "asks for a human",
    ),
    Case(
        "403 page",
        "api",
        spoils(faults.Forbidden("/tags")),
        75,
        r"page of its own \(403\)",
    ),
    Case(
        "403 JSON",
        "api",
        spoils(faults.Forbidden("/tags", html=False)),
        1,
        "Access Denied",
    ),
    Case("reset", "api", spoils(faults.Reset(times=2))),
    Case("truncated", "api", spoils(faults.Truncated(times=2))),
    Case("half, and its length agrees", "api", spoils(faults.Shortened(times=2))),
    Case("stall midway", "api", spoils(faults.Stalled(times=1, share=0.5))),
    Case("silence", "api", spoils(faults.Silent(times=1))),
    Case(
        "HTML", "api", spoils(faults.Html("/tags")), 1, "answered text/html, not JSON"
    ),
    Case(
        "redirect",
        "api",
        lambda at: faults.Redirected("/tags", to=at.elsewhere.base_url),
        1,
        "status 302 to",
    ),
    Case("more keys", "api", spoils(faults.ExtraKeys())),
    Case("short pages", "api", spoils(faults.ShortPages(posts=60))),
    Case("v2, extended", "api", spoils(faults.V2Anyway())),
    Case("v2, basic", "api", spoils(faults.V2Anyway(mode="basic"))),
    Case(
        "cursor that repeats",
        "api",
        spoils(faults.RepeatingCursor()),
        1,
        "would repeat for ever",
    ),
]


def three(kind: Callable[..., Any], **options: Any) -> Callable[[Ground], faults.Fault]:
    """The fault for three images."""
    return lambda ground: kind(ground.bad, **options)


PICTURES = [
    Case("429 with Retry-After", "pictures", spoils(faults.Throttled(faults.PICTURES,
    times=1, retry_after=1))),
    Case("429 without", "pictures", spoils(faults.Throttled(HALF, times=2,
    per_path=True)), sections=PATIENT),
    Case("503 with Retry-After", "pictures", spoils(faults.Down(faults.PICTURES,
    times=1, retry_after=1))),
    Case("503 without", "pictures", spoils(faults.Down(HALF, times=2, per_path=True)),
    sections=PATIENT),
    Case("503, asks for an hour", "pictures", spoils(faults.Down(HALF,
    retry_after=3_600)), 75, "asks to wait 3,600 s"),
    Case("503 for ever", "pictures", spoils(faults.Down(faults.PICTURES)), 75,
    "in a row", sections=HASTY),
    Case("500", "pictures", spoils(faults.Failing(HALF, times=1, per_path=True)),
    sections=PATIENT),
    Case("520", "pictures", spoils(faults.Failing(HALF, times=1, per_path=True,
    status=520)), sections=PATIENT),
    Case("challenge 403", "pictures", spoils(faults.Challenge(HALF)), 75,
    "asks for a human"),
    Case("challenge 200", "pictures", spoils(faults.Challenge(HALF, status=200)), 75,
    "asks for a human"),
    Case("challenge 200, body only", "pictures", spoils(faults.Challenge(HALF,
    status=200, header=False)), 75, "human"),
    Case("403 page", "pictures", spoils(faults.Forbidden(faults.PICTURES)), 75,
    r"page of its own \(403\)"),
    Case("403 page, midway", "pictures", spoils(faults.Forbidden(LATER)), 75,
    r"page of its own \(403\)", sections=ONE_BY_ONE),
    Case("403 page for some", "pictures", three(faults.Forbidden),
    kept={"not_an_image": 3}, sections=HASTY),
    Case("403 JSON", "pictures", three(faults.Forbidden, html=False), 0, "",
    {"forbidden": 3}, True, sections=HASTY),
    Case("reset", "pictures", spoils(faults.Reset(HALF, times=1, per_path=True)),
    sections=PATIENT),
    Case("truncated once", "pictures", spoils(faults.Truncated(HALF, times=1,
    per_path=True)), sections=PATIENT),
    Case("truncated", "pictures", three(faults.Truncated), kept={"truncated": 3},
    sections=HASTY),
    Case("chunks without an end", "pictures", three(faults.Unfinished),
    kept={"truncated": 3}, sections=HASTY),
    Case("half, and its length agrees", "pictures", three(faults.Shortened),
    kept={"md5_mismatch": 3}, sections=HASTY),
    Case("stall after the head", "pictures", three(faults.Stalled),
    kept={"unavailable": 3}, sections=HASTY),
    Case("stall midway", "pictures", three(faults.Stalled, share=0.5),
    kept={"unavailable": 3}, sections=HASTY),
    Case("silence", "pictures", three(faults.Silent), kept={"unavailable": 3},
    sections=HASTY),
    Case("drip", "pictures", three(faults.Dripping), kept={"unavailable": 3},
    sections=HASTY),
    Case("wrong byte", "pictures", three(faults.Flipped), kept={"md5_mismatch": 3},
    sections=HASTY),
    Case("another image", "pictures", three(faults.WrongBytes),
    kept={"md5_mismatch": 3}, sections=HASTY),
    Case("decompression bomb", "pictures", three(faults.Bomb), kept={"md5_mismatch": 3},
    sections=HASTY),
    Case("HTML", "pictures", three(faults.Html), kept={"not_an_image": 3},
    sections=HASTY),
    Case("not there", "pictures", three(faults.Missing), kept={"not_found": 3},
    final=True, sections=HASTY),
    Case(
        "redirect", "pictures", lambda at: faults.Redirected(at.bad,
        to=at.elsewhere.static_url),
        kept={"redirected": 3}, sections=HASTY,
    ),
    Case("too many bad ones", "pictures", three(faults.Html), 1,
    r"are not here \(limit 0.0%\), first",
         kept={"not_an_image": 3}, sections={"download": {"retries": 0,
         "max_rejected": 0.0}}),
]  # fmt: skip


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No test waits a minute for a server that stalls, nor long between two tries.

    Where a case expects that the stage gets through, the client never gives the site
    up: on a busy machine the failures of many requests at once can last seconds.
    """
    callspec = getattr(request.node, "callspec", None)
    case = callspec.params.get("case") if callspec is not None else None
    gets_through = case is not None and not case.status
    patience = replace(
        client.LOCAL_TIMEOUTS,
        silence=1.5,
        look=1.5,
        first_backoff=0.02,
        failing=math.inf if gets_through else 0.2,
    )
    monkeypatch.setattr(client, "LOCAL_TIMEOUTS", patience)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Project], tuple[int, str]]:
    """Runs a stage as the command line does; gives exit status and output."""

    def invoke(stage: str, project: Project) -> tuple[int, str]:
        monkeypatch.chdir(project.paths.root)
        result = CliRunner().invoke(app, [stage])
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result.exit_code, result.output

    return invoke


Run = Callable[[str, Project], tuple[int, str]]


def cases(rows: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "case", [pytest.param(row, id=f"{row.source}: {row.name}") for row in rows]
    )


@cases(EXPORTS + SEARCH)
def test_harvest_is_right_or_says_why_not_and_is_right_once_the_fault_is_lifted(
    case: Case, ground: Ground, tmp_path: Path, run: Run
) -> None:
    project, whole = (
        ground.start(case, tmp_path),
        hashes((ground.whole(case)).paths.snapshot),
    )
    with ground.disturbed(case) as asked:
        if case.pinned:
            refresh.run(project.params, project.paths)
        check_outcome(case, *run("harvest", project), ground.spoiled)
        assert hashes(project.paths.snapshot) == ({} if case.status else whole)
        if case.range:
            assert [request.status for request in asked(EXPORT)][-1] == 206
    with ground.honest() as asked:
        if case.pinned:
            refresh.run(project.params, project.paths)
        assert run("harvest", project)[0] == 0
    assert hashes(project.paths.snapshot) == whole
    again = [path for path, times in ground.given().items() if times > 1]
    assert case.pinned or not [path for path in again if not path.startswith(INDEX)]
    assert not ground.elsewhere.requests


@pytest.mark.parametrize(
    ("index_lag", "says"),
    [
        pytest.param(
            0, "which is gone. Run e6tag refresh", id="the index follows at once"
        ),
        pytest.param(1, "has SHA-256 .* Nothing was written", id="the index lags"),
        pytest.param(None, "has SHA-256 .* Nothing was written", id="the index stays"),
    ],
)
def test_export_that_is_swapped_while_it_is_fetched_is_never_spliced(
    ground: Ground, tmp_path: Path, run: Run, index_lag: int | None, says: str
) -> None:
    tomorrow = SandboxBoard(posts=600, day=2)
    case = Case(
        "swapped",
        "exports",
        lambda _: faults.Swapped(tomorrow, index_lag=index_lag),
        1,
        says,
    )
    project, snapshot = ground.start(case, tmp_path), ground.finished.paths.snapshot
    with ground.disturbed(case):
        check_outcome(case, *run("harvest", project), ground.spoiled)
        assert not project.paths.snapshot.exists()
        if index_lag is not None:  # the index is tomorrow's by now
            assert run("refresh", project)[0] == run("harvest", project)[0] == 0
            posts = pl.read_parquet(project.paths.snapshot / "posts.parquet")
            assert posts["md5"].to_list() == [post.md5 for post in tomorrow.posts]
    assert run("refresh", project)[0] == run("harvest", project)[0] == 0
    assert hashes(project.paths.snapshot) == hashes(snapshot)


def test_rows_that_an_export_gives_twice_are_there_once_and_listed(
    ground: Ground, tmp_path: Path, run: Run
) -> None:
    case = Case("doubled rows", "exports", lambda _: faults.DoubledRows())
    project = ground.start(case, tmp_path)
    with ground.disturbed(case):
        assert run("refresh", project)[0] == run("harvest", project)[0] == 0
    rejected = pl.read_parquet(project.paths.snapshot / "rejected.parquet")
    assert rejected["reason"].to_list() == ["id given more than once"] * 60
    assert without_rejected(project) == without_rejected(ground.finished)


def test_posts_that_come_on_two_pages_are_there_once_and_listed(
    ground: Ground, tmp_path: Path, run: Run
) -> None:
    case = Case("doubled posts", "api", lambda _: faults.DoubledPosts())
    project = ground.start(case, tmp_path)
    with ground.disturbed(case):
        assert run("harvest", project)[0] == 0
    rejected = pl.read_parquet(project.paths.snapshot / "rejected.parquet")
    assert set(rejected["reason"]) == {"id given more than once"}
    assert without_rejected(project) == without_rejected(ground.found)


def without_rejected(project: Project) -> dict[str, str]:
    return {
        name: sha256
        for name, sha256 in hashes(project.paths.snapshot).items()
        if name != "rejected.parquet"
    }


@pytest.mark.parametrize("source", ["exports", "api"])
def test_post_of_two_thousand_tags_has_them_all(
    board: SandboxBoard, tmp_path: Path, run: Run, source: str
) -> None:
    section = {"source": "api", "query": "status:any"} if source == "api" else {}
    crowded = faults.ManyTags(board)
    with served(crowded) as site:
        project = make_project(tmp_path / "project", site, harvest=section)
        assert run("harvest", project)[0] == 0
    posts = pl.read_parquet(project.paths.snapshot / "posts.parquet")
    assert posts["tags"][0].to_list() == list(crowded.posts[0].tags)
    assert posts["tags"].list.len()[0] == 2_000


@pytest.mark.parametrize(
    ("fault", "source", "says"),
    [
        pytest.param(
            faults.JsonBomb(INDEX, megabytes=1_024),
            "exports",
            "more than .* bytes of JSON",
            id="index",
        ),
        pytest.param(
            faults.JsonBomb(API, megabytes=1_024),
            "api",
            "more than .* bytes of JSON",
            id="API",
        ),
        pytest.param(
            faults.ExportBomb(megabytes=1_024), "exports", "export posts", id="export"
        ),
    ],
)
def test_gzip_bomb_is_refused_with_little_memory(
    ground: Ground, tmp_path: Path, fault: faults.Fault, source: str, says: str
) -> None:
    case = Case("bomb", source, lambda _: fault, 1, says)
    project = ground.start(case, tmp_path)
    with ground.disturbed(case):
        if isinstance(fault, faults.ExportBomb):
            refresh.run(project.params, project.paths)
        status, output, peak = process("harvest", project)
    check_outcome(case, status, output, ground.spoiled)
    assert peak < 500e6
    assert not project.paths.snapshot.exists()


def process(stage: str, project: Project) -> tuple[int, str, float]:
    """Runs a stage as a process of its own.

    Its exit status, what it printed, and its peak memory in bytes.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline", stage]
    with (project.paths.root / "output").open("w+") as output:
        child = subprocess.Popen(
            command,
            cwd=project.paths.root,
            env=environment,
            stdout=output,
            stderr=output,
        )
        # Not what the kernel says at the end: a child starts with the peak of its
        # parent, this process
        peak = 0.0
        while child.poll() is None:
            with suppress(OSError):  # it ended meanwhile
                found = re.search(
                    r"VmHWM:\s+(\d+) kB", Path(f"/proc/{child.pid}/status").read_text()
                )
                peak = max(peak, int(found[1]) * 1024 if found else 0)
            time.sleep(0.01)
        output.seek(0)
        return child.returncode, output.read(), peak


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name)
        for case in EXPORTS
        if case.name in ("challenge 200", "listed and not there")
    ],
)
def test_process_ends_with_the_same_status_and_line(
    case: Case, ground: Ground, tmp_path: Path
) -> None:
    project = ground.start(case, tmp_path)
    with ground.disturbed(case):
        status, output, _ = process("harvest", project)
    check_outcome(case, status, output, ground.spoiled)


@pytest.mark.parametrize("agent", ["", "Python-urllib/3.11", "curl/8.5"])
def test_agent_that_names_nobody_gets_the_page_of_the_edge(
    ground: Ground, agent: str
) -> None:
    url = f"{ground.site.base_url}/db_exports.json"
    request = urllib.request.Request(url, headers={"User-Agent": agent})  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)  # noqa: S310
    with raised.value as refusal:
        assert (refusal.code, refusal.headers.get_content_type()) == (403, "text/html")


@cases(PICTURES)
def test_download_is_right_or_says_why_not_and_is_right_once_the_fault_is_lifted(
    case: Case, ground: Ground, pictures: None, tmp_path: Path, run: Run
) -> None:
    project, whole = ground.start(case, tmp_path), hashes(ground.finished.paths.images)
    with ground.disturbed(case):
        check_outcome(case, *run("download", project), ground.spoiled)
        assert refused(project) == (case.kept or {})
        if not case.kept and not case.status:
            assert hashes(project.paths.images) == whole
    with ground.honest() as asked:
        second = run("download", project)
        assert second[0] == 0, second[1]
        if case.final:
            assert not asked("/")
    if case.final:
        assert refused(project) == case.kept
    elif (
        case.kept
    ):  # these lie in a pack of their own: sealed packs are not opened for them
        assert pictures_of(project) == pictures_of(ground.finished)
    else:
        assert hashes(project.paths.images) == whole
    assert not [path for path, times in ground.given().items() if times > 1]
    assert not ground.elsewhere.requests


def check_outcome(case: Case, status: int, output: str, spoiled: int) -> None:
    """Compares what a run did with the row.

    Prints the row with the number of requests that were spoiled.
    """
    last = output.strip().splitlines()[-1]
    print(
        f"{case.source} | {case.name} | {spoiled} | {status} | "
        f"{last if status else ''} | {dict(case.kept or {})}"
    )
    assert status == case.status, output
    assert re.search(case.says, last), last
    assert "Traceback" not in output
    assert last.startswith("error: ") is (status != 0)


def refused(project: Project) -> dict[str, int]:
    """How many images are not here, by reason.

    Nothing where the run ended before it could say.
    """
    path = project.paths.images / "outcomes.parquet"
    if not path.exists():
        return {}
    outcomes = pl.read_parquet(path).filter(pl.col("outcome") != "kept")
    return dict(Counter(outcomes["outcome"].to_list()))


def pictures_of(project: Project) -> dict[tuple[str, str], str]:
    """SHA-256 of all images in packs, by md5 and variant."""
    found = pl.read_parquet(
        project.paths.images / "pack-*.parquet", columns=["md5", "variant", "bytes"]
    )
    return {
        (md5, variant): hashlib.sha256(data).hexdigest()
        for md5, variant, data in found.iter_rows()
    }
