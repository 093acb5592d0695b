"""What the labels of a board are worth.

Implied tags that lack, aliased spellings, pairs that go together.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.sample.evidence import LabelNoiseCounts
from pipeline.sample.label_matrix import LabelMatrix
from pipeline.sample.tag_graph import TagGraph

PAIRS = 200  # pairs of tags listed from either end of the lift
# Records from which co-occurrence is counted: one in seven off by chance at 50 records,
# 1 % at 10,000
_LOOKED_AT = 50_000
# Tags compared with each other; rarer ones hardly ever meet among so few records
_COMMON = 4_096
# Records that both tags must be on, or that chance alone would put them on, before a
# lift says anything
_SEEN = 20


def missing_implications(
    relations: TagGraph, evidence: LabelNoiseCounts
) -> pl.DataFrame:
    """Returns schemas.MISSING_IMPLICATIONS.

    The implications in force, one step each.
    """
    closure = relations.closure()
    names = list(relations.code)
    tags = relations.tags.height
    rows = []
    for antecedent, direct in relations.direct.items():
        code = relations.code[antecedent]
        first, last = closure.starts[code], closure.starts[code + 1]
        for entry in range(first, last):
            consequent = int(closure.codes[entry])
            if (
                names[consequent] in direct
                and consequent < tags
                and evidence.carried[code]
            ):
                rows.append(
                    (
                        antecedent,
                        names[consequent],
                        int(evidence.carried[code]),
                        int(evidence.lacking[entry]),
                    )
                )
    schema = {
        "antecedent": pl.String,
        "consequent": pl.String,
        "posts": pl.Int64,
        "lacking": pl.Int64,
    }
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return table.with_columns(share=pl.col("lacking") / pl.col("posts")).sort(
        ["lacking", "antecedent", "consequent"], descending=[True, False, False]
    )


def aliases_in_use(relations: TagGraph, evidence: LabelNoiseCounts) -> pl.DataFrame:
    """Returns schemas.ALIASES_IN_USE: names in use that are aliases of others."""
    rows = [
        (
            name,
            final,
            int(evidence.spelled[relations.code[name]]),
            relations.code[final] < relations.tags.height,
        )
        for name, final in relations.canonical.items()
        if evidence.spelled[relations.code[name]]
    ]
    schema = {
        "name": pl.String,
        "stands_for": pl.String,
        "posts": pl.Int64,
        "is_known": pl.Boolean,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").sort(
        ["posts", "name"], descending=[True, False]
    )


def co_occurrence(
    relations: TagGraph,
    names: list[str],
    records: LabelMatrix,
    order: NDArray[np.uint64],
) -> pl.DataFrame:
    """Returns schemas.CO_OCCURRENCE: PAIRS pairs of labels of the highest lift.

    And as many of the lowest.

    names: by label. Counted on _LOOKED_AT records that `order` picks; those of a board
    that has fewer all count.
    """
    rows = np.sort(np.argsort(order, kind="stable")[:_LOOKED_AT])
    both = _together(records, rows)
    single = both.diagonal()
    first, second = np.triu_indices(len(both), k=1)
    seen = both[first, second]
    expected = single[first] * single[second] / max(1, len(rows))
    telling = np.flatnonzero((seen >= _SEEN) | (expected >= _SEEN))
    value = seen[telling] / np.maximum(expected[telling], 1e-9)
    ranked = telling[np.argsort(value, kind="stable")]
    ends = np.unique(np.concatenate([ranked[:PAIRS], ranked[-PAIRS:]]))
    table = pl.DataFrame({
        "first": [names[label] for label in first[ends]],
        "second": [names[label] for label in second[ends]],
        "posts": seen[ends],
        "expected": expected[ends],
        "lift": seen[ends] / np.maximum(expected[ends], 1e-9),
        "is_implied": [_implied(relations, names[a], names[b]) for a,
        b in zip(first[ends], second[ends], strict=True)],
    })  # fmt: skip
    return table.sort(["lift", "first", "second"], descending=[True, False, False])


def _together(records: LabelMatrix, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns on how many of the rows each pair of the _COMMON commonest labels is.

    Label ids are by frequency.
    """
    from scipy.sparse import csr_array

    places, ends = records.places(rows)
    labels = records.labels[places].astype(np.int32)
    row = np.repeat(np.arange(len(rows)), np.diff(ends, prepend=0))[labels < _COMMON]
    labels = labels[labels < _COMMON]
    common = min(records.vocabulary, _COMMON)
    on = csr_array(
        (np.ones(len(labels), np.int32), (row, labels)), shape=(len(rows), common)
    )
    return (on.T @ on).toarray().astype(np.int64)


def _implied(relations: TagGraph, one: str, other: str) -> bool:
    nothing: frozenset[str] = frozenset()
    return other in relations.implied.get(one, nothing) or one in relations.implied.get(
        other, nothing
    )
