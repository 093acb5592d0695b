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
TARGET, MOST_MEMORY = (
    10.0,
    1.5,
)  # times the loop's posts per second; GB for two million posts (issue 3)


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
    text = _report(sizes, arguments.rounds, _compare(folder, sizes, arguments.rounds))
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


def _compare(
    folder: Path, sizes: list[int], rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Returns what each round measured, by contender: name:posts."""
    import pipeline  # noqa: F401 - sets how pyarrow keeps its memory, for the processes below as for any of the stages

    looped = min(LOOPED, sizes[0])
    parts = [
        f"bare:{looped}",
        f"loop:{looped}",
        *(f"ours:{size}" for size in sizes),
        f"unknown:{sizes[-1]}",
    ]
    measured: dict[str, list[dict[str, float]]] = {part: [] for part in parts}
    for number in range(rounds):
        for part in parts:
            os.sync()  # what one contender wrote is not flushed on the next one's time
            command = [
                sys.executable,
                __file__,
                "--folder",
                str(folder),
                "--part",
                part,
            ]
            result = subprocess.run(command, check=True, capture_output=True, text=True)
            measured[part].append(json.loads(result.stdout))
            print(f"round {number + 1}: {part} {measured[part][-1]}", file=sys.stderr)
    ours = pq.read_table(folder / f"ours-{sizes[0]}.parquet").slice(0, looped)
    if not ours.equals(pq.read_table(folder / f"loop-{looped}.parquet")):
        raise SystemExit("the loop and the harvest do not write the same table")
    return measured


def _measured(name: str, folder: Path, count: int) -> dict[str, float]:
    """Runs one contender; prints posts a second, peak GB, CPU microseconds a post."""
    import pandas as pd  # noqa: F401 - imports are not timed; pyarrow makes this one when it first sees a list

    from pipeline.harvest import csv_reader  # noqa: F401

    started, busy = time.perf_counter(), time.process_time()
    CONTENDERS[name](folder, count)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
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
    with pq.ParquetWriter(
        folder / f"loop-{count}.parquet", POSTS, compression="zstd"
    ) as writer:
        while batch := list(islice(records, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=POSTS))


def _records(folder: Path, count: int) -> Iterator[dict[str, str]]:
    """The first records of the largest export, as a script would read them."""
    csv.field_size_limit(1 << 30)
    whole = max(folder.glob("posts-*.csv.gz"), key=lambda path: path.stat().st_size)
    with gzip.open(whole, "rt", encoding="utf-8", newline="") as file:
        yield from islice(csv.DictReader(file), count)


def _converted(record: dict[str, str]) -> dict[str, Any]:
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
        "duration": float(record["duration"]) if record["duration"] else None,
        "parent_id": int(record["parent_id"]) if record["parent_id"] else None,
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


def _report(
    sizes: list[int], rounds: int, measured: dict[str, list[dict[str, float]]]
) -> str:
    median = {
        part: {key: statistics.median(one[key] for one in every) for key in every[0]}
        for part, every in measured.items()
    }
    loop, bare = (
        next(part for part in median if part.startswith(name))
        for name in ("loop", "bare")
    )
    every, largest = f"ours:{sizes[-1]}", f"{sizes[-1]:,} posts"
    ratio = statistics.median(
        a["rate"] / b["rate"]
        for a, b in zip(measured[every], measured[loop], strict=True)
    )
    memory, grown = (
        median[every]["memory"],
        median[every]["memory"] / median[f"ours:{sizes[0]}"]["memory"],
    )
    frequencies = "the real" if public_tables.are_real() else "made-up"
    about = (
        f"Posts of 40 tags with {frequencies} frequencies; {rounds} rounds, each "
        "contender once in turn, medians; "
        f"{os.cpu_count()} shared {platform.machine()} cores, {_memory_here():,.0f} "
        "GiB, load average "
        f"{os.getloadavg()[1]:.1f}; Python {platform.python_version()}, polars "
        f"{version('polars')}, pyarrow "
        f"{version('pyarrow')}, isal {version('isal')}. The loops read the first "
        f"{min(LOOPED, sizes[0]):,} posts. "
        "Made by `bench/exports.py --write`, which says what is timed."
    )
    lines = [
        "# Exports to Parquet",
        "",
        about,
        "",
        (
            "| contender | posts | posts/s | of all rounds | CPU a post | peak memory "
            "| to the loop | to the bare loop |"
        ),
        "|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    for part, values in median.items():
        name, count = part.split(":")
        rates = [one["rate"] for one in measured[part]]
        lines.append(
            f"| {name} | {int(count):,} | {values['rate']:,.0f} | {min(rates):,.0f} to "
            f"{max(rates):,.0f} "
            f"| {values['cpu']:.1f} us | {values['memory']:.2f} GB | "
            f"{values['rate'] / median[loop]['rate']:.1f} "
            f"| {values['rate'] / median[bare]['rate']:.1f} |"
        )
    asked = (
        f"- Memory for {largest}: {memory:.2f} GB (at most {MOST_MEMORY} GB is asked "
        "for); "
    )
    lines += [
        "",
        (
            f"- Ratio to the loop, {largest}, median over the rounds: {ratio:.1f} (at "
            f"least {TARGET:.0f} is asked for)."
        ),
        asked
        + f"{sizes[-1] // sizes[0]} times the posts take {grown:.2f} times the memory.",
        "",
    ]
    return "\n".join(lines)


def _memory_here() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


if __name__ == "__main__":
    main()
