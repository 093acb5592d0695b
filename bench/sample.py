"""`sample` at the size of e621.

Seconds, memory and posts, each size in a process of its own.

    python bench/sample.py [--folder /tmp/e6tag-bench-sample] [--posts 1000000 2000000
    4000000 6000000] [--runs 3]
    python bench/sample.py --wide [--runs 3]     # 8,000 tags of three categories

The boards are those of bench/board.py, cut from the largest. Timed is the whole stage
with the imports, from files to files; memory: the peak of the process. Beside it the
quota as a plain loop over the export, gzip CSV with the site's columns, timed on
--loop-posts posts and scaled: the pass that picks, alone and with that which counts
tags before. Where e621's own tables of tags are not there, made-up ones of their shape
serve: bench/public_tables.py.
"""

import argparse
import csv
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import polars as pl
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pipeline.tag_graph import TagGraph

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

SINCE = "2000-01-01"
SOURCE = "https://www.example.com/view/123456789\nhttps://d.example.org/art/x"
SMALL: dict[str, object] = {"ratings": ["s", "q", "e"]}
WIDE: dict[str, object] = {
    "ratings": ["s", "q", "e"],
    "categories": ["general", "species", "character"],
    "vocabulary_size": 8_000,
}
TEXT = (
    'Commissioned by a friend, "thank you"!\r\n'
    "See more at my page, and leave a comment.\n" * 4
)


