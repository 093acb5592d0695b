"""The area under the ROC curve of every tag, by ranks (Mann-Whitney).

Deliberately not the code of `pipeline/metrics`: the gate computes AUC a second time.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

TAGS_AT_ONCE = 64  # columns of scores ranked at once: 64 x 100,000 ranks are 50 MB


def per_tag(predictions: pl.DataFrame, tags: int) -> list[float | None]:
    """Returns the AUC of each tag; None without both positives and negatives.

    Equal scores share their rank. predictions: label_ids, scores, of which each list
    holds a score per tag; where one does not, all results are None.
    """
    lengths = predictions["scores"].list.len()
    if predictions.is_empty() or not bool((lengths == tags).all()):
        return [None] * tags
    flat = predictions["scores"].explode().to_numpy()
    scores = flat.reshape(predictions.height, tags)
    labels = _to_matrix(predictions["label_ids"], tags)
    aucs: list[float | None] = []
    for start in range(0, tags, TAGS_AT_ONCE):
        some = slice(start, start + TAGS_AT_ONCE)
        aucs += _from_ranks(scores[:, some], labels[:, some])
    return aucs


def _to_matrix(label_ids: pl.Series, tags: int) -> NDArray[np.bool_]:
    """Returns lists of label ids as a matrix: bool [predictions, tags]."""
    matrix = np.zeros((len(label_ids), tags), dtype=bool)
    frame = pl.DataFrame({"label": label_ids}).with_row_index("row")
    cells = frame.explode("label").drop_nulls()
    cells = cells.filter(pl.col("label").is_between(0, tags - 1))
    matrix[cells["row"].to_numpy(), cells["label"].to_numpy()] = True
    return matrix


def _from_ranks(
    scores: NDArray[np.float32], labels: NDArray[np.bool_]
) -> list[float | None]:
    """Returns the AUC of each column. scores, labels: [predictions, tags]."""
    ranks = pl.DataFrame(scores).select(pl.all().rank("average")).to_numpy()
    positives = labels.sum(axis=0)
    negatives = len(labels) - positives
    rank_sums = np.where(labels, ranks, 0.0).sum(axis=0)
    # Pairs of a positive and a negative in the right order: the rank sum less the ranks
    # that positives take among themselves.
    ordered = rank_sums - positives * (positives + 1) / 2
    aucs: list[float | None] = []
    for pairs, total in zip(ordered, positives * negatives, strict=True):
        aucs.append(float(pairs / total) if total else None)
    return aucs
