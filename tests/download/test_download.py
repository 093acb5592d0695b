"""Download: every image once, at the rate, and only what may be fetched."""

from pathlib import Path

import polars as pl
import pytest

from pipeline import download, packs, parquet
from pipeline.schemas.sample import SAMPLED_POSTS
from sandbox.board.drawn import SandboxBoard
from sandbox.server.app import Site
from tests.builders.downloads import outcomes, requested_images, run
from tests.builders.project import (
    Project,
    hashes,
    make_project,
    prepare,
    served,
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


def test_picture_of_several_posts_is_fetched_once_for_the_oldest(
    sampled: Project,
) -> None:
    path = sampled.paths.sample / "posts.parquet"
    posts = pl.read_parquet(path)
    older = posts.head(1).with_columns(post_id=pl.lit(1, dtype=pl.Int64))
    parquet.write(path, pl.concat([posts, older]), SAMPLED_POSTS)
    asked = len(sampled.site.requests)
    run(sampled)
    md5 = older["md5"][0]
    stored = packs.index(sampled.paths.images).filter(md5=md5)
    assert stored["post_id"].to_list() == [1]
    requested = requested_images(sampled.site, asked)
    assert sum(count for path, count in requested.items() if md5 in path) == 1


def test_second_run_asks_for_nothing(sampled: Project) -> None:
    run(sampled)
    before, asked = hashes(sampled.paths.images), len(sampled.site.requests)
    run(sampled)
    assert hashes(sampled.paths.images) == before
    assert not requested_images(sampled.site, asked)


def test_no_forbidden_post_is_ever_requested(
    sampled: Project, board: SandboxBoard
) -> None:
    asked = len(sampled.site.requests)
    run(sampled)
    by_md5 = {post.md5: post for post in board.posts}
    paths = requested_images(sampled.site, asked)
    assert len(paths) > 50
    for path in paths:
        post = by_md5[Path(path).stem]
        assert post.rating == "s"
        assert not post.is_deleted
        assert not {"avoid_posting", "conditional_dnp"} & set(
            post.tags + post.locked_tags
        )
        assert post.ext in {"jpg", "png", "webp"}


def test_rate_is_kept_over_everything_together(tmp_path: Path, site: Site) -> None:
    limited = {"requests_per_second": 40.0}
    project = prepare(make_project(tmp_path / "slow", site, site=limited))
    asked = len(site.requests)
    run(project)
    times = [request.time for request in site.requests[asked:]]
    assert len(times) > 60
    assert (times[-1] - times[0]) >= (len(times) - 1) / 40.0 * 0.9


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
            f"download: {posts.height - len(large):,} of {posts.height:,} images to "
            "fetch" in capfd.readouterr().err
        )
        assert not large.keys() & {Path(path).stem for path in requested_images(site)}
        refused = outcomes(project).filter(pl.col("outcome") == "too_large")
        assert dict(refused.select("md5", "detail").iter_rows()) == {
            md5: f"listed with {size:,} bytes, limit 60,000: not asked for"
            for md5, size in large.items()
        }
        asked = len(site.requests)
        raised = project.params.download.model_copy(update={"max_bytes": 52_428_800})
        download.run(raised, project.paths, site=project.params.site)
        assert {Path(path).stem for path in requested_images(site, asked)} == set(large)
