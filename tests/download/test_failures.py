"""Images that cannot be had: rejected, counted, listed; sites that fail."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from aiohttp import web

from pipeline import download
from pipeline.errors import (
    ChallengePage,
    SiteUnreachable,
    TooManyRejects,
)
from pipeline.params import Params
from sandbox import faults
from sandbox.board.drawn import SandboxBoard
from tests.builders.downloads import (
    outcomes,
    requested_images,
    run,
    spoilt_project,
    three_originals,
)
from tests.builders.project import (
    Project,
    hashes,
    make_project,
    prepare,
    served,
)

OPTIONS = {"pack_images": 40, "retries": 2}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(faults.Truncated, "truncated", id="truncated"),
        pytest.param(faults.WrongBytes, "md5_mismatch", id="another md5"),
        pytest.param(faults.Html, "not_an_image", id="html"),
    ],
)
def test_bad_pictures_are_rejected_counted_and_listed_and_the_run_goes_on(
    sampled: Project,
    board: SandboxBoard,
    tmp_path: Path,
    fault: Callable[..., object],
    reason: str,
) -> None:
    bad = three_originals(sampled)
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
            match=r"none of 25 images in a row, .* "
            r"Check site.static_url and site.contact\. Run the same command",
        ):
            run(project)
        assert sum(requested_images(site).values()) < 100


def test_decompression_bomb_is_refused_unopened(
    tmp_path: Path, sampled: Project, board: SandboxBoard
) -> None:
    md5 = three_originals(sampled)[0]
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
    bad = three_originals(sampled)
    with served(board, fault=faults.Html(bad)) as site:
        spoilt = spoilt_project(tmp_path / "spoilt", site, max_rejected=0.0, retries=0)
        with pytest.raises(
            TooManyRejects, match=r"images are not here \(limit 0.0%\), first"
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
            {**half.params.model_dump(), "site": address, "download": OPTIONS}
        )
        download.run(params.download, half.paths, site=params.site)
        assert (
            outcomes(half)["outcome"].to_list()
            == outcomes(sampled)["outcome"].to_list()
        )
        assert all(count == 1 for count in requested_images(site).values())
        delivered = [
            one.path
            for one in site.requests
            if one.host == "static" and one.status == 200
        ]
        assert all(
            path.startswith("/data/0") for path in delivered
        )  # what came before the fault is not asked for again


def test_most_failures_being_temporary_the_line_says_when_to_come_back(
    tmp_path: Path, board: SandboxBoard, sampled: Project
) -> None:
    with served(board, fault=faults.Down(three_originals(sampled))) as site:
        project = prepare(
            make_project(
                tmp_path / "half", site, download={"max_rejected": 0.01, "retries": 0}
            )
        )
        with pytest.raises(
            SiteUnreachable,
            match=r"What is here is kept\. Run the same command again in a minute\.$",
        ):
            run(project)


class Switch:
    """Answers every request for an image with one status, while it is on."""

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
        assert sum(requested_images(site).values()) < 100
        switch.on = False
        run(project)
        assert hashes(project.paths.images) == hashes(finished.paths.images)


def test_picture_that_always_fails_is_asked_for_once_per_try(
    tmp_path: Path, board: SandboxBoard, sampled: Project
) -> None:
    bad = three_originals(sampled)
    with served(board, fault=faults.Html(bad)) as site:
        spoilt = spoilt_project(tmp_path / "spoilt", site)
        run(spoilt)
        asked = requested_images(site)
        assert [count for path, count in asked.items() if Path(path).stem in bad] == [
            3,
            3,
            3,
        ]


def test_original_with_the_right_md5_that_cannot_be_opened_is_not_retried(
    tmp_path: Path, sampled: Project, board: SandboxBoard
) -> None:
    post = next(post for post in board.posts if post.md5 == three_originals(sampled)[0])
    broken = b"\x89PNG\r\n\x1a\n" + b"no chunks follow" * 8
    with served(faults.Planted(board, {post.id: broken})) as site:
        spoilt = prepare(
            make_project(tmp_path / "spoilt", site, download={"max_rejected": 0.5})
        )
        run(spoilt)
        refused = outcomes(spoilt).filter(pl.col("outcome") == "broken_image")
        assert refused["md5"].to_list() == [
            hashlib.md5(broken, usedforsecurity=False).hexdigest()
        ]
        assert max(requested_images(site).values()) == 1
