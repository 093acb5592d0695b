"""predictions.parquet, written a row group at a time."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import files, parquet
from pipeline.evaluate.case import ScoredSplit
from pipeline.schemas.evaluation import PREDICTIONS

_ROW_GROUP_BYTES = 32_000_000  # of scores; bounds the memory of writer and readers


def write(path: Path, splits: Iterable[ScoredSplit]) -> None:
    """Writes schemas.PREDICTIONS, by split, then by post id."""
    by_name = sorted(splits, key=lambda split: split.name)
    with (
        files.open_atomic(path) as temporary,
        pq.ParquetWriter(
            temporary,
            parquet.stored_schema(PREDICTIONS),
            compression="zstd",
            # Scores hardly repeat: a dictionary of them would only be given up.
            use_dictionary=["split"],
        ) as writer,
    ):
        for split in by_name:
            for table in _tables(split):
                writer.write_table(table)


def _tables(split: ScoredSplit) -> Iterable[pa.Table]:
    """Yields the row groups of a split."""
    order = np.argsort(split.post_ids, kind="stable")
    by_image = split.scores.labels.T.tocsr()
    by_image.sort_indices()
    step = max(1, _ROW_GROUP_BYTES // (4 * max(1, split.scores.tags)))
    for start in range(0, len(order), step):
        rows = order[start : start + step]
        labels = by_image[rows]
        columns = {
            "post_id": split.post_ids[rows],
            "md5": [split.md5s[row] for row in rows],
            "split": [split.name] * len(rows),
            "label_ids": _lists("label_ids", labels.indptr, labels.indices),
            "scores": _matrix("scores", split.scores.values[:, rows]),
            "uncertainty": pa.nulls(len(rows), PREDICTIONS.field("uncertainty").type),
        }
        if split.uncertainty is not None:
            columns["uncertainty"] = _matrix("uncertainty", split.uncertainty[:, rows])
        yield pa.table(columns).cast(parquet.stored_schema(PREDICTIONS))


def _matrix(name: str, values: np.ndarray) -> pa.ListArray:
    """Returns one list per image of values, [tags, images]."""
    by_image = np.ascontiguousarray(values.T)
    starts = np.arange(len(by_image) + 1) * by_image.shape[1]
    return _lists(name, starts, by_image.ravel())


def _lists(name: str, starts: np.ndarray, values: np.ndarray) -> pa.ListArray:
    kind = PREDICTIONS.field(name).type
    items = pa.array(values, kind.value_type)
    return pa.ListArray.from_arrays(starts.astype(np.int32), items, type=kind)
