"""Splits: known before any download, and stable: a post may leave, never change split.

Any post may get a parent on any day, so a family can grow together from families of
different splits. If a family were simply given a split, every such day would move posts
that yesterday's model was trained on into today's test. A post therefore has a home,
which depends on what cannot change: its id (or its artist), and its upload time where
`fresh` is configured. A family belongs to the home of its oldest post; posts of the
family with another home are left out, as PostExclusion.SPANS_SPLITS. So whatever links
are added or taken away, a post is in its home or nowhere, families never span splits,
and new posts, being younger, never drive out old ones unless they link two families.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.params.sample import Sample
from pipeline.paths import SPLITS
from pipeline.sample.name_lists import post_of
from pipeline.tag_graph import TagGraph

if TYPE_CHECKING:
    from scipy.sparse import coo_array

SALT = 0x9E3779B97F4A7C15
"""Fixed for ever, not a parameter.

If it changed, last year's test images would train this year's model.
"""

NO_ARTIST, TORN = -1, -2
"""Markers used instead of a split.

NO_ARTIST: no artist is named. TORN: artists of several splits are named, or a name that
tags.parquet does not list.
"""

# fmt: off
PSEUDO_ARTISTS = frozenset({
    "unknown_artist", "unknown_artist_signature", "anonymous_artist",
    "anonymous_artist_(artist)", "conditional_dnp",
    "avoid_posting", "sound_warning", "epilepsy_warning", "third-party_edit", "edit",
    "unknown_colorist",
})
# fmt: on
"""Tags of category artist that name nobody.

Thousands of posts have them that have nothing else in common.
"""


@dataclass(frozen=True, slots=True)
class SplitAssignment:
    """For each post: its family, its home, and whether it may stay there."""

    group_id: NDArray[np.int64]  # the smallest id of the family
    split: NDArray[np.int8]  # a place in SPLITS
    fits: NDArray[np.bool_]


def assign(
    post_id: NDArray[np.int64],
    parent_id: NDArray[np.int64],
    created: NDArray[np.int64],
    artist_split: NDArray[np.int8],
    params: Sample,
) -> SplitAssignment:
    """Assigns all posts of a snapshot.

    Deleted posts too: they link families, and may be the oldest of one.

    post_id: ascending; parent_id: -1 for none; created: microseconds since 1970;
    artist_split: the split of the post's artists, or NO_ARTIST, or TORN: such a post
    has no home, so that none is given one it would have to leave.
    """
    has_no_artist = artist_split == NO_ARTIST
    home = np.where(has_no_artist, split_of_id(post_id, params), artist_split)
    home = home.astype(np.int8)
    if params.fresh_after is not None:
        start = datetime.combine(params.fresh_after, datetime.min.time(), tzinfo=UTC)
        home[created >= int(start.timestamp()) * 1_000_000] = SPLITS.index("fresh")
    group_id, oldest = families(post_id, parent_id)
    fits = (home >= 0) & (home == home[oldest])
    return SplitAssignment(group_id, home, fits)


def families(
    post_id: NDArray[np.int64], parent_id: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns for each post the smallest id of its family, and the row of its oldest.

    The oldest is the one with the smallest id that is among the posts. A family is all
    posts linked by parents, to any depth; parents that are not among the posts (-1:
    none) link too.
    """
    from scipy.sparse.csgraph import connected_components

    group_id = post_id.copy()
    oldest = np.arange(len(post_id))
    linked, links = _parent_links(post_id, parent_id)
    if not len(linked):
        return group_id, oldest
    count, component = connected_components(links, directed=False)
    # Ascending ids, written last to first: the smallest of a component is written last.
    smallest = np.zeros(count, dtype=np.int64)
    smallest[component[::-1]] = linked[::-1]
    row = np.searchsorted(post_id, linked)
    is_post = post_id[np.minimum(row, len(post_id) - 1)] == linked
    posts_last_to_first = np.flatnonzero(is_post)[::-1]
    first_row = np.zeros(count, dtype=np.int64)
    first_row[component[posts_last_to_first]] = row[posts_last_to_first]
    linked_rows = row[is_post]
    group_id[linked_rows] = smallest[component[is_post]]
    oldest[linked_rows] = first_row[component[is_post]]
    return group_id, oldest


def _parent_links(
    post_id: NDArray[np.int64], parent_id: NDArray[np.int64]
) -> tuple[NDArray[np.int64], "coo_array"]:
    """Returns the ids that have a parent or are one, ascending, and the links."""
    from scipy.sparse import coo_array

    children = np.flatnonzero(parent_id >= 0)
    ends = np.concatenate([post_id[children], parent_id[children]])
    linked, index = np.unique(ends, return_inverse=True)
    child, parent = np.split(index, 2)
    ones = np.ones(len(child), dtype=np.int8)
    shape = (len(linked), len(linked))
    return linked, coo_array((ones, (child, parent)), shape=shape)


def splits_of_artists(relations: TagGraph, params: Sample) -> NDArray[np.int8]:
    """Returns the split of every artist by code, NO_ARTIST for other tags.

    A pure function of the tag's id.
    """
    nobody = relations.resolve(PSEUDO_ARTISTS)
    tags = relations.tags
    is_artist = (tags["category"] == "artist") & ~tags["name"].is_in(nobody)
    of_tags = split_of_id(tags["tag_id"].to_numpy(), params)
    by_code = np.full(len(relations.code), NO_ARTIST, dtype=np.int8)
    by_code[: len(of_tags)] = np.where(is_artist.to_numpy(), of_tags, NO_ARTIST)
    return by_code


def shared_split(
    starts: NDArray[np.int64], split: NDArray[np.int8]
) -> NDArray[np.int8]:
    """Returns the split that the artists of each post share, NO_ARTIST or TORN.

    split: of the names on posts; post n has split[starts[n] : starts[n + 1]].
    """
    named = np.flatnonzero(split != NO_ARTIST)
    row = post_of(starts, named)
    lowest = np.full(len(starts) - 1, 127, dtype=np.int8)
    highest = np.full(len(starts) - 1, NO_ARTIST, dtype=np.int8)
    np.minimum.at(lowest, row, split[named])
    np.maximum.at(highest, row, split[named])
    shared = np.where(lowest == highest, highest, TORN)
    shared = np.where(highest == NO_ARTIST, NO_ARTIST, shared)
    return np.where(lowest == TORN, TORN, shared).astype(np.int8)


def split_of_id(number: NDArray[np.int64], params: Sample) -> NDArray[np.int8]:
    """Returns the split that the id of a post or an artist falls into.

    A place in SPLITS.
    """
    position = unit_hash(number)
    ends = [params.split.train, params.split.train + params.split.validation]
    return np.searchsorted(ends, position, side="right").astype(np.int8)


def unit_hash(number: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns a number in [0, 1) per id, a pure function of it."""
    high_bits = splitmix64(number, SALT) >> np.uint64(11)
    return high_bits.astype(np.float64) / 2.0**53


def splitmix64(number: NDArray[np.int64], salt: int) -> NDArray[np.uint64]:
    """Returns 64 bits per number that look random, a pure function of number and salt.

    SplitMix64: Steele, Lea and Flood, 2014.
    """
    with np.errstate(over="ignore"):
        z = number.astype(np.uint64) + np.uint64(salt)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return z
