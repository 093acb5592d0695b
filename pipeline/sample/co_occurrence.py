"""Which tags go together more often than by chance, or less often."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.sample.label_matrix import LabelMatrix
from pipeline.tag_graph import TagGraph

PAIRS = 200  # pairs of tags listed from either end of the lift
# Records from which co-occurrence is counted: one in seven is off by chance at 50
# records, 1 % at 10,000.
_EXAMINED_RECORDS = 50_000
# Tags compared with each other; rarer ones hardly ever meet among so few records.
_FREQUENT_TAGS = 4_096
# Records that both tags must be on, or that chance alone would put them on, before a
# lift means anything.
_MIN_RECORDS = 20


def co_occurrence(
    relations: TagGraph,
    names: list[str],
    records: LabelMatrix,
    order: NDArray[np.uint64],
) -> pl.DataFrame:
    """Returns schemas.CO_OCCURRENCE: PAIRS pairs each of the highest and lowest lift.

    names: by label. Counted on _EXAMINED_RECORDS records that `order` picks; those of a
    board that has fewer all count.
    """
    rows = _examined_rows(order)
    together = _together(records, rows)
    single = together.diagonal()
    first, second = np.triu_indices(len(together), k=1)
    seen = together[first, second]
    expected = single[first] * single[second] / max(1, len(rows))
    lift = seen / np.maximum(expected, 1e-9)
    ends = _both_ends(lift, (seen >= _MIN_RECORDS) | (expected >= _MIN_RECORDS))
    first_names = [names[label] for label in first[ends]]
    second_names = [names[label] for label in second[ends]]
    is_implied = [
        _one_implies_the_other(relations, *pair)
        for pair in zip(first_names, second_names, strict=True)
    ]
    table = pl.DataFrame(
        {
            "first": first_names,
            "second": second_names,
            "posts": seen[ends],
            "expected": expected[ends],
            "lift": lift[ends],
            "is_implied": is_implied,
        }
    )
    return table.sort(["lift", "first", "second"], descending=[True, False, False])


def _examined_rows(order: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.sort(np.argsort(order, kind="stable")[:_EXAMINED_RECORDS])


def _both_ends(
    lift: NDArray[np.float64], is_reliable: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Returns the places of PAIRS reliable pairs each of lowest and highest lift."""
    reliable = np.flatnonzero(is_reliable)
    ranked = reliable[np.argsort(lift[reliable], kind="stable")]
    return np.unique(np.concatenate([ranked[:PAIRS], ranked[-PAIRS:]]))


def _together(records: LabelMatrix, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns on how many of the rows each pair of the most frequent labels is.

    Label ids are by frequency; the diagonal counts each label alone.
    """
    frequent = records.labels[rows][:, : min(records.vocabulary, _FREQUENT_TAGS)]
    counts = frequent.astype(np.int32)
    return (counts.T @ counts).toarray().astype(np.int64)


def _one_implies_the_other(relations: TagGraph, one: str, other: str) -> bool:
    nothing: frozenset[str] = frozenset()
    if other in relations.implied.get(one, nothing):
        return True
    return one in relations.implied.get(other, nothing)
