"""The report of a board with thousands of tags: time to make it, bytes, time to open.

    python bench/report.py [--tags 8000] [--images 2000]    # a minute; needs chromium

Prints the table of bench/results/report.md. The tables are those of the tests' small
project with more tags, more test predictions and 1,000 proposals; the page has no
training batch.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import parquet, report
from pipeline.paths import Paths
from pipeline.report import inputs
from pipeline.schemas.evaluation import PER_TAG
from pipeline.schemas.sample import VOCABULARY
from pipeline.schemas.shards import SHARDS
from tests.builders.browser import opened_page
from tests.builders.report_inputs import NoBatch, make
from tests.builders.tables import PARAMS

SEED = 621
OPENINGS = 5
SORT = "#tags th[data-kind]:nth-child(6) button"


def main() -> None:
    """Makes the page, opens it and prints what both took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tags", type=int, default=8_000)
    parser.add_argument("--images", type=int, default=2_000, help="test predictions")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = make(Paths(Path(folder)))
        enlarge(paths, given.tags, given.images)
        print("| | |\n|---|---|")
        with timed("reading its inputs"):
            found = inputs.read(paths)
        with timed("choosing images, drawing and writing"):
            html = report.make_page(PARAMS, paths, found, NoBatch())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"| memory at most | {peak:.2f} GB |")
        print(f"| page | {len(html.encode()) / 1e6:.2f} MB |")
        index = Path(folder) / "index.html"
        index.write_text(html, encoding="utf-8")
        asyncio.run(open_page(index))


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Prints the time of the clock and of the CPU that a block takes."""
    clock, cpu = time.perf_counter(), time.process_time()
    yield
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    print(f"| {what} | {clock:.1f} s ({cpu:.1f} s of CPU) |")


def enlarge(paths: Paths, tags: int, images: int) -> None:
    """Gives vocabulary, shards and evaluation of a small project more tags."""
    names = [f"tag_with_a_usual_name_{number:05}" for number in range(tags)]
    spread = np.random.default_rng(SEED)
    positives = np.sort(spread.zipf(1.3, tags).clip(512, 100_000))[::-1].astype(int)
    _widen(paths.sample / "vocabulary.parquet", VOCABULARY, names, positives)
    _widen(paths.evaluation / "per_tag.parquet", PER_TAG, names, positives)
    index = paths.shards / "index.parquet"
    counts = [positives.tolist()] * parquet.read(index).height
    rows = parquet.read(index).with_columns(label_counts=pl.Series(counts))
    parquet.write(index, rows, SHARDS)
    _write_predictions(paths, tags, images)


def _widen(path: Path, schema: pa.Schema, names: list[str], positives: Any) -> None:
    """Repeats the rows of a table of tags."""
    rows = parquet.read(path)
    times = -(-len(names) // rows.height)
    spread = np.random.default_rng(SEED)
    many = pl.concat([rows] * times).head(len(names))
    new = {"name": pl.Series(names), "label_id": pl.Series(range(len(names)))}
    for column, kind in zip(many.columns, many.dtypes, strict=True):
        if column.endswith("positives"):
            new[column] = pl.Series(positives)
        elif kind == pl.Float64:
            new[column] = pl.Series(spread.random(len(names)))
    parquet.write(path, many.with_columns(**new), schema)


def _write_predictions(paths: Paths, tags: int, images: int) -> None:
    """Writes scores of the test images of the project, again and again."""
    path = paths.evaluation / "predictions.parquet"
    table = pq.read_table(path)
    test = table.filter(pa.compute.equal(table["split"], "test"))
    spread = np.random.default_rng(SEED)
    rows = test.to_pylist()
    with pq.ParquetWriter(path, table.schema) as writer:
        for first in range(0, images, len(rows)):
            for number, row in enumerate(rows):
                row["scores"] = spread.random(tags, np.float32).tolist()
                if first:
                    row["md5"] = f"{first + number:032}"
            writer.write_table(pa.Table.from_pylist(rows, table.schema))


async def open_page(index: Path) -> None:
    """Opens the page several times, and sorts and searches its table."""
    opened, sorts, searches = [], [], []
    for _ in range(OPENINGS):
        async with opened_page(index.as_uri()) as page:
            opened.append(
                await page.run("performance.getEntriesByType('navigation')[0].duration")
            )
            sorts.append(
                await page.run(_timed(f"document.querySelector('{SORT}').click()"))
            )
            typed = (
                "(() => { const box = document.querySelector('#tags input');"
                "box.value = '07'; box.dispatchEvent(new Event('input')); })()"
            )
            searches.append(await page.run(_timed(typed)))
    for what, times in (
        ("opening it in Chromium, until all is laid out", opened),
        ("sorting the tags", sorts),
        ("searching them", searches),
    ):
        print(f"| {what} | {np.median(times):.0f} ms (least {min(times):.0f}) |")


def _timed(action: str) -> str:
    """Returns JavaScript that gives the milliseconds of an action, laid out."""
    return (
        f"(() => {{ const start = performance.now(); {action};"
        "document.body.offsetHeight; return performance.now() - start; })()"
    )


if __name__ == "__main__":
    main()
