"""A client that others wrote.

Gallery-dl lists and downloads from the sandbox as it does from the site.

Only its configuration names the sandbox. Where a URL is null it makes one up, towards
https://static1.<site>, which this project does not: so it is asked here for posts alone
that its account may see, and every way but loopback ends at a proxy that is not there.
"""

import hashlib
import json
import os
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from sandbox.board.drawn import SandboxBoard
from sandbox.records import CATEGORIES, Post
from sandbox.server.app import LOGIN, Request, Site
from tests.builders.project import served

NOWHERE = "http://127.0.0.1:9"  # the port named discard: nobody listens there


class GalleryDl:
    """gallery-dl with a configuration of its own, below `folder`."""

    def __init__(
        self, folder: Path, site: Site, login: tuple[str, str] | None = LOGIN
    ) -> None:
        account = (
            dict(zip(("username", "password"), login, strict=True)) if login else {}
        )
        naming = {"directory": [], "filename": "{file[md5]}.{extension}"}
        tree = {
            "extractor": {
                "base-directory": str(folder / "pictures"),
                "E621": {"sandbox": {"root": site.base_url}},
                "sandbox": {**naming, **account},
            },
            "downloader": {"mtime": False},
            "cache": {"file": None},
        }
        self._folder, self._site = folder, site
        self._config = folder / "gallery-dl.json"
        self._config.write_text(json.dumps(tree))

    def run(self, tags: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Runs it on a search, as a person would."""
        url = f"{self._site.base_url}/posts?tags={urllib.parse.quote(tags)}"
        command = [
            sys.executable,
            "-m",
            "gallery_dl",
            "--config-ignore",
            "--config",
            str(self._config),
        ]
        proxies = {f"{scheme}_proxy": NOWHERE for scheme in ("http", "https", "all")}
        environment = {
            **os.environ,
            **proxies,
            "no_proxy": "127.0.0.1",
            "HOME": str(self._folder),
        }
        return subprocess.run(
            [*command, *options, url],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def listed(self, tags: str) -> list[dict[str, Any]]:
        """Returns the listed posts in order, each with the `url` to fetch."""
        result = self.run(tags, "--dump-json")
        assert result.returncode == 0, result.stderr
        return [
            {**message[2], "url": message[1]}
            for message in json.loads(result.stdout)
            if message[0] == 3
        ]


@pytest.fixture(scope="module")
def own_site(board: SandboxBoard) -> Any:
    """The small board with a log of its own."""
    with served(board) as site:
        yield site


@pytest.fixture
def gallery_dl(tmp_path: Path, own_site: Site) -> GalleryDl:
    return GalleryDl(tmp_path, own_site)


def found(board: SandboxBoard, *tags: str, rating: str = "s") -> list[Post]:
    """What a search for these tags should find, newest first."""
    visible = [
        post for post in board.posts if not post.is_deleted and post.rating == rating
    ]
    return [post for post in reversed(visible) if set(tags) <= set(post.tags)]


def asked_since(site: Site, count: int) -> list[Request]:
    requests = list(site.requests)[count:]
    assert all(request.agent.startswith("gallery-dl/") for request in requests)
    return requests


def test_gallery_dl_lists_a_search_over_two_pages_as_the_board_has_it(
    gallery_dl: GalleryDl, own_site: Site, board: SandboxBoard
) -> None:
    before = len(own_site.requests)
    listed = gallery_dl.listed("rating:s")
    expected = found(board)
    assert len(expected) > 320  # the most that one page holds
    assert [post["id"] for post in listed] == [post.id for post in expected]
    asked = [
        urllib.parse.parse_qs(request.query)
        for request in asked_since(own_site, before)
    ]
    assert [query.get("page") for query in asked] == [None, [f"b{expected[319].id}"]]
    categories = {tag.name: CATEGORIES[tag.category] for tag in board.tags}
    for got, post in zip(listed, expected, strict=True):
        assert got["file"]["md5"] == post.md5
        assert got["extension"] == post.ext
        assert (got["file"]["width"], got["file"]["height"]) == (
            post.width,
            post.height,
        )
        folder = f"{own_site.static_url}/data/{post.md5[:2]}/{post.md5[2:4]}"
        assert got["url"] == f"{folder}/{post.md5}.{post.ext}"
        assert got["tags"] == sorted(tag for tag in post.tags if tag in categories)
        assert got["tags_species"] == [
            tag for tag in post.tags if categories.get(tag) == "species"
        ]
        assert (got["date"], got["sources"]) == (
            f"{post.created_at:%Y-%m-%d %H:%M:%S}",
            post.source.splitlines(),
        )
        assert (got["score"]["total"], got["fav_count"]) == (
            post.up_score + post.down_score,
            post.fav_count,
        )


def test_gallery_dl_downloads_a_search_byte_for_byte_and_asks_loopback_alone(
    gallery_dl: GalleryDl, own_site: Site, board: SandboxBoard, tmp_path: Path
) -> None:
    expected = found(board, "solo", "hat")
    assert 3 <= len(expected) <= 60
    before = len(own_site.requests)
    result = gallery_dl.run("rating:s solo hat")
    assert result.returncode == 0, result.stderr
    files = {path.name: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    assert set(files) == {f"{post.md5}.{post.ext}" for post in expected}
    for name, data in files.items():
        assert hashlib.md5(data, usedforsecurity=False).hexdigest() == Path(name).stem
    asked = asked_since(own_site, before)
    assert sorted(
        request.path for request in asked if request.host == "static"
    ) == sorted(
        f"/data/{post.md5[:2]}/{post.md5[2:4]}/{post.md5}.{post.ext}"
        for post in expected
    )
    assert all(request.status == 200 and request.complete for request in asked)
    assert len(asked) == len(expected) + 1


def test_gallery_dl_finds_posts_by_id_and_through_an_alias(
    gallery_dl: GalleryDl, board: SandboxBoard
) -> None:
    some = found(board)[3:6]
    assert [
        post["id"]
        for post in gallery_dl.listed("id:" + ",".join(str(post.id) for post in some))
    ] == [post.id for post in some]
    alias = next(
        one
        for one in board.aliases
        if one.status == "active" and found(board, one.consequent_name)
    )
    listed = gallery_dl.listed(f"rating:s {alias.antecedent_name}")
    assert [post["id"] for post in listed] == [
        post.id for post in found(board, alias.consequent_name)
    ]


def test_gallery_dl_says_that_a_wrong_key_is_refused(
    tmp_path: Path, own_site: Site
) -> None:
    result = GalleryDl(tmp_path, own_site, ("sandbox_user", "another key")).run(
        "rating:s solo hat", "--simulate"
    )
    assert result.returncode != 0
    assert "401" in result.stderr
