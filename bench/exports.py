"""Posts per second and memory from the gzip CSV of the export to Parquet.

Our harvest and csv.DictReader, side by side.

    python bench/exports.py [--posts 2000000] [--rounds 5] [--folder /path/with/room]
    [--write]

All read the same file, made by bench/posts.py: the 32 columns of the site's export, 40
tags a post with the real frequencies. A round runs every contender once, in turn, each
in a process of its own; the figures are medians over the rounds. Timed is the call,
imports aside.

    ours        pipeline.harvest.csv_reader.write_posts on a quarter, half and all posts
    unknown     the same, then the tags of posts that tags.parquet does not list, as
                the harvest counts them
    loop        gzip.open, csv.DictReader, values converted, tags split, pyarrow writes
                batches: the same Parquet table
                (compared once); on the first 200,000 posts, since its rate does not
                depend on how many follow
    bare        gzip.open and csv.DictReader over those, every record thrown away

Memory is the peak resident set of the process, the libraries it loads among it. Where
the real counts are not there, made-up ones of their shape serve, and nothing is
written with --write: bench/public_tables.py.
"""

import argparse
import csv
import gzip
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import posts
import public_tables
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.schemas.snapshot import POSTS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
RESULTS = Path(__file__).parent / "results" / "exports.md"
LOOPED = 200_000  # posts that the loops read
BATCH = 10_000  # posts the loop writes at once
TARGET = 10.0  # times the loop's posts per second (issue 3)
MOST_MEMORY = 1.5  # GB for two million posts (issue 3)

Figures = dict[str, float]
Measured = dict[str, list[Figures]]
"""What each round measured, by contender: name:posts."""


def main() -> None:
    """Runs one contender in this process, or the whole comparison."""
    arguments = _arguments()
    if arguments.part:
        name, count = arguments.part.split(":")
        print(json.dumps(_measured(name, arguments.folder, int(count))))
        return
    if arguments.write and not public_tables.are_real():
        raise SystemExit(
            "results are recorded of e621's own tables only. Leave --write out, or see "
            "bench/public_tables.py for where to get them."
        )
    folder = arguments.folder or Path(tempfile.gettempdir()) / "e6tag-bench-exports"
    sizes = [arguments.posts // 4, arguments.posts // 2, arguments.posts]
    _make_exports(folder, sizes)
    measured = _compare(folder, sizes, arguments.rounds)
    text = _report(sizes, arguments.rounds, measured)
    print(text)
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--posts",
        type=int,
        default=2_000_000,
        help="a multiple of 200,000: the contenders read parts of one export",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--folder",
        type=Path,
        help="where the exports are made and kept: about 400 MB a million posts",
    )
    parser.add_argument(
        "--write", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}"
    )
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    # A quarter of the posts begins as the whole only in blocks of bench/posts.py.
    if not arguments.part and arguments.posts % (4 * posts.CHUNK):
        parser.error("--posts must be a multiple of 200,000")
    return arguments


def _make_exports(folder: Path, sizes: list[int]) -> None:
    from pipeline.harvest import csv_reader

    folder.mkdir(parents=True, exist_ok=True)
    for size in sizes:
        path = _export(folder, size)
        if not path.exists():
            print(f"making {path}", file=sys.stderr)
            posts.write_posts(path.with_suffix(".tmp"), size)
            path.with_suffix(".tmp").rename(path)
    if not (folder / "tags.parquet").exists():
        posts.write_tags(folder / "tags.csv.gz", sizes[-1])
        csv_reader.write_tags(folder / "tags.csv.gz", folder / "tags.parquet")


def _export(folder: Path, size: int) -> Path:
    return folder / f"posts-{size}.csv.gz"


def _looped(sizes: list[int]) -> int:
    """Returns how many posts the loops read."""
    return min(LOOPED, sizes[0])


