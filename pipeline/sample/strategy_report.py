"""What each strategy would cost and give, beside the board itself."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.params.site import DEFAULT_REQUESTS_PER_SECOND
from pipeline.sample.cover import Selection
from pipeline.sample.label_matrix import TARGET_SPLITS, LabelMatrix


def compare_strategies(
    records: LabelMatrix,
    wanted: NDArray[np.int64],
    selections: Mapping[str, Selection],
    chosen: str,
    written: Selection,
) -> pl.DataFrame:
    """Returns schemas.STRATEGIES.

    wanted: [target splits, labels]; selections: by strategy; written: the sample.
    """
    board = records.positives
    rows = []
    for name, selection in selections.items():
        positives = records.positives_of(selection.rows)
        figures = _figures(records, selection.rows, positives, wanted)
        rows.append({"strategy": name, "is_chosen": name == chosen, **figures})
    with_targets = written.rows[records.split[written.rows] < len(TARGET_SPLITS)]
    figures = _figures(
        records, with_targets, records.positives_of(with_targets), wanted
    )
    rows.append({"strategy": "sample", "is_chosen": True, **figures})
    candidates = np.flatnonzero(records.split < len(TARGET_SPLITS))
    figures = _figures(records, candidates, board, wanted)
    rows.append({"strategy": "all_candidates", "is_chosen": False, **figures})
    return pl.DataFrame(rows)


def _figures(
    records: LabelMatrix,
    rows: NDArray[np.int64],
    positives: NDArray[np.int64],
    wanted: NDArray[np.int64],
) -> dict[str, int | float]:
    mean_tags = 0.0
    if len(rows):
        mean_tags = float(records.tags[rows].mean())
    is_short = (positives < wanted).any(axis=0)
    on_board = records.positives.sum(axis=0)
    return {
        "posts": len(rows),
        "hours": len(rows) / DEFAULT_REQUESTS_PER_SECOND / 3600,
        "mean_tags": mean_tags,
        "min_positives_reached": int(positives[0].min()),
        "median_positives": float(np.median(positives[0])),
        "tags_below_target": int(is_short.sum()),
        "total_variation": _total_variation(positives.sum(axis=0), on_board),
    }


def _total_variation(some: NDArray[np.int64], every: NDArray[np.int64]) -> float:
    """Returns half the summed difference between shares of labels: 0 same, 1 disjoint.

    The share of a tag is that of its labels in all labels.
    """
    shares = some / max(1, some.sum())
    reference = every / max(1, every.sum())
    return float(np.abs(shares - reference).sum() / 2)
