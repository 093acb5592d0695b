"""How well each test image was predicted, read a piece at a time.

The table of scores is as large as records times tags: no more than BATCH rows of it are
in memory.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds

from pipeline import parquet
from pipeline.errors import BadInput
from pipeline.paths import Paths

BATCH = 1_024  # records; 33 MB of scores for 8,000 tags

COLUMNS = ("post_id", "md5", "pack", "label_ids")
"""Of the manifest, beside `f1`, in what `test_images` returns."""


def test_images(paths: Paths, thresholds: Sequence[float]) -> pl.DataFrame:
    """Returns every test image that was predicted, ordered by post_id.

    Columns: COLUMNS and f1, that of its tags at their thresholds; null where it neither
    has nor was given a tag. thresholds: by label id.
    """
    manifest = parquet.read(paths.manifest / "test.parquet", columns=list(COLUMNS))
    limits = np.array(thresholds)
    batches = _batches(paths, ["md5", "label_ids", "scores"])
    frames = [_f1(paths, batch, limits) for batch in batches]
    none = pl.DataFrame(schema={"md5": pl.String, "f1": pl.Float64})
    predicted = pl.concat([none, *frames])
    return manifest.join(predicted, on="md5", how="inner").sort("post_id")


def scores(paths: Paths, md5s: Sequence[str], tags: int) -> dict[str, list[float]]:
    """Returns the test scores of some images, by md5. tags: length of each list."""
    wanted = pa.array(md5s, pa.string())
    by_md5 = {}
    for batch in _batches(paths, ["md5", "scores"], ds.field("md5").isin(wanted)):
        rows = _matrix(paths, batch, tags)
        for md5, row in zip(batch["md5"].to_pylist(), rows, strict=True):
            by_md5[md5] = row.tolist()
    return by_md5


def _f1(paths: Paths, batch: pa.RecordBatch, thresholds: np.ndarray) -> pl.DataFrame:
    predicted = _matrix(paths, batch, len(thresholds)) >= thresholds
    labels = batch["label_ids"]
    counts = np.diff(labels.offsets.to_numpy())
    rows = np.repeat(np.arange(len(counts)), counts)
    hits = predicted[rows, labels.flatten().to_numpy()]
    correct = np.bincount(rows, hits, minlength=len(counts))
    both = predicted.sum(axis=1) + counts
    f1 = np.full(len(counts), np.nan)
    np.divide(2 * correct, both, out=f1, where=both > 0)
    frame = pl.DataFrame({"md5": batch["md5"].to_pylist(), "f1": f1})
    return frame.with_columns(pl.col("f1").fill_nan(None))


def _matrix(paths: Paths, batch: pa.RecordBatch, tags: int) -> np.ndarray:
    """Returns the scores of a batch, float32 [records, tags]; raises BadInput."""
    lists = batch["scores"]
    lengths = np.diff(lists.offsets.to_numpy())
    for md5, length in zip(batch["md5"].to_pylist(), lengths, strict=True):
        if length != tags:
            raise BadInput(
                f"{_file(paths)} gives {length} scores for image {md5}, but there are "
                f"{tags} tags. Delete data/evaluation and run dvc repro."
            )
    values: np.ndarray = lists.flatten().to_numpy()
    return values.reshape(-1, tags)


def _batches(
    paths: Paths, columns: list[str], also: ds.Expression | None = None
) -> Iterator[pa.RecordBatch]:
    """Yields the test records of predictions.parquet; raises CorruptFile."""
    path = _file(paths)
    is_wanted = ds.field("split") == "test"
    if also is not None:
        is_wanted &= also
    try:
        predictions = ds.dataset(path, format="parquet")
        yield from predictions.to_batches(
            columns=columns, filter=is_wanted, batch_size=BATCH, batch_readahead=1
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise parquet.corrupt_file_error(path, error) from error


def _file(paths: Paths) -> Path:
    return paths.evaluation / "predictions.parquet"
