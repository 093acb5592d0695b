"""Boards that are odd in themselves: what they serve is honest.

And bad or extreme all the same.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sandbox.board.records import Board, Post, Tag

MOST_TAGS = 2_000  # of one post, on the site (contract section 1.4)


class _Altered:
    """The same board, but for its posts and tags."""

    def __init__(
        self, board: Board, posts: Sequence[Post], tags: Sequence[Tag]
    ) -> None:
        self.name, self.day, self.now = board.name, board.day, board.now
        self.posts, self.tags = tuple(posts), tuple(tags)
        self.aliases, self.implications = board.aliases, board.implications
        self._board = board

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
        self._files = {hashlib.md5(data).hexdigest(): data for data in files.values()}  # noqa: S324  # as the site does
        md5s = dict(zip(files, self._files, strict=True))
        posts = []
        for post in board.posts:
            if post.id not in files:
                posts.append(post)
                continue
            width, height = (sizes or {}).get(post.id, (post.width, post.height))
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
        return self._files[md5] if md5 in self._files else super().original(md5)


class ManyTags(_Altered):
    """The same board, but one post carries so many tags in all.

    It is the first one unless `post_id` names another.
    """

    def __init__(
        self, board: Board, tags: int = MOST_TAGS, post_id: int | None = None
    ) -> None:
        crowded = next(post for post in board.posts if post_id in (None, post.id))
        names = [f"crowd_{number:04}" for number in range(tags - len(crowded.tags))]
        start = board.tags[-1].id + 1
        new = [
            Tag(start + place, name, 0, 1, board.now, board.now)
            for place, name in enumerate(names)
        ]
        full = replace(crowded, tags=tuple(sorted((*crowded.tags, *names))))
        super().__init__(
            board,
            [full if post is crowded else post for post in board.posts],
            [*board.tags, *new],
        )
