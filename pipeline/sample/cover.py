"""Cover: few posts that give every tag its positives in every split.

In each round the posts that serve open tags best are taken; a tag weighs what it still
lacks over how many posts have it, so that rare tags choose first and common ones, which
come along anyway, hardly count. What turns out to be superfluous in the end is left out
again.

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

# Rounds in which the posts estimated to be needed are taken; more rounds, slightly
# fewer posts
STEPS = 50
LOOK = 8  # times as many posts are looked at in a round as are taken
REFRESH = 8  # rounds after which all posts are looked at again
_UNIT = 1 << 24  # weights are whole numbers, whose sums do not depend on their order


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of Records, ascending, and the label that each was taken for.

    -1: for no label, as part of the fill.
    """

    rows: NDArray[np.int64]
    taken_for: NDArray[np.int64]


def greedy_cover(
    records: LabelMatrix,
    targets: NDArray[np.int64],
    order: NDArray[np.uint64],
    bound: float,
) -> Selection:
    """Returns rows that give every label its target in every judged split, or all there are where that is fewer.

    targets: [judged splits]; order: [records], of posts that serve equally well the one with the smaller is taken.
    """
    every = records.positives
    score = records.sums(_weights(every.sum(axis=0), every.sum(axis=0) ** 2))
    limit = (
        np.quantile(records.tags, bound, method="inverted_cdf")
        if len(records.tags)
        else 0
    )
    parts = []
    for split, target in enumerate(targets.tolist()):
        missing = np.minimum(every[split], target)
        here = np.flatnonzero((records.split == split) & (score > 0))
        promising = max(
            1_000, int(missing.sum()) // 2
        )  # a dozen times what the cover needs; more costs time alone
        pools = _pools(here, promising, score, records.tags <= limit)
        rows, taken_for = _cover(records, pools, missing, every[split], order)
        kept = _prune_redundant(records, rows, missing)
        parts.append((rows[kept], taken_for[kept]))
    rows, taken_for = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    ascending = np.argsort(rows)
    return Selection(rows[ascending], taken_for[ascending])


def _cover(
    records: LabelMatrix,
    pools: Iterable[NDArray[np.int64]],
    missing: NDArray[np.int64],
    available: NDArray[np.int64],
    order: NDArray[np.uint64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns rows among the pools and the label that each was taken for, in the order in which they were taken."""
    rows, taken_for = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for pool in pools:
        if not missing.any():
            break
        free = pool[~np.isin(pool, np.concatenate(rows))]
        for best, label in _rounds(records.only(free), missing, available, order[free]):
            rows.append(free[best])
            taken_for.append(label)
            missing = np.maximum(missing - _counts(records, free[best]), 0)
    return np.concatenate(rows), np.concatenate(taken_for)


def _rounds(
    pool: LabelMatrix,
    missing: NDArray[np.int64],
    available: NDArray[np.int64],
    order: NDArray[np.uint64],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yields places in the pool and the label that each is taken for, until nothing lacks or nothing helps."""
    least, worth = 0, pool.sums(_weights(missing, available))
    for turn in count():
        weights = _weights(missing, available)
        if turn % REFRESH == 0:
            worth = np.where(worth > 0, pool.sums(weights), 0)  # 0: taken
        step = max(least, int(missing.sum() / _most(pool, worth, missing) / STEPS), 1)
        least = least or step // 4
        # What is worth most can only have become worth less since it was last looked
        # at: look again at the best.
        best = _best(worth, order, step * LOOK)
        best = best[worth[best] > 0]
        worth[best] = pool.only(best).sums(weights)
        best = best[_best(worth[best], order[best], step)]
        best = best[worth[best] > 0]
        if not len(best) and turn % REFRESH == 0:
            return
        worth[best] = 0
        if len(best):
            yield best, _rarest_label(pool, best, weights)
            missing = np.maximum(missing - _counts(pool, best), 0)
        if not missing.any():
            return


def _pools(
    here: NDArray[np.int64],
    promising: int,
    score: NDArray[np.int64],
    ordinary: NDArray[np.bool_],
) -> Iterator[NDArray[np.int64]]:
    """Yields where to look: the ordinary posts of the highest scores first.

    Then all ordinary ones, then all.
    """
    within = here[ordinary[here]]
    if len(within) > promising:
        yield np.sort(within[np.argpartition(-score[within], promising)[:promising]])
    yield within
    yield here


def _best(
    worth: NDArray[np.int64], order: NDArray[np.uint64], count: int
) -> NDArray[np.int64]:
    """Returns the places of the `count` largest worths, of equal ones those with the smaller order."""
    if count < len(worth):
        edge = np.partition(worth, len(worth) - count)[len(worth) - count]
        places = np.flatnonzero(worth >= edge)
    else:
        places = np.arange(len(worth))
    return places[np.lexsort((order[places], -worth[places]))[:count]]


def _weights(
    missing: NDArray[np.int64], available: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns a weight per label: what it lacks over what there is, in units.

    At least 1 while it lacks anything.
    """
    return np.where(missing > 0, missing * _UNIT // np.maximum(available, 1) + 1, 0)


def _most(
    pool: LabelMatrix, worth: NDArray[np.int64], missing: NDArray[np.int64]
) -> int:
    """Returns how many open labels the worthiest post has, at least 1."""
    if not len(worth):
        return 1
    place = int(np.argmax(worth))
    return max(
        1,
        int(
            (
                missing[pool.labels[pool.starts[place] : pool.starts[place + 1]]] > 0
            ).sum()
        ),
    )


def _rarest_label(
    records: LabelMatrix, rows: NDArray[np.int64], weights: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns for each row its label of the largest weight, of equal ones the rarest.

    Label ids are by frequency.
    """
    places, ends = records.places(rows)
    labels = records.labels[places].astype(np.int64)
    heaviest = np.maximum.reduceat(
        weights[labels] * records.vocabulary + labels, np.concatenate([[0], ends[:-1]])
    )
    return heaviest % records.vocabulary


def _counts(records: LabelMatrix, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(
        records.labels[records.places(rows)[0]], minlength=records.vocabulary
    )


def _prune_redundant(
    records: LabelMatrix, rows: NDArray[np.int64], target: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Returns which rows to keep so that every label still has its target.

    Those with most labels go first.
    """
    kept = np.ones(len(rows), dtype=bool)
    spare = _counts(records, rows) - target
    for place in np.argsort(-records.lengths()[rows], kind="stable").tolist():
        labels = records.labels[
            records.starts[rows[place]] : records.starts[rows[place] + 1]
        ]
        if (spare[labels] > 0).all():
            spare[labels] -= 1
            kept[place] = False
    return kept
