"""The strategies that choose posts: cover, the hobby project's quota, and chance."""

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.params.sample import Sample
from pipeline.sample import splits
from pipeline.sample.cover import Selection, greedy_cover
from pipeline.sample.label_matrix import TARGET_SPLITS, LabelMatrix

# Vocabulary tags that a post needs for the quota, as in the hobby project.
MIN_QUOTA_LABELS = 16
_BLOCK = 2_048  # posts that the quota examines at once
# Share of the board by which chance takes more until all tags are served.
_GROWTH = 0.02


def targets(params: Sample) -> NDArray[np.int64]:
    """Returns the positives wanted in each target split, the reserve included."""
    wanted = [with_reserve(params, minimum) for minimum in minimum_positives(params)]
    return np.array(wanted, np.int64)


def with_reserve(params: Sample, minimum: int) -> int:
    """Returns the positives that are wanted in order to promise a minimum."""
    # Rounded before the ceiling: 50 * 1.1 is 55.00000000000001 in binary.
    return math.ceil(round(minimum * (1 + params.reserve), 6))


def largest_minimum(params: Sample, positives: int) -> int:
    """Returns the largest minimum that so many positives suffice to promise."""
    minimum = int(positives / (1 + params.reserve)) + 1
    while with_reserve(params, minimum) > positives:
        minimum -= 1
    return minimum


def minimum_positives(params: Sample) -> list[int]:
    """Returns the positives promised in each target split."""
    return [params.min_positives, params.min_eval_positives, params.min_eval_positives]


def by_cover(params: Sample, records: LabelMatrix) -> Selection:
    """Returns the posts of `cover`."""
    order = sampling_key(params, records)
    return greedy_cover(records, targets(params), order, params.tag_bound)


def by_quota(params: Sample, records: LabelMatrix) -> Selection:
    """Returns the newest posts after an offset, each charged to its rarest open label.

    Posts with MIN_QUOTA_LABELS labels or more. A label is open until it was charged its
    target, in each split for itself. Posts whose labels are all closed are skipped, and
    the walk ends when all are closed, or at the oldest post.
    """
    vocabulary = records.vocabulary
    left = np.repeat(targets(params), vocabulary)
    has_labels = records.lengths() >= MIN_QUOTA_LABELS
    eligible = np.flatnonzero(has_labels & (records.split < len(TARGET_SPLITS)))
    newest_first = eligible[::-1][params.quota_offset :]
    rows = [np.empty(0, np.int64)]
    selected_for = [np.empty(0, np.int64)]
    for first in range(0, len(newest_first), _BLOCK):
        if not left.any():
            break
        block = newest_first[first : first + _BLOCK]
        keys, ends = _label_keys(records, block)
        charged = _charge(keys, ends, left)
        is_charged = charged >= 0
        rows.append(block[is_charged])
        selected_for.append(charged[is_charged] % vocabulary)
    return _selection(np.concatenate(rows), np.concatenate(selected_for))


def _label_keys(
    records: LabelMatrix, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns a number per label of each row, unique per split, and each row's end.

    The number is split * vocabulary + label id.
    """
    labels = records.labels[rows]
    split_of_row = records.split[rows].astype(np.int64)
    split = np.repeat(split_of_row, np.diff(labels.indptr))
    keys = split * records.vocabulary + labels.indices
    return keys, labels.indptr[1:].astype(np.int64)


def random_sample(params: Sample, records: LabelMatrix) -> Selection:
    """Returns posts in an order that only the seed and their ids decide.

    params.size of them, or until every tag is served, to within _GROWTH of the board.
    """
    with_targets = np.flatnonzero(records.split < len(TARGET_SPLITS))
    shuffled = _shuffled(params, records, with_targets)
    if params.size is not None:
        return _for_no_label(shuffled[: params.size])
    wanted = np.minimum(records.positives, targets(params)[:, None])
    step = max(1, int(len(shuffled) * _GROWTH))
    found = np.zeros_like(wanted)
    taken = 0
    while taken < len(shuffled) and (found < wanted).any():
        found += records.positives_of(shuffled[taken : taken + step])
        taken += step
    return _for_no_label(shuffled[:taken])


BY_NAME: Mapping[str, Callable[[Sample, LabelMatrix], Selection]] = {
    "cover": by_cover,
    "quota": by_quota,
    "natural": random_sample,
}
"""Every strategy, by its name in params.yaml."""


def fill_to_size(
    params: Sample, records: LabelMatrix, selection: Selection
) -> Selection:
    """Adds all of `fresh`, and others by chance where params.size asks for more."""
    is_taken = np.zeros(len(records.post_id), dtype=bool)
    is_taken[selection.rows] = True
    fresh = np.flatnonzero(records.split == len(TARGET_SPLITS))
    rest = np.flatnonzero(~is_taken & (records.split < len(TARGET_SPLITS)))
    size = params.size or 0
    wanted = max(0, size - len(selection.rows) - len(fresh))
    fill = _shuffled(params, records, rest)[:wanted]
    added = np.concatenate([fresh, fill])
    for_no_label = np.full(len(added), -1, dtype=np.int64)
    return _selection(
        np.concatenate([selection.rows, added]),
        np.concatenate([selection.selected_for, for_no_label]),
    )


def sampling_key(params: Sample, records: LabelMatrix) -> NDArray[np.uint64]:
    """Returns a random key per record that depends on its id and the seed alone.

    So the order of two records survives the board's growth.
    """
    salt = params.seed * 0x5851F42D4C957F2D % 2**64
    return splits.splitmix64(records.post_id, salt)


def _shuffled(
    params: Sample, records: LabelMatrix, rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    key = sampling_key(params, records)[rows]
    return rows[np.argsort(key, kind="stable")]


def _charge(
    keys: NDArray[np.int64], ends: NDArray[np.int64], left: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns for each post the key that it is charged to, or -1; takes it off `left`.

    keys: of the posts one after another, the larger the rarer; ends: where each post
    ends. A post is only charged after all before it: whenever a key closes, those after
    that point choose anew.
    """
    starts = np.concatenate([[0], ends[:-1]])
    charged = np.full(len(ends), -1, dtype=np.int64)
    done = 0
    while done < len(ends):
        rest = keys[starts[done] :]
        open_keys = np.where(left[rest] > 0, rest, -1)
        rarest = np.maximum.reduceat(open_keys, starts[done:] - starts[done])
        stop = _first_over(rarest, left)
        charged[done : done + stop] = rarest[:stop]
        is_charged = rarest[:stop] >= 0
        left -= np.bincount(rarest[:stop][is_charged], minlength=len(left))
        done += stop
    return charged


def _first_over(choice: NDArray[np.int64], left: NDArray[np.int64]) -> int:
    """Returns the first post whose key has no more left, or the number of posts.

    choice: the key of each post, or -1.
    """
    wanting = np.flatnonzero(choice >= 0)
    grouped = wanting[np.argsort(choice[wanting], kind="stable")]
    sizes = np.bincount(choice[wanting], minlength=len(left))
    group_starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    position_in_group = np.arange(len(grouped)) - group_starts
    over = grouped[position_in_group >= left[choice[grouped]]]
    return int(over.min()) if len(over) else len(choice)


def _for_no_label(rows: NDArray[np.int64]) -> Selection:
    return _selection(rows, np.full(len(rows), -1, dtype=np.int64))


def _selection(rows: NDArray[np.int64], selected_for: NDArray[np.int64]) -> Selection:
    ascending = np.argsort(rows, kind="stable")
    return Selection(rows[ascending], selected_for[ascending])
