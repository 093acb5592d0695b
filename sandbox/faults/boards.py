"""Boards that are odd in themselves: what they serve is honest, yet bad or extreme."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sandbox.records import Board, Post, Tag

MOST_TAGS = 2_000  # of one post, on the site (contract section 1.4)


class _Altered:
    """The same board, but for its posts and tags."""

    def __init__(
        self, board: Board, posts: Sequence[Post], tags: Sequence[Tag]
    ) -> None:
        self._board = board
        self.name = board.name
        self.day = board.day
        self.now = board.now
        self.posts = tuple(posts)
        self.tags = tuple(tags)
        self.aliases = board.aliases
        self.implications = board.implications

    def original(self, md5: str) -> bytes:
        """As the board's."""
        return self._board.original(md5)


class Planted(_Altered):
    """The same board, but for the files of some posts.

    Their md5s and numbers of bytes are those of the bytes given by post id. sizes: the
    pixels that the board lists for a file, where they are not those of the post.
    """

    def __init__(
        self,
        board: Board,
        files: Mapping[int, bytes],
        sizes: Mapping[int, tuple[int, int]] | None = None,
    ) -> None:
        self._files = {_md5(data): data for data in files.values()}
        md5s = dict(zip(files, self._files, strict=True))
        listed_sizes = sizes or {}
        posts = []
        for post in board.posts:
            if post.id not in files:
                posts.append(post)
                continue
            own_size = (post.width, post.height)
            width, height = listed_sizes.get(post.id, own_size)
            planted = replace(
                post,
                md5=md5s[post.id],
                file_size=len(files[post.id]),
                width=width,
                height=height,
            )
            posts.append(planted)
        super().__init__(board, posts, board.tags)

    def original(self, md5: str) -> bytes:
        """The planted bytes, or the board's own."""
        if md5 in self._files:
            return self._files[md5]
        return super().original(md5)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class ManyTags(_Altered):
    """The same board, but one post, by default the first, has so many tags in all."""

    def __init__(
        self, board: Board, tags: int = MOST_TAGS, post_id: int | None = None
    ) -> None:
        """Raises ValueError for a `post_id` that no post has."""
        crowded = _post(board, post_id)
        lacking = tags - len(crowded.tags)
        names = [f"crowd_{number:04}" for number in range(lacking)]
        numbered = enumerate(names, start=board.tags[-1].id + 1)
        new = [
            Tag(number, name, 0, 1, board.now, board.now) for number, name in numbered
        ]
        posts = list(board.posts)
        all_names = tuple(sorted([*crowded.tags, *names]))
        posts[posts.index(crowded)] = replace(crowded, tags=all_names)
        super().__init__(board, posts, [*board.tags, *new])


def _post(board: Board, post_id: int | None) -> Post:
    """The post of this id; the first one for None."""
    for post in board.posts:
        if post_id in (None, post.id):
            return post
    raise ValueError(f"the board has no post {post_id}")