def _compare(folder: Path, sizes: list[int], rounds: int) -> Measured:
    """Measures every contender in turn, round by round."""
    import pipeline  # noqa: F401 - sets how pyarrow keeps its memory, for the processes below as for any of the stages

    looped = _looped(sizes)
    parts = [f"bare:{looped}", f"loop:{looped}"]
    parts += [f"ours:{size}" for size in sizes]
    parts.append(f"unknown:{sizes[-1]}")
    measured: Measured = {part: [] for part in parts}
    for number in range(rounds):
        for part in parts:
            figures = _run_part(folder, part)
            measured[part].append(figures)
            print(f"round {number + 1}: {part} {figures}", file=sys.stderr)
    _check_tables(folder, sizes)
    return measured


def _run_part(folder: Path, part: str) -> Figures:
    """Returns what a process of its own measures."""
    os.sync()  # what one contender wrote is not flushed on the next one's time
    command = [sys.executable, __file__, "--folder", str(folder), "--part", part]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: Figures = json.loads(result.stdout)
    return figures


def _check_tables(folder: Path, sizes: list[int]) -> None:
    looped = _looped(sizes)
    ours = pq.read_table(folder / f"ours-{sizes[0]}.parquet").slice(0, looped)
    if not ours.equals(pq.read_table(folder / f"loop-{looped}.parquet")):
        raise SystemExit("the loop and the harvest do not write the same table")


def _measured(name: str, folder: Path, count: int) -> Figures:
    """Runs one contender; prints posts a second, peak GB, CPU microseconds a post."""
    import pandas as pd  # noqa: F401 - imports are not timed; pyarrow makes this one when it first sees a list

    from pipeline.harvest import csv_reader  # noqa: F401

    started = time.perf_counter()
    started_busy = time.process_time()
    CONTENDERS[name](folder, count)
    seconds = time.perf_counter() - started
    busy = time.process_time() - started_busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"rate": count / seconds, "memory": peak, "cpu": busy / count * 1e6}


def _ours(folder: Path, count: int) -> None:
    from pipeline.harvest import csv_reader

    csv_reader.write_posts(_export(folder, count), folder / f"ours-{count}.parquet")


def _unknown(folder: Path, count: int) -> None:
    from pipeline.harvest import csv_reader

    csv_reader.write_posts(_export(folder, count), folder / "posts.parquet")
    csv_reader.write_unknown_tags(folder)


def _bare(folder: Path, count: int) -> None:
    for _ in _records(folder, count):
        pass


def _loop(folder: Path, count: int) -> None:
    records = map(_converted, _records(folder, count))
    path = folder / f"loop-{count}.parquet"
    with pq.ParquetWriter(path, POSTS, compression="zstd") as writer:
        while batch := list(islice(records, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=POSTS))


def _records(folder: Path, count: int) -> Iterator[dict[str, str]]:
    """The first records of the largest export, as a script would read them."""
    csv.field_size_limit(1 << 30)
    whole = max(folder.glob("posts-*.csv.gz"), key=lambda path: path.stat().st_size)
    with gzip.open(whole, "rt", encoding="utf-8", newline="") as file:
        yield from islice(csv.DictReader(file), count)


def _converted(record: dict[str, str]) -> dict[str, Any]:
    duration = float(record["duration"]) if record["duration"] else None
    parent_id = int(record["parent_id"]) if record["parent_id"] else None
    return {
        "post_id": int(record["id"]),
        "change_seq": int(record["change_seq"]),
        "created_at": datetime.fromisoformat(record["created_at"]).replace(tzinfo=UTC),
        "md5": record["md5"],
        "ext": record["file_ext"],
        "rating": record["rating"],
        "width": int(record["image_width"]),
        "height": int(record["image_height"]),
        "file_size": int(record["file_size"]),
        "duration": duration,
        "parent_id": parent_id,
        "is_deleted": record["is_deleted"] == "t",
        "is_pending": record["is_pending"] == "t",
        "is_flagged": record["is_flagged"] == "t",
        "is_withheld": False,
        "score": int(record["score"]),
        "fav_count": int(record["fav_count"]),
        "tags": record["tag_string"].split(),
        "locked_tags": record["locked_tags"].split(),
    }


