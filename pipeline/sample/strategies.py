"""The other ways to choose posts, beside `cover`: the hobby project's quota.

And chance. All from one matrix.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.params import Sample
from pipeline.sample import cover, splits
from pipeline.sample.cover import Selection
from pipeline.sample.label_matrix import JUDGED, LabelMatrix

LEAST_LABELS = (
    16  # vocabulary tags that a post needs for the quota, as in the hobby project
)
_BLOCK = 2_048  # posts looked at at once by the quota
_GROWTH = (
    0.02  # share of the board by which chance takes more until all tags are served
)


def targets(params: Sample) -> NDArray[np.int64]:
    """Returns the positives wanted in each judged split, the reserve included."""
    least = np.array(
        [params.min_positives, params.min_eval_positives, params.min_eval_positives]
    )
    # Rounded before the ceiling: 20 * 1.05 is 21.000000000000004 in binary.
    return np.ceil(np.round(least * (1 + params.reserve), 6)).astype(np.int64)


def by_cover(params: Sample, records: LabelMatrix) -> Selection:
    """Returns the posts of `cover`."""
    return cover.greedy_cover(
        records, targets(params), sampling_key(params, records), params.tag_bound
    )


def by_quota(params: Sample, records: LabelMatrix) -> Selection:
    """Returns the newest posts after an offset that have at least LEAST_LABELS labels, each charged to its rarest.

    To its rarest open label, that is: one is open until it was charged its target, in each split for itself. Posts
    whose labels are all closed are passed over, and the walk ends when all are closed, or at the oldest post.
    """
    vocabulary = records.vocabulary
    left = np.repeat(targets(params), vocabulary)
    eligible = np.flatnonzero(
        (records.lengths() >= LEAST_LABELS) & (records.split < len(JUDGED))
    )[::-1]
    eligible = eligible[params.quota_offset :]
    rows, taken_for = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for first in range(0, len(eligible), _BLOCK):
        if not left.any():
            break
        block = eligible[first : first + _BLOCK]
        places, ends = records.places(block)
        split = np.repeat(
            records.split[block].astype(np.int64), np.diff(ends, prepend=0)
        )
        charged = _charge(split * vocabulary + records.labels[places], ends, left)
        rows.append(block[charged >= 0])
        taken_for.append(charged[charged >= 0] % vocabulary)
    return _picked(np.concatenate(rows), np.concatenate(taken_for))


def random_sample(params: Sample, records: LabelMatrix) -> Selection:
    """Returns posts in an order that only the seed and their ids decide.

    Params.size, or until every tag is served.

    The latter to within _GROWTH of the board.
    """
    judged = np.flatnonzero(records.split < len(JUDGED))
    shuffled = judged[np.argsort(sampling_key(params, records)[judged], kind="stable")]
    if params.size is not None:
        return _unasked(shuffled[: params.size])
    wanted = np.minimum(records.positives, targets(params)[:, None])
    step = max(1, int(len(shuffled) * _GROWTH))
    got, taken = np.zeros_like(wanted), 0
    while taken < len(shuffled) and (got < wanted).any():
        got += records.positives_of(shuffled[taken : taken + step])
        taken += step
    return _unasked(shuffled[:taken])


BY_NAME: Mapping[str, Callable[[Sample, LabelMatrix], Selection]] = {
    "cover": by_cover,
    "quota": by_quota,
    "natural": random_sample,
}


def fill_to_size(params: Sample, records: LabelMatrix, picked: Selection) -> Selection:
    """Adds all of `fresh`, and where params.size asks for more posts, others by chance.

    As the board is.
    """
    taken = np.zeros(len(records.post_id), dtype=bool)
    taken[picked.rows] = True
    fresh = np.flatnonzero(records.split == len(JUDGED))
    rest = np.flatnonzero(~taken & (records.split < len(JUDGED)))
    wanted = max(0, (params.size or 0) - len(picked.rows) - len(fresh))
    fill = rest[np.argsort(sampling_key(params, records)[rest], kind="stable")[:wanted]]
    more = np.concatenate([fresh, fill])
    return _picked(
        np.concatenate([picked.rows, more]),
        np.concatenate([picked.taken_for, np.full(len(more), -1, dtype=np.int64)]),
    )


def sampling_key(params: Sample, records: LabelMatrix) -> NDArray[np.uint64]:
    """Returns a place per record that depends on its id and the seed alone.

    So it survives the board's growth.
    """
    return splits.splitmix64(records.post_id, params.seed * 0x5851F42D4C957F2D % 2**64)


def _charge(
    keys: NDArray[np.int64], ends: NDArray[np.int64], left: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns for each post the key that it is charged to, or -1.

    And takes them off `left`.

    keys: of the posts one after another, the larger the rarer; ends: where each post
    ends. A post is only charged after all before it: whenever a key closes, those after
    that point choose anew.
    """
    starts = np.concatenate([[0], ends[:-1]])
    charged = np.full(len(ends), -1, dtype=np.int64)
    done = 0
    while done < len(ends):
        rest = slice(int(starts[done]), None)
        now = np.maximum.reduceat(
            np.where(left[keys[rest]] > 0, keys[rest], -1), starts[done:] - starts[done]
        )
        wanting = np.flatnonzero(now >= 0)
        grouped = wanting[np.argsort(now[wanting], kind="stable")]
        sizes = np.bincount(now[wanting], minlength=len(left))
        nth = np.arange(len(grouped)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        over = grouped[nth >= left[now[grouped]]]
        stop = int(over.min()) if len(over) else len(now)
        charged[done : done + stop] = now[:stop]
        left -= np.bincount(now[:stop][now[:stop] >= 0], minlength=len(left))
        done += stop
    return charged


def _unasked(rows: NDArray[np.int64]) -> Selection:
    return _picked(rows, np.full(len(rows), -1, dtype=np.int64))


def _picked(rows: NDArray[np.int64], taken_for: NDArray[np.int64]) -> Selection:
    ascending = np.argsort(rows, kind="stable")
    return Selection(rows[ascending], taken_for[ascending])
