"""Runs the stage download and reads what it left."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
from aiohttp import web

from pipeline import download, parquet, sample
from pipeline.download.spool import Spool
from pipeline.download.variants import ImageRequest
from pipeline.params import Params
from pipeline.schemas.snapshot import POSTS
from sandbox.board.drawn import SandboxBoard
from sandbox.server.app import Site
from tests.builders.project import (
    ROOT,
    Project,
    make_project,
    prepare,
)


def run(project: Project, params: Params | None = None) -> None:
    params = params or project.params
    download.run(params.download, project.paths, site=params.site)


def outcomes(project: Project) -> pl.DataFrame:
    return pl.read_parquet(project.paths.images / "outcomes.parquet")


def requested_images(site: Site, since: int = 0) -> Counter[str]:
    return Counter(
        r.path
        for r in site.requests[since:]
        if r.host == "static" and "/db_export/" not in r.path
    )


def start_stage(project: Project, name: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline", name]
    return subprocess.Popen(
        command, cwd=project.paths.root, env=environment, stderr=subprocess.PIPE
    )


def spoilt_project(
    folder: Path, site: Site, *, max_rejected: float = 0.5, retries: int = 2
) -> Project:
    """Returns a sampled project whose site spoils some of its images."""
    options = {"max_rejected": max_rejected, "retries": retries}
    return prepare(make_project(folder, site, download=options))


def three_originals(project: Project) -> list[str]:
    """Md5s of three images that are fetched as originals."""
    posts = pl.read_parquet(project.paths.sample / "posts.parquet").filter(
        pl.max_horizontal("width", "height") <= 850
    )
    hidden = {
        post.md5
        for post in SandboxBoard(posts=600).posts
        if post.is_hidden_from_anonymous
    }
    return [md5 for md5 in posts["md5"] if md5 not in hidden][:3]


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


def leave_spooled(project: Project, row: dict[str, Any], body: bytes) -> Path:
    """Leaves an image as a killed run does."""
    one = ImageRequest(row["md5"], row["post_id"], row["variant"], "", 0, 0, 0)
    place = Spool(project.paths)
    record = place.append("pack-0.parquet", one, body)
    place.close()
    return record.path


def available_md5s(project: Project) -> list[str]:
    """Md5s of the sampled images that the site gives, in order."""
    hidden = {
        post.md5
        for post in SandboxBoard(posts=600).posts
        if post.is_hidden_from_anonymous
    }
    return sorted(
        set(pl.read_parquet(project.paths.sample / "posts.parquet")["md5"]) - hidden
    )


async def slowly(request: web.Request) -> None:
    """Takes its time with every image, and then answers honestly."""
    if request.path.startswith("/data/") and "/db_export/" not in request.path:
        await asyncio.sleep(0.3)
