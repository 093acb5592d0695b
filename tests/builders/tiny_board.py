"""A board of a few posts that tests know by heart, and requests to its servers."""

import csv
import gzip
import hashlib
import io
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from PIL import Image

from sandbox import faults
from sandbox.records import Board, Post, Relation, Tag
from sandbox.server.app import Site, serve

AGENT = "e6tag-tests/1.0 (by tests@example.org)"
START = datetime(2020, 1, 15, 12, 0, 0, 120_000, tzinfo=UTC)

TAGS = {
    "fox": 5,
    "canine": 5,
    "mammal": 5,
    "standing": 0,
    "sitting": 0,
    "young": 0,
    "jan": 1,
    "♀_only": 0,
    "hi_res": 7,
}


def md5_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def picture(width: int, height: int, seed: int) -> bytes:
    """A PNG of two colours, the lower half transparent."""
    drawn = Image.new("RGBA", (width, height), (200, seed % 256, 30, 255))
    drawn.paste((0, 0, 0, 0), (0, height // 2, width, height))
    encoded = io.BytesIO()
    drawn.save(encoded, "PNG")
    return encoded.getvalue()


ALIASES = (
    Relation(1, "vulpine", "vulpes", "active", None, START, 1),
    Relation(2, "vulpes", "fox", "active", START, START, 1),
    Relation(3, "stands", "standing", "deleted", START, START, 1, reason='no, "never"'),
)

IMPLICATIONS = (
    Relation(1, "fox", "canine", "active", START, START, 1),
    Relation(2, "canine", "mammal", "active", START, START, 1),
    Relation(3, "mammal", "jan", "pending", START, START, 1),
)


class TinyBoard:
    """Nine posts, one for each thing that the servers treat differently."""

    name, day, now = "tiny", 1, datetime(2026, 7, 1, 5, 0, tzinfo=UTC)

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self.posts: Sequence[Post] = (
            self._post(1, "fox standing", 60, 40),
            self._post(2, "fox sitting", 60, 40, is_deleted=True),
            self._post(4, "fox young", 50, 50, rating="q"),
            self._post(5, "fox young", 50, 60, rating="s"),
            self._post(7, "sitting unknown_tag", 70, 50, is_hidden_from_anonymous=True),
            self._post(
                8,
                "fox hi_res standing",
                896,
                1200,
                description='a, "b"\r\nc',
                parent_id=1,
                source="x\ny",
            ),
            self._post(
                9,
                "jan standing",
                640,
                320,
                bg_color="ffffff",
                is_pending=True,
                rating="e",
            ),
            self._post(11, "sitting", 40, 40, ext="webm", duration=2.5),
            self._post(12, "♀_only", 1, 1, updated_at=None),
        )
        self.tags = _tags(self.posts)
        self.aliases = ALIASES
        self.implications = IMPLICATIONS

    def _post(
        self,
        number: int,
        tags: str,
        width: int,
        height: int,
        *,
        ext: str = "png",
        **more: Any,
    ) -> Post:
        data = b"not an image" if ext == "webm" else picture(width, height, number)
        md5 = md5_of(data)
        self._files[md5] = data
        post = Post(
            number,
            3,
            START + timedelta(days=number),
            START + timedelta(days=number, seconds=1),
            md5,
            ext,
            width,
            height,
            len(data),
            "s",
            tuple(sorted(tags.split())),
            change_seq=1000 - number,
            up_score=number,
        )
        return replace(post, **more)

    def original(self, md5: str) -> bytes:
        """As every board's."""
        return self._files[md5]


def _tags(posts: Sequence[Post]) -> tuple[Tag, ...]:
    """Returns TAGS with the number of posts that have them."""
    carried: Counter[str] = Counter()
    for post in posts:
        if not post.is_deleted:
            carried.update(post.tags)
    tags = []
    for number, (name, category) in enumerate(TAGS.items(), start=1):
        tags.append(Tag(number, name, category, carried[name], START, START))
    return tuple(tags)


@asynccontextmanager
async def faulty(
    board: Board, fault: faults.Fault
) -> AsyncIterator[tuple[Site, aiohttp.ClientSession]]:
    async with (
        serve(board, workers=1, fault=fault) as site,
        aiohttp.ClientSession(headers={"User-Agent": AGENT}) as session,
    ):
        yield site, session


async def answer(client: aiohttp.ClientSession, url: str, **options: Any) -> Any:
    async with client.get(url, **options) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def refusal(
    client: aiohttp.ClientSession, url: str, **options: Any
) -> tuple[int, Any]:
    async with client.get(url, **options) as response:
        return response.status, await response.json()


def ids(listing: Any) -> list[int]:
    return [post["id"] for post in listing["posts"]]


def link(site: Site, post: Post, kind: str = "", ext: str | None = None) -> str:
    folder = f"{site.static_url}/data{kind}/{post.md5[:2]}/{post.md5[2:4]}"
    return f"{folder}/{post.md5}.{ext or post.ext}"


def post_of(board: Board, number: int) -> Post:
    return next(post for post in board.posts if post.id == number)


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(gzip.decompress(data).decode(), newline="")))