CONTENDERS = {"ours": _ours, "unknown": _unknown, "loop": _loop, "bare": _bare}


def _report(sizes: list[int], rounds: int, measured: Measured) -> str:
    """Returns the page of results."""
    median = {part: _medians(figures) for part, figures in measured.items()}
    looped = _looped(sizes)
    lines = ["# Exports to Parquet", "", _about(sizes, rounds), "", *HEAD]
    for part, figures in measured.items():
        row = _row(part, figures, median[f"loop:{looped}"], median[f"bare:{looped}"])
        lines.append(row)
    lines += ["", *_verdicts(sizes, measured, median), ""]
    return "\n".join(lines)


def _medians(figures: list[Figures]) -> Figures:
    found = {}
    for key in figures[0]:
        found[key] = statistics.median(one[key] for one in figures)
    return found


def _about(sizes: list[int], rounds: int) -> str:
    """Returns how and on what the table was made."""
    frequencies = "the real" if public_tables.are_real() else "made-up"
    cores = f"{os.cpu_count()} shared {platform.machine()} cores"
    load = os.getloadavg()[1]
    polars, pyarrow, isal = version("polars"), version("pyarrow"), version("isal")
    return (
        f"Posts of 40 tags with {frequencies} frequencies; {rounds} rounds, each "
        f"contender once in turn, medians; {cores}, {_memory_here():,.0f} GiB, load "
        f"average {load:.1f}; Python {platform.python_version()}, polars {polars}, "
        f"pyarrow {pyarrow}, isal {isal}. The loops read the first "
        f"{_looped(sizes):,} posts. Made by `bench/exports.py --write`, which says "
        "what is timed."
    )


HEAD = (
    (
        "| contender | posts | posts/s | of all rounds | CPU a post | peak memory "
        "| to the loop | to the bare loop |"
    ),
    "|---|---:|---:|---|---:|---:|---:|---:|",
)


def _row(part: str, figures: list[Figures], loop: Figures, bare: Figures) -> str:
    """Returns a row of the table. loop, bare: medians of the two."""
    name, count = part.split(":")
    median = _medians(figures)
    rates = [one["rate"] for one in figures]
    cells = [
        name,
        f"{int(count):,}",
        f"{median['rate']:,.0f}",
        f"{min(rates):,.0f} to {max(rates):,.0f}",
        f"{median['cpu']:.1f} us",
        f"{median['memory']:.2f} GB",
        f"{median['rate'] / loop['rate']:.1f}",
        f"{median['rate'] / bare['rate']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _verdicts(
    sizes: list[int], measured: Measured, median: dict[str, Figures]
) -> list[str]:
    """Returns the targets and what was measured, as lines of a list."""
    every, loop = f"ours:{sizes[-1]}", f"loop:{_looped(sizes)}"
    rounds = zip(measured[every], measured[loop], strict=True)
    ratio = statistics.median(ours["rate"] / other["rate"] for ours, other in rounds)
    memory = median[every]["memory"]
    grown = memory / median[f"ours:{sizes[0]}"]["memory"]
    largest = f"{sizes[-1]:,} posts"
    speed_line = (
        f"- Ratio to the loop, {largest}, median over the rounds: {ratio:.1f} (at "
        f"least {TARGET:.0f} is asked for)."
    )
    memory_line = (
        f"- Memory for {largest}: {memory:.2f} GB (at most {MOST_MEMORY} GB is asked "
        f"for); {sizes[-1] // sizes[0]} times the posts take {grown:.2f} times the "
        "memory."
    )
    return [speed_line, memory_line]


def _memory_here() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


if __name__ == "__main__":
    main()
