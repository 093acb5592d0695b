"""The 32 posts of the hand-written datasets: each fact follows from the post's id."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]

POST_IDS = range(1, 33)
"""Ids of the sampled posts."""

TAGS = ("canine", "fox", "hat")
"""The vocabulary. `fox` implies `canine`; `vulpine` is an alias of `fox`."""

SHARES = {"train": 16, "validation": 8, "test": 8}
"""Posts per split. Ids are given to the splits in this order."""

PACK = "pack-00000.parquet"

NOT_FETCHED = 16
"""The post whose image could not be fetched."""

LINEAGE = {
    "pin": {"site": "sandbox"},
    "policy_version": "1",
    "parameters": {"sample": {}},
}


def md5(post_id: int) -> str:
    """Returns the md5 of a post's image."""
    return hashlib.md5(str(post_id).encode(), usedforsecurity=False).hexdigest()


def split_of(post_id: int) -> str:
    """Returns the split of a post."""
    if post_id <= SHARES["train"]:
        return "train"
    if post_id <= SHARES["train"] + SHARES["validation"]:
        return "validation"
    return "test"


def ids_of_split(split: str) -> list[int]:
    """Returns the ids of the posts of a split."""
    return [post_id for post_id in POST_IDS if split_of(post_id) == split]


def names_of(post_id: int) -> list[str]:
    """Returns the tags of a post, sorted.

    Half of the posts are foxes, of which some are called `vulpine`; every other post
    has a hat.
    """
    kinds = ("fox", "vulpine", "unlabelled", "unlabelled")
    names = [kinds[post_id % 4]]
    if post_id % 2:
        names.append("hat")
    return sorted(names)


def labels_of(post_id: int) -> list[int]:
    """Returns the label ids of a post after aliases and implications."""
    labels = [0, 1] if post_id % 4 < 2 else []
    return [*labels, 2] if post_id % 2 else labels


def given_of(post_id: int) -> list[int]:
    """Returns the label ids of a post as given: without implied ones."""
    return [label for label in labels_of(post_id) if label != 0]


def positives(label: int, post_ids: Iterable[int]) -> int:
    """Returns how many of the posts have a label."""
    return sum(label in labels_of(post_id) for post_id in post_ids)


def post(post_id: int, tags: list[str]) -> Row:
    """Returns a row of schemas.POSTS."""
    return {
        "post_id": post_id,
        "change_seq": 100 + post_id,
        "created_at": datetime(2020, 1, 1, tzinfo=UTC),
        "md5": md5(post_id),
        "ext": "png",
        "rating": "s",
        "width": 640,
        "height": 480,
        "file_size": 10_000,
        "duration": None,
        "parent_id": None,
        "is_deleted": False,
        "is_pending": False,
        "is_flagged": False,
        "is_withheld": False,
        "score": 1,
        "fav_count": 1,
        "tags": tags,
        "locked_tags": [],
    }


def select(rows: Iterable[Row], schema: Any) -> list[Row]:
    """Returns the rows with only the columns of a schema."""
    return [_only(row, schema.names) for row in rows]


def _only(row: Row, names: list[str]) -> Row:
    return {name: row[name] for name in names}
