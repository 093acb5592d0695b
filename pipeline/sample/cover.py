"""Cover: few posts that give every tag its positives in every split.

In each round the posts that serve open tags best are taken. A tag weighs what it still
lacks over how many posts have it, so that rare tags decide: frequent ones are on the
posts chosen for them. Posts that are not needed in the end are left out again.

The bound: such a cover would fill the sample with posts of very many tags, which look
unlike the board (twice its mean on e621's frequencies). A post with more tags than a
share `bound` of the candidates have is therefore taken only where a tag finds too few
others. With a bound of 0.75, e621's frequencies give 46 tags a post for the board's 43.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from pipeline.sample.label_matrix import LabelMatrix

# Rounds in which the posts estimated to be needed are taken. More rounds give slightly
# fewer posts.
STEPS = 50
LOOK = 8  # times as many posts are examined in a round as are taken
REFRESH = 8  # rounds after which all posts are examined again
# Posts of the first pool, at least; a dozen times what the cover needs. More cost time
# alone.
FIRST_POOL = 1_000
_UNIT = 1 << 24  # weights are whole numbers, whose sums do not depend on their order


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of a LabelMatrix, ascending, and the label that each was taken for.

    -1: for no label, as part of the fill.
    """

    rows: NDArray[np.int64]
    selected_for: NDArray[np.int64]