def main() -> None:
    """Runs one part in this process, or everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/e6tag-bench-sample"))  # noqa: S108
    parser.add_argument(
        "--posts",
        type=int,
        nargs="+",
        default=[1_000_000, 2_000_000, 4_000_000, 6_000_000],
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--loop-posts", type=int, default=300_000)
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--part", choices=["stage", "loop"])
    parser.add_argument("--project", type=Path)
    arguments = parser.parse_args()
    if arguments.part == "stage":
        stage(arguments.project, WIDE if arguments.wide else SMALL)
    elif arguments.part == "loop":
        loop(arguments.project)
    else:
        everything(arguments)


def everything(arguments: argparse.Namespace) -> None:
    """Prints a line per size and run, then the medians as a table."""
    largest = max(arguments.posts)
    for posts in sorted(arguments.posts, reverse=True):
        board(arguments.folder, posts, largest)
    rows = []
    for posts in [largest] if arguments.wide else arguments.posts:
        project = arguments.folder / str(posts)
        runs = [
            part("stage", project, *(["--wide"] if arguments.wide else []))
            for _ in range(arguments.runs)
        ]
        seconds = statistics.median(run["seconds"] for run in runs)
        found = {
            row["strategy"]: row
            for row in pl.read_parquet(
                project / "data/sample/strategies.parquet"
            ).to_dicts()
        }
        rows.append(
            (
                posts,
                seconds,
                statistics.median(run["cpu"] for run in runs),
                max(run["gb"] for run in runs),
                found,
            )
        )
        print(rows[-1][:4], flush=True)
    print(
        "| posts | seconds | CPU seconds | peak GB | cover | quota | natural | quota / "
        "cover |\n" + "|---" * 8 + "|"
    )
    for posts, seconds, cpu, memory, found in rows:
        cover, quota, natural = (
            found[name]["posts"] for name in ("cover", "quota", "natural")
        )
        print(
            f"| {posts:,} | {seconds:.1f} | {cpu:.1f} | {memory:.1f} | {cover:,} | "
            f"{quota:,} | {natural:,} "
            f"| {quota / cover:.1f} |"
        )
    with pl.Config(
        tbl_cols=-1, tbl_formatting="MARKDOWN", tbl_hide_column_data_types=True
    ):
        print(pl.DataFrame(list(rows[-1][4].values())))
    if not arguments.wide:
        export = write_export(
            arguments.folder, largest, min(arguments.loop_posts, largest)
        )
        runs = [part("loop", export) for _ in range(arguments.runs)]
        for words, passes in (
            ("the quota alone", ["seconds"]),
            ("with the pass that counts", ["seconds", "counting"]),
        ):
            took = (
                statistics.median(
                    sum(run[one] for one in passes) / run["posts"] for run in runs
                )
                * largest
            )
            print(
                f"plain loop, {words}: {took:,.0f} s for {largest:,} posts, "
                f"{took / rows[-1][1]:.1f} times the stage"
            )


def part(name: str, project: Path, *options: str) -> dict[str, float]:
    """Runs a part in a process of its own and returns what it measured."""
    command = [
        sys.executable,
        __file__,
        "--part",
        name,
        "--project",
        str(project),
        *options,
    ]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def stage(project: Path, sample_params: dict[str, object]) -> None:
    """Runs the stage and prints seconds, CPU seconds and peak memory with imports."""
    started = time.monotonic()
    from pipeline import sample
    from pipeline.params.sample import Sample
    from pipeline.paths import Paths

    params = Sample.model_validate({**sample_params, "since": SINCE})
    sample.run(params, Paths(project))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "seconds": time.monotonic() - started, "cpu": used.ru_utime + used.ru_stime,
        "gb": used.ru_maxrss / 1e6,
    }))  # fmt: skip


def board(folder: Path, posts: int, largest: int) -> None:
    """Writes the snapshot of so many posts, once.

    The largest from scratch, the others as its first row groups.
    """
    target, source = (
        folder / str(posts) / "data/snapshot",
        folder / str(largest) / "data/snapshot",
    )
    if (target / "posts.parquet").exists():
        return
    if posts == largest:
        subprocess.run([sys.executable, ROOT / "bench/board.py", target, "--posts",
        str(posts)], check=True,
                       env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
        return
    target.mkdir(parents=True, exist_ok=True)
    for name in ("tags", "aliases", "implications"):
        (target / f"{name}.parquet").write_bytes(
            (source / f"{name}.parquet").read_bytes()
        )
    file = pq.ParquetFile(source / "posts.parquet")
    with pq.ParquetWriter(
        target / "posts.parquet", file.schema_arrow, compression="zstd"
    ) as writer:
        written = 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)[: posts - written]
            writer.write_table(table)
            written += len(table)
            if written == posts:
                return


def write_export(folder: Path, largest: int, posts: int) -> Path:
    """Writes posts.csv.gz as the site exports it, of the newest posts, once.

    Returns the project it lies in.
    """
    project = folder / str(largest)
    path = project / f"posts-{posts}.csv.gz"
    if path.exists():
        return path
    rows = (
        pl.scan_parquet(project / "data/snapshot/posts.parquet").tail(posts).collect()
    )
    stamp = pl.col("created_at").dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
    flags = {
        name: pl.when(name).then(pl.lit("t")).otherwise(pl.lit("f"))
        for name in ("is_deleted", "is_pending", "is_flagged")
    }
    table = rows.select(
        id="post_id", uploader_id=pl.lit(1234), created_at=stamp, md5="md5",
        source=pl.lit(SOURCE), rating="rating",
        image_width="width", image_height="height",
        tag_string=pl.col("tags").list.join(" "),
        locked_tags=pl.lit(None, pl.String), fav_count="fav_count", file_ext="ext",
        parent_id="parent_id",
        change_seq="change_seq", approver_id=pl.lit(12), file_size="file_size",
        comment_count=pl.lit(3),
        description=pl.lit(TEXT), duration="duration", updated_at=stamp, **flags,
        score="score", up_score="score",
        down_score=pl.lit(-1), is_rating_locked=pl.lit("f"),
        is_status_locked=pl.lit("f"), is_note_locked=pl.lit("f"),
    )  # fmt: skip
    with gzip.open(path, "wb", compresslevel=6) as file:
        # polars takes any file, its types some.
        table.write_csv(cast("IO[bytes]", file))
    return path


def loop(export: Path) -> None:
    """The hobby project's method with this project's rules, written plainly."""
    from pipeline import parquet, policy
    from pipeline.params.sample import Sample
    from pipeline.sample import strategies
    from pipeline.tag_graph import TagGraph

    tables = {
        name: parquet.read(export.parent / f"data/snapshot/{name}.parquet")
        for name in ("tags", "aliases", "implications")
    }
    relations = TagGraph.read(**tables)
    counting = time.monotonic()
    counted = count_tags(export, relations)
    counting = time.monotonic() - counting
    names = policy.PolicyTags.read(tables["implications"], tables["aliases"])
    general = set(tables["tags"].filter(pl.col("category") == 0)["name"])
    common = [name for name, _ in counted.most_common() if name in general][:1_024]
    rank = {name: number for number, name in enumerate(common)}
    left, picked, posts = [int(strategies.targets(Sample())[0])] * len(rank), [], 0
    csv.field_size_limit(1 << 30)
    started = time.monotonic()
    with gzip.open(export, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            posts += 1
            if (
                row["is_deleted"] == "t"
                or row["file_ext"] not in policy.STILL_FORMATS
                or row["duration"]
            ):
                continue
            given = row["tag_string"].split(" ")
            if row["rating"] in "qe" and not names.young.isdisjoint(given):
                continue
            if not names.opt_out.isdisjoint(
                given
            ) or not policy.ANIMATED_TAGS.isdisjoint(given):
                continue
            tags = {relations.canonical.get(name, name) for name in given}
            for name in tuple(tags):
                if name in relations.implied:
                    tags |= relations.implied[name]
            labels = [rank[name] for name in tags if name in rank]
            if "comic" in tags or len(labels) < strategies.MIN_QUOTA_LABELS:
                continue
            for label in sorted(labels, reverse=True):
                if left[label]:
                    left[label] -= 1
                    picked.append((row["id"], row["md5"], labels))
                    break
    print(
        json.dumps(
            {
                "seconds": time.monotonic() - started,
                "counting": counting,
                "posts": posts,
                "picked": len(picked),
            }
        )
    )


def count_tags(export: Path, relations: "TagGraph") -> Counter[str]:
    """The first of two passes.

    How many posts have each tag, without which nobody knows what the quota can
    reach.
    """
    counted: Counter[str] = Counter()
    csv.field_size_limit(1 << 30)
    with gzip.open(export, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["is_deleted"] == "t":
                continue
            tags = {
                relations.canonical.get(name, name)
                for name in row["tag_string"].split(" ")
            }
            for name in tuple(tags):
                if name in relations.implied:
                    tags |= relations.implied[name]
            counted.update(tags)
    return counted


if __name__ == "__main__":
    main()
