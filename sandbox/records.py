"""What a board is made of.

The records every sandbox board offers and its server speaks.

A board is a plain value: posts, tags and relations of one day, plus a pure function
from an md5 to the bytes of the original file. Field names are those of the site's
exports (contract section 1.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

CATEGORIES = (
    "general",
    "artist",
    "contributor",
    "copyright",
    "character",
    "species",
    "invalid",
    "meta",
    "lore",
)
"""Category names by id (contract section 6): only 0, 1, 3 and 4 agree with Danbooru."""


@dataclass(frozen=True, slots=True)
class Post:
    """One row of the board.

    `tags` are sorted by code point, as in the site's `tag_string`; times are UTC.
    """

    id: int
    uploader_id: int
    created_at: datetime
    updated_at: datetime | None
    md5: str
    ext: str
    width: int
    height: int
    file_size: int
    rating: str  # "s", "q" or "e"
    tags: tuple[str, ...]
    change_seq: int
    locked_tags: tuple[str, ...] = ()
    parent_id: int | None = None
    source: str = ""  # lines joined by LF
    description: str = ""
    duration: float | None = None  # seconds, of animated entries
    bg_color: str | None = None  # 6 hex digits: what transparency is flattened on
    approver_id: int | None = None
    fav_count: int = 0
    comment_count: int = 0
    up_score: int = 0
    down_score: int = 0  # at most 0
    is_deleted: bool = False
    is_pending: bool = False
    is_flagged: bool = False
    is_rating_locked: bool = False
    is_status_locked: bool = False
    is_note_locked: bool = False
    is_hidden_from_anonymous: bool = False  # never exported (contract section 1.5)


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag.

    `category` is an index into CATEGORIES; `post_count` leaves out deleted posts.
    """

    id: int
    name: str
    category: int
    post_count: int
    created_at: datetime
    updated_at: datetime
    is_locked: bool = False


@dataclass(frozen=True, slots=True)
class Relation:
    """One alias or implication.

    `antecedent_name` -> `consequent_name`, effective when `status` is active.
    """

    id: int
    antecedent_name: str
    consequent_name: str
    status: str  # active, pending, deleted, retired, queued, processing, "error: ..."
    created_at: datetime | None
    updated_at: datetime
    creator_id: int
    reason: str = ""


class Board(Protocol):
    """A board on one day.

    Sequences are ordered by id; `original` gives the same bytes every time.
    """

    name: str
    day: int
    now: datetime  # when the day's exports were made, UTC
    aliases: Sequence[Relation]
    implications: Sequence[Relation]

    # Properties, so that a board may make them when first asked for.

    @property
    def posts(self) -> Sequence[Post]:
        """All posts, whatever their status."""
        ...

    @property
    def tags(self) -> Sequence[Tag]:
        """All tags, also those without posts."""
        ...

    def original(self, md5: str) -> bytes:
        """Returns the bytes of the original file, also of deleted posts.

        Raises KeyError for an unknown md5.
        """
        ...
