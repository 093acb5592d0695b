"""Splits: known before any download, and stable for ever: a post may leave the sample.

But never changes its split.

Any post may get a parent on any day, so a family can grow together from families of
different splits. Were a family simply given a split, every such day would move posts
that yesterday's model was trained on into today's test. A post therefore has a home,
which depends on what cannot change: its id (or its artist), and its upload time where
`fresh` is asked for. A family belongs to the home of its oldest post; posts of the
family with another home are left out, as Dropped.SPANS_SPLITS. So whatever links are
added or taken away, a post is in its home or nowhere, families never span splits, and
new posts, being younger, never drive out old ones unless they link two families.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from pipeline.params import Manifest
from pipeline.paths import SPLITS
from pipeline.sample.tag_graph import TagGraph

SALT = 0x9E3779B97F4A7C15
"""Fixed for ever, not a parameter.

Were it to change, last year's test pictures would train this year's model.
"""

NO_ARTIST, TORN = -1, -2
"""In place of a split: no artist is named.

Artists of several splits are, or a name that tags.parquet does not list.
"""

PSEUDO_ARTISTS = frozenset({
    "unknown_artist", "unknown_artist_signature", "anonymous_artist",
    "anonymous_artist_(artist)", "conditional_dnp",
    "avoid_posting", "sound_warning", "epilepsy_warning", "third-party_edit", "edit",
    "unknown_colorist",
})  # fmt: skip
"""Tags of category artist that name nobody.

Thousands of posts have them that have nothing else in common.
"""


@dataclass(frozen=True, slots=True)
class SplitAssignment:
    """For each post: the smallest id of its family, its split as a place in SPLITS.

    And whether it may stay there.
    """

    group_id: NDArray[np.int64]
    split: NDArray[np.int8]
    fits: NDArray[np.bool_]


def assign(
    post_id: NDArray[np.int64],
    parent_id: NDArray[np.int64],
    created: NDArray[np.int64],
    artist_split: NDArray[np.int8],
    params: Manifest,
) -> SplitAssignment:
    """Assigns all posts of a snapshot, deleted ones included: they too link families.

    And may be the oldest.

    post_id: ascending; parent_id: -1 for none; created: microseconds since 1970;
    artist_split: the split of the post's artists, or NO_ARTIST, or TORN: such a post
    has no home, so that none is given one it would have to leave.
    """
    home = split_of_id(post_id, params)
    home = np.where(artist_split == NO_ARTIST, home, artist_split).astype(np.int8)
    if params.fresh_after is not None:
        start = datetime.combine(params.fresh_after, datetime.min.time(), tzinfo=UTC)
        home[created >= int(start.timestamp()) * 1_000_000] = SPLITS.index("fresh")
    group_id, oldest = families(post_id, parent_id)
    return SplitAssignment(group_id, home, (home >= 0) & (home == home[oldest]))


def families(
    post_id: NDArray[np.int64], parent_id: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns for each post the smallest id of its family.

    And the row of the oldest of it that is among the posts.

    A family is all posts linked by parents, to any depth; parents that are not among
    the posts (-1: none) link too.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    children = np.flatnonzero(parent_id >= 0)
    linked, index = np.unique(
        np.concatenate([post_id[children], parent_id[children]]), return_inverse=True
    )
    child, parent = index[: len(children)], index[len(children) :]
    links = coo_array(
        (np.ones(len(child), dtype=np.int8), (child, parent)),
        shape=(len(linked), len(linked)),
    )
    count, component = connected_components(links, directed=False)
    # Ascending ids: the first of a component is its smallest.
    smallest = np.zeros(count, dtype=np.int64)
    smallest[component[::-1]] = linked[::-1]
    row = np.searchsorted(post_id, linked)
    listed = (
        np.flatnonzero(post_id[np.minimum(row, len(post_id) - 1)] == linked)[::-1]
        if len(post_id)
        else row
    )
    first = np.zeros(count, dtype=np.int64)
    first[component[listed]] = row[listed]
    group_id, oldest = post_id.copy(), np.arange(len(post_id))
    group_id[row[listed]] = smallest[component[listed]]
    oldest[row[listed]] = first[component[listed]]
    return group_id, oldest


def splits_of_artists(relations: TagGraph, params: Manifest) -> NDArray[np.int8]:
    """Returns the split of every artist by code, NO_ARTIST for other tags.

    A pure function of the tag's id.
    """
    nobody = relations.resolve(PSEUDO_ARTISTS)
    is_artist = (relations.tags["category"] == "artist") & ~relations.tags[
        "name"
    ].is_in(nobody)
    of_tags = split_of_id(relations.tags["tag_id"].to_numpy(), params)
    by_code = np.full(len(relations.code), NO_ARTIST, dtype=np.int8)
    by_code[: len(of_tags)] = np.where(is_artist.to_numpy(), of_tags, NO_ARTIST)
    return by_code


def split_of_id(number: NDArray[np.int64], params: Manifest) -> NDArray[np.int8]:
    """Returns the split that a post's or an artist's id falls into, as a place in SPLITS."""
    place = unit_hash(number)
    ends = [params.split.train, params.split.train + params.split.validation]
    return np.searchsorted(ends, place, side="right").astype(np.int8)


def unit_hash(number: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns a number in [0, 1) per id, a pure function of it (SplitMix64, Steele et al. 2014)."""
    return (splitmix64(number, SALT) >> np.uint64(11)).astype(np.float64) / 2.0**53


def splitmix64(number: NDArray[np.int64], salt: int) -> NDArray[np.uint64]:
    """Returns 64 bits per number that look random, a pure function of number and salt."""
    with np.errstate(over="ignore"):
        z = number.astype(np.uint64) + np.uint64(salt)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return z
