"""The drawn board: posts, tags and relations of one day, from a seed alone.

Guarantees  a post is a pure function of (seed, index), so that a board with fewer posts
            is a prefix of a larger one of the same day, day 2's new posts aside; the
            same bytes for a picture every time; what is true of a picture (`truth`) is
            known here only and never served.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import PIL

from sandbox.art.encode import file_bytes
from sandbox.board import catalogue
from sandbox.board.day2 import Day2Event, apply_event, event_of, new_change
from sandbox.board.posts import make_post, truth_of
from sandbox.board.provenance import index_of, origin_of, post_id, scene_of
from sandbox.records import Post, Relation, Tag
from sandbox.world.traits import (
    ALIASES,
    DAY_2_ALIAS,
    DEAD_ALIASES,
    DEAD_IMPLICATIONS,
    IMPLICATIONS,
    SLOW_IMPLICATIONS,
    TRAITS,
)

DAY_1 = datetime(2026, 7, 1, 5, 0, tzinfo=UTC)  # when the exports of day 1 were made
_TAGS_BEGAN = datetime(2016, 1, 4, 12, 0, tzinfo=UTC)
_REASON = 'Same thing, see the wiki: "see also", line 1\nline 2'


class WrongPicture(RuntimeError):
    """A drawn file does not have the md5 of the catalogue."""


class SandboxBoard:
    """The default board of the sandbox: see `sandbox.records.Board`.

    `day` is 1 or 2. With another seed, or more posts than the shipped catalogue
    has, files are drawn when the board opens.
    """

    name = "sandbox"

    def __init__(
        self, posts: int = catalogue.POSTS, seed: int = catalogue.SEED, day: int = 1
    ) -> None:
        if day not in (1, 2):
            raise ValueError(f"sandbox: day is {day}; it must be 1 or 2")
        if posts < 1:
            raise ValueError(f"sandbox: posts is {posts}; it must be 1 or more")
        self.seed, self.day = seed, day
        self.now = DAY_1 + timedelta(days=day - 1)
        self._size = posts
        self._files = catalogue.load(seed, posts)
        self.aliases: Sequence[Relation] = _aliases(day)
        self.implications: Sequence[Relation] = _implications()

    # Made when first asked for: processes that only draw pictures never pay for the
    # metadata.

    @cached_property
    def posts(self) -> Sequence[Post]:
        """The posts of the day, ordered by id."""
        return _posts(self.seed, self._size, self.day, self._files)

    @cached_property
    def tags(self) -> Sequence[Tag]:
        """Returns all tags by id, old spellings and tags without posts included."""
        return _tags(self.posts, self.aliases)

    def original(self, md5: str) -> bytes:
        """Returns the bytes of the original file, also of deleted posts.

        Raises KeyError for an unknown md5.
        """
        index = self._indices[md5]
        origin = origin_of(self.seed, index)
        scene = scene_of(self.seed, index, origin, self._is_replaced(index))
        data = file_bytes(scene)
        drawn = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if drawn != md5:
            raise WrongPicture(
                f"sandbox: the picture {md5} was drawn as {drawn}: the catalogue was "
                f"made with other art or another Pillow than {PIL.__version__}. "
                "Install the versions of requirements.lock, or run "
                "python -m sandbox catalogue."
            )
        return data

    def truth(self, post_id: int) -> frozenset[str]:
        """Returns all tags that are true of the post's picture, implied ones included.

        Raises KeyError if unknown.
        """
        index = index_of(post_id)
        if index not in self._present or post_id != self._present[index]:
            raise KeyError(post_id)
        return frozenset(truth_of(self.seed, index, self._is_replaced(index)))

    @cached_property
    def _present(self) -> dict[int, int]:
        """Ids by index of the posts that exist on this day."""
        indices = list(range(self._size))
        if self.day == 2:
            fresh = catalogue.new_posts(self._size)
            indices = [i for i in indices if event_of(i) is not Day2Event.EXPUNGED]
            indices += range(self._size, self._size + fresh)
        return {index: post_id(self.seed, index) for index in indices}

    @cached_property
    def _indices(self) -> dict[str, int]:
        """Indices by md5 of the files of this day."""
        return {self._file(index)[0]: index for index in self._present}

    def _file(self, index: int) -> catalogue.File:
        if self._is_replaced(index):
            return self._files.replacements[catalogue.replacement_of(index)]
        return self._files.originals[index]

    def _is_replaced(self, index: int) -> bool:
        return (
            self.day == 2
            and index < self._size
            and event_of(index) is Day2Event.REPLACED
        )


def _posts(seed: int, posts: int, day: int, files: catalogue.Catalogue) -> list[Post]:
    rows = [make_post(seed, index, files.originals[index]) for index in range(posts)]
    if day == 1:
        return rows
    return [*_changed_posts(seed, rows, files), *_new_posts(seed, posts, files)]


def _changed_posts(
    seed: int, rows: list[Post], files: catalogue.Catalogue
) -> Iterator[Post]:
    """Yields the posts of day 1 as they stand on day 2."""
    now = DAY_1 + timedelta(days=1)
    for index, row in enumerate(rows):
        better = None
        if event_of(index) is Day2Event.REPLACED:
            better = files.replacements[catalogue.replacement_of(index)]
        post = apply_event(seed, index, row, better, now)
        if post:
            yield post


def _new_posts(seed: int, posts: int, files: catalogue.Catalogue) -> Iterator[Post]:
    """Yields the posts that came in on day 2."""
    fresh = catalogue.new_posts(posts)
    for number in range(fresh):
        index = posts + number
        made = DAY_1 + timedelta(hours=23) * ((number + 0.5) / fresh)
        made = made.replace(microsecond=0)
        post = make_post(seed, index, files.originals[index], made)
        yield replace(
            post,
            change_seq=new_change(index),
            is_deleted=False,
            is_pending=number % 3 == 0,
        )


def _tags(posts: Sequence[Post], aliases: Sequence[Relation]) -> list[Tag]:
    counts = Counter(tag for post in posts if not post.is_deleted for tag in post.tags)
    categories = {name: trait.category for name, trait in TRAITS.items()}
    for alias in aliases:
        if alias.antecedent_name not in categories:
            categories[alias.antecedent_name] = categories.get(alias.consequent_name, 0)
    tags = []
    for number, (name, category) in enumerate(categories.items()):
        tags.append(_tag(number, name, category, counts[name]))
    return tags


def _tag(number: int, name: str, category: int, count: int) -> Tag:
    digest = hashlib.sha256(name.encode()).digest()
    if digest[0] < 12:  # the site's own counts drift on some tags
        count += digest[1] % 5 - 2
    made = _TAGS_BEGAN + timedelta(hours=number, seconds=digest[2])
    updated = made + timedelta(days=digest[3], milliseconds=10 * digest[4])
    return Tag(
        id=200 + 3 * number,
        name=name,
        category=category,
        post_count=count,
        created_at=made,
        updated_at=updated,
        is_locked=category in (6, 7, 8),
    )


def _aliases(day: int) -> list[Relation]:
    rows = [(old, new, "active") for old, new in ALIASES]
    rows += DEAD_ALIASES
    relations = [_relation(number, *row) for number, row in enumerate(rows)]
    if day == 2:
        fresh = _relation(len(rows), *DAY_2_ALIAS, "active")
        relations.append(replace(fresh, created_at=DAY_1 + timedelta(hours=7)))
    return relations


def _implications() -> list[Relation]:
    rows = [
        (low, high, SLOW_IMPLICATIONS.get((low, high), "active"))
        for low, high in IMPLICATIONS
    ]
    rows += DEAD_IMPLICATIONS
    return [_relation(number, *row) for number, row in enumerate(rows)]


def _relation(number: int, antecedent: str, consequent: str, status: str) -> Relation:
    made = _TAGS_BEGAN + timedelta(days=20 * number, seconds=number)
    created_at: datetime | None = made
    if number % 40 == 7:
        created_at = None  # as in the oldest rows of the site
    reason = ""
    if number % 3 == 0:
        reason = _REASON
    return Relation(
        id=31 + 2 * number,
        antecedent_name=antecedent,
        consequent_name=consequent,
        status=status,
        created_at=created_at,
        updated_at=made + timedelta(days=2),
        creator_id=100 + number % 9,
        reason=reason,
    )
