"""Day 2: what happened to the board in a day.

Every board of 500 posts or more sees each kind of event.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum

from sandbox.art.encode import final_size
from sandbox.board.catalogue import File, is_replaced
from sandbox.board.posts import file_tags, truth_of
from sandbox.board.provenance import origin_of, scene_of
from sandbox.records import Post
from sandbox.world.scenes import Scene

_FIRST_CHANGE = 900_000_000  # above every change_seq of day 1
_CHANGES = 16  # step of change_seq per post, in the order of the ids


class Day2Event(Enum):
    """What day 2 brings to a post."""

    NOTHING = "nothing"
    TAKEN_DOWN = "taken down"
    EXPUNGED = "expunged"
    REPLACED = "replaced"
    RETAGGED = "retagged"
    RERATED = "rerated"
    OPTED_OUT = "opted out"


_NEXT_RATING = {"s": "q", "q": "e", "e": "s"}
_EVERY_500 = {
    40: Day2Event.TAKEN_DOWN,
    290: Day2Event.TAKEN_DOWN,
    **dict.fromkeys((25, 140, 260, 340, 440), Day2Event.RETAGGED),
}
_EVERY_1000 = {
    191: Day2Event.RERATED,
    391: Day2Event.OPTED_OUT,
    333: Day2Event.EXPUNGED,
}


def event_of(index: int) -> Day2Event:
    """Returns what happens on day 2 to a post of day 1."""
    if is_replaced(index):
        return Day2Event.REPLACED
    if index % 1_000 in _EVERY_1000:
        return _EVERY_1000[index % 1_000]
    return _EVERY_500.get(index % 500, Day2Event.NOTHING)


def apply_event(
    seed: int, index: int, post: Post, replacement: File | None, now: datetime
) -> Post | None:
    """Returns the post as it stands on day 2, or None if it was expunged.

    `now` is when day 2's exports are made.
    """
    fate = event_of(index)
    if fate is Day2Event.NOTHING:
        return post
    if fate is Day2Event.EXPUNGED:
        return None
    updated_at = now - timedelta(seconds=60 + index % 80_000)
    changed = replace(post, change_seq=new_change(index), updated_at=updated_at)
    if fate is Day2Event.TAKEN_DOWN:
        return replace(changed, is_deleted=True, is_pending=False, is_flagged=False)
    if fate is Day2Event.RERATED:
        return replace(changed, rating=_NEXT_RATING[post.rating])
    if fate is Day2Event.OPTED_OUT:
        tags = {*post.tags, "conditional_dnp"}
        return replace(changed, tags=tuple(sorted(tags)))
    if fate is Day2Event.RETAGGED:  # someone careful came by
        return replace(changed, tags=tuple(sorted(truth_of(seed, index))))
    if replacement is None:
        raise ValueError(
            f"sandbox: post {post.id} is replaced on day 2, but no file was given"
        )
    scene = scene_of(seed, index, origin_of(seed, index), replaced=True)
    return _replace_file(changed, replacement, scene)


def _replace_file(post: Post, file: File, scene: Scene) -> Post:
    """Returns the post with a file that shows the scene."""
    md5, file_size = file
    width, height = final_size(scene)
    kept = set(post.tags) - {"low_res"}
    tags = kept.union(file_tags(scene))
    return replace(
        post,
        md5=md5,
        file_size=file_size,
        width=width,
        height=height,
        tags=tuple(sorted(tags)),
    )


def new_change(index: int) -> int:
    """Returns the change_seq of a post that came in or changed on day 2."""
    return _FIRST_CHANGE + _CHANGES * index
