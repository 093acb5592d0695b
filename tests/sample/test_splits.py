"""Splits: what a post can rely on, whatever happens on the board."""

from datetime import date

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.params.sample import Sample
from pipeline.paths import SPLITS
from pipeline.sample import splits
from pipeline.sample.splits import NO_ARTIST, TORN, SplitAssignment

EVEN = Sample.model_validate({"split": {"train": 0.4, "validation": 0.3, "test": 0.3}})
IDS = st.sets(st.integers(1, 80), min_size=1)
LINKS = st.lists(st.tuples(st.integers(1, 80), st.integers(1, 80)), max_size=60)


def assign(
    ids: set[int],
    links: list[tuple[int, int]],
    params: Sample = EVEN,
    artists: dict[int, int] | None = None,
) -> tuple[list[int], SplitAssignment]:
    """Assigns posts uploaded a day apart, in 2020 and later.

    links: (child, parent), of which the last holds.
    """
    parents, posts = dict(links), sorted(ids)
    return posts, splits.assign(
        np.array(posts),
        np.array([parents.get(post, -1) for post in posts]),
        np.array([1_577_836_800_000_000 + post * 86_400_000_000 for post in posts]),
        np.array(
            [(artists or {}).get(post, NO_ARTIST) for post in posts], dtype=np.int8
        ),
        params,
    )


def places(
    ids: set[int], links: list[tuple[int, int]], params: Sample = EVEN
) -> dict[int, int]:
    """Returns the split of every post that has one."""
    posts, assigned = assign(ids, links, params)
    return {
        post: int(split)
        for post, split, fits in zip(posts, assigned.split, assigned.fits, strict=True)
        if fits
    }


@given(IDS, LINKS)
def test_family_is_the_smallest_id_of_all_linked_posts(
    ids: set[int], links: list[tuple[int, int]]
) -> None:
    posts, assigned = assign(ids, links)
    group = dict(zip(posts, assigned.group_id.tolist(), strict=True))
    reached = {post: {post} for post in {*ids, *(p for c, p in links)}}
    for child, parent in dict(links).items():
        if (
            child in ids
        ):  # a post that is not listed has no parent that one could know of
            together = reached[child] | reached[parent]
            for one in together:
                reached[one] = together
    assert group == {post: min(reached[post]) for post in posts}


@given(IDS, LINKS)
def test_no_family_spans_splits_and_its_oldest_post_stays(
    ids: set[int], links: list[tuple[int, int]]
) -> None:
    posts, assigned = assign(ids, links)
    seen: dict[int, int] = {}
    for post, group, split, fits in zip(
        posts, assigned.group_id, assigned.split, assigned.fits, strict=True
    ):
        if group not in seen:
            seen[group] = split
            assert fits, post
        assert fits == (split == seen[group])


@given(IDS, LINKS, IDS, LINKS, st.sampled_from([None, "2020-02-10"]))
def test_a_post_never_changes_its_split_whatever_comes_goes_or_is_linked(
    ids: set[int],
    links: list[tuple[int, int]],
    later: set[int],
    later_links: list[tuple[int, int]],
    day: str | None,
) -> None:
    params = Sample.model_validate({**EVEN.model_dump(), "fresh_after": day})
    before, after = places(ids, links, params), places(later, later_links, params)
    assert all(before[post] == after[post] for post in before.keys() & after.keys())


@given(IDS, LINKS, st.integers(81, 99), st.integers(1, 80))
def test_a_new_child_drives_nobody_out(
    ids: set[int], links: list[tuple[int, int]], child: int, parent: int
) -> None:
    before, after = places(ids, links), places(ids | {child}, [*links, (child, parent)])
    assert (
        before == {post: split for post, split in after.items() if post != child}
        or parent not in ids
    )


def test_artists_posts_are_in_the_artists_split_and_those_of_two_splits_in_none() -> (
    None
):
    _, assigned = assign({1, 2, 3, 4}, [], artists={1: 2, 2: 2, 3: TORN})
    assert assigned.split[:2].tolist() == [2, 2]
    assert assigned.fits.tolist() == [True, True, False, True]


def test_a_family_is_fresh_only_if_its_oldest_post_is() -> None:
    params = Sample.model_validate({"fresh_after": "2020-01-11"})
    _, assigned = assign({5, 20, 21, 30}, [(20, 5), (30, 21)], params)
    assert [int(split) for split in assigned.split[1:]] == [3, 3, 3]
    assert assigned.fits.tolist() == [True, False, True, True]


def test_splits_have_their_shares() -> None:
    found = (
        np.bincount(splits.split_of_id(np.arange(200_000), Sample()), minlength=3)
        / 200_000
    )
    assert np.abs(found - [0.9, 0.05, 0.05]).max() < 0.003


def test_a_cycle_of_parents_is_one_family() -> None:
    assert assign({3, 4, 5}, [(3, 4), (4, 5), (5, 3)])[1].group_id.tolist() == [3, 3, 3]


def test_fresh_begins_with_the_first_moment_of_its_day() -> None:
    day = date(2020, 1, 11)  # post 10 was uploaded as it began
    _, assigned = assign({9, 10}, [], EVEN.model_copy(update={"fresh_after": day}))
    fresh = SPLITS.index("fresh")
    assert (assigned.split == fresh).tolist() == [False, True]
