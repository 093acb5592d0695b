"""What each strategy would cost and give, beside the board itself.

Schemas.STRATEGIES.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.params import DEFAULT_REQUESTS_PER_SECOND
from pipeline.sample.cover import Selection
from pipeline.sample.label_matrix import JUDGED, LabelMatrix


def compare_strategies(
    records: LabelMatrix,
    wanted: NDArray[np.int64],
    picked: Mapping[str, Selection],
    chosen: str,
    written: Selection,
) -> pl.DataFrame:
    """Returns schemas.STRATEGIES.

    wanted: [judged splits, labels]; picked: by strategy; written: the sample.
    """
    judged = written.rows[records.split[written.rows] < len(JUDGED)]
    board = records.positives
    everything = np.flatnonzero(records.split < len(JUDGED))
    taken = {
        **{name: one.rows for name, one in picked.items()},
        "sample": judged,
        "board": everything,
    }
    return pl.DataFrame(
        [
            {
                "strategy": name,
                "is_chosen": name in (chosen, "sample"),
                "posts": len(rows),
                "hours": len(rows) / DEFAULT_REQUESTS_PER_SECOND / 3600,
                "mean_tags": float(records.tags[rows].mean()) if len(rows) else 0.0,
                **_positives(
                    board if name == "board" else records.positives_of(rows),
                    wanted,
                    board,
                ),
            }
            for name, rows in taken.items()
        ]
    )


def _positives(
    positives: NDArray[np.int64], wanted: NDArray[np.int64], board: NDArray[np.int64]
) -> dict[str, int | float]:
    return {
        "least_positives": int(positives[0].min()),
        "median_positives": float(np.median(positives[0])),
        "short_tags": int((positives < wanted).any(axis=0).sum()),
        "total_variation": _distance(positives.sum(axis=0), board.sum(axis=0)),
    }


def _distance(some: NDArray[np.int64], every: NDArray[np.int64]) -> float:
    """Returns half the summed difference between the shares that each tag has in all labels: 0 the same, 1 disjoint."""
    return float(
        np.abs(some / max(1, some.sum()) - every / max(1, every.sum())).sum() / 2
    )