def greedy_cover(
    records: LabelMatrix,
    targets: NDArray[np.int64],
    order: NDArray[np.uint64],
    bound: float,
) -> Selection:
    """Returns rows that give every label its target in every target split.

    Where a label has fewer positives than the target, all of them. targets: [target
    splits]; order: [records], of posts that serve equally well the smaller is taken.
    """
    positives = records.positives
    totals = positives.sum(axis=0)
    score = records.sums(_weights(totals, totals**2))
    ordinary = records.tags <= _tag_limit(records, bound)
    parts = []
    for split, target in enumerate(targets.tolist()):
        missing = np.minimum(positives[split], target)
        of_split = np.flatnonzero((records.split == split) & (score > 0))
        first_pool = max(FIRST_POOL, int(missing.sum()) // 2)
        pools = _pools(of_split, first_pool, score, ordinary)
        rows, selected_for = _cover(records, pools, missing, positives[split], order)
        kept = _prune_redundant(records, rows, missing)
        parts.append(Selection(rows[kept], selected_for[kept]))
    return _join(parts)


def _join(parts: list[Selection]) -> Selection:
    """Returns the selections as one, by row."""
    rows = np.concatenate([part.rows for part in parts])
    selected_for = np.concatenate([part.selected_for for part in parts])
    ascending = np.argsort(rows)
    return Selection(rows[ascending], selected_for[ascending])


def _tag_limit(records: LabelMatrix, bound: float) -> float:
    """Returns the number of tags that the share `bound` of the records stay within."""
    if not len(records.tags):
        return 0
    return float(np.quantile(records.tags, bound, method="inverted_cdf"))


def _cover(
    records: LabelMatrix,
    pools: Iterable[NDArray[np.int64]],
    missing: NDArray[np.int64],
    available: NDArray[np.int64],
    order: NDArray[np.uint64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns rows of the pools and the label that each was taken for, as taken."""
    rows = [np.empty(0, np.int64)]
    selected_for = [np.empty(0, np.int64)]
    for pool in pools:
        if not missing.any():
            break
        is_taken = np.isin(pool, np.concatenate(rows))
        free = pool[~is_taken]
        for best, label in _rounds(records.only(free), missing, available, order[free]):
            rows.append(free[best])
            selected_for.append(label)
            missing = np.maximum(missing - records.counts(free[best]), 0)
    return np.concatenate(rows), np.concatenate(selected_for)


def _rounds(
    pool: LabelMatrix,
    missing: NDArray[np.int64],
    available: NDArray[np.int64],
    order: NDArray[np.uint64],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yields rows of the pool and the label that each is taken for.

    Stops when no label is missing, or no post helps.
    """
    smallest_step = 0
    worth = pool.sums(_weights(missing, available))
    for turn in count():
        weights = _weights(missing, available)
        is_refresh = turn % REFRESH == 0
        if is_refresh:
            # A worth of 0 marks rows that are taken.
            worth = np.where(worth > 0, pool.sums(weights), 0)
        step = _step(pool, worth, missing, smallest_step)
        smallest_step = smallest_step or step // 4
        best = _worthiest(pool, worth, weights, order, step)
        if not len(best) and is_refresh:
            return
        worth[best] = 0
        if len(best):
            yield best, _rarest_label(pool, best, weights)
            missing = np.maximum(missing - pool.counts(best), 0)
        if not missing.any():
            return


def _step(
    pool: LabelMatrix,
    worth: NDArray[np.int64],
    missing: NDArray[np.int64],
    smallest: int,
) -> int:
    """Returns how many posts a round takes: a share of those that may be needed."""
    needed = missing.sum() / _open_labels_of_worthiest(pool, worth, missing)
    return max(smallest, int(needed / STEPS), 1)


def _worthiest(
    pool: LabelMatrix,
    worth: NDArray[np.int64],
    weights: NDArray[np.int64],
    order: NDArray[np.uint64],
    step: int,
) -> NDArray[np.int64]:
    """Returns up to `step` rows of the largest worth; updates `worth` of more.

    A worth can only have become smaller since it was last computed: it is computed
    again for the best alone.
    """
    best = _largest(worth, order, step * LOOK)
    best = best[worth[best] > 0]
    worth[best] = pool.only(best).sums(weights)
    best = best[_largest(worth[best], order[best], step)]
    return best[worth[best] > 0]


def _pools(
    here: NDArray[np.int64],
    first_pool: int,
    score: NDArray[np.int64],
    ordinary: NDArray[np.bool_],
) -> Iterator[NDArray[np.int64]]:
    """Yields the rows to choose from, each time more of them.

    The ordinary posts of the highest scores, then all ordinary ones, then all.
    """
    within = here[ordinary[here]]
    if len(within) > first_pool:
        by_score = np.argpartition(-score[within], first_pool)
        yield np.sort(within[by_score[:first_pool]])
    yield within
    yield here


def _largest(
    worth: NDArray[np.int64], order: NDArray[np.uint64], count: int
) -> NDArray[np.int64]:
    """Returns the places of the `count` largest worths, of equals the smaller order."""
    places = np.arange(len(worth))
    if count < len(worth):
        position = len(worth) - count
        smallest = np.partition(worth, position)[position]
        places = np.flatnonzero(worth >= smallest)
    ranked = np.lexsort((order[places], -worth[places]))
    return places[ranked[:count]]


def _weights(
    missing: NDArray[np.int64], available: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns a weight per label: what it lacks over what there is, in units.

    At least 1 while it lacks anything.
    """
    share = missing * _UNIT // np.maximum(available, 1)
    return np.where(missing > 0, share + 1, 0)


def _open_labels_of_worthiest(
    pool: LabelMatrix, worth: NDArray[np.int64], missing: NDArray[np.int64]
) -> int:
    """Returns how many open labels the worthiest post has, at least 1."""
    if not len(worth):
        return 1
    labels = pool.labels_of(int(np.argmax(worth)))
    return max(1, int((missing[labels] > 0).sum()))


def _rarest_label(
    records: LabelMatrix, rows: NDArray[np.int64], weights: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns for each row its label of the largest weight, of equals the rarest.

    Label ids are by frequency, the rarest last. Every row has a label.
    """
    selected = records.labels[rows]
    labels = selected.indices.astype(np.int64)
    keys = weights[labels] * records.vocabulary + labels
    return np.maximum.reduceat(keys, selected.indptr[:-1]) % records.vocabulary


def _prune_redundant(
    records: LabelMatrix, rows: NDArray[np.int64], target: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Returns which rows to keep so that every label still has its target.

    Rows of most labels are dropped first.
    """
    kept = np.ones(len(rows), dtype=bool)
    spare = records.counts(rows) - target
    by_length = np.argsort(-records.lengths()[rows], kind="stable")
    for place in by_length.tolist():
        labels = records.labels_of(rows[place])
        if (spare[labels] > 0).all():
            spare[labels] -= 1
            kept[place] = False
    return kept
