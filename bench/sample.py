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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

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


class Measured(NamedTuple):
    """Of the stage. strategies: rows of its table strategies, by name."""

    posts: int
    seconds: float
    cpu: float
    gb: float
    strategies: dict[str, dict[str, Any]]


def everything(arguments: argparse.Namespace) -> None:
    """Prints a line per size and run, then the medians as a table."""
    largest = max(arguments.posts)
    for posts in sorted(arguments.posts, reverse=True):
        board(arguments.folder, posts, largest)
    rows = []
    for posts in [largest] if arguments.wide else arguments.posts:
        measured = measure_stage(arguments, posts)
        print(measured[:4], flush=True)
        rows.append(measured)
    print_sizes(rows)
    print_strategies(rows[-1])
    if not arguments.wide:
        compare_loop(arguments, rows[-1].seconds)


def measure_stage(arguments: argparse.Namespace, posts: int) -> Measured:
    """Runs the stage several times: medians, and the most memory."""
    project = arguments.folder / str(posts)
    options = ["--wide"] if arguments.wide else []
    runs = [part("stage", project, *options) for _ in range(arguments.runs)]
    seconds = statistics.median(run["seconds"] for run in runs)
    cpu = statistics.median(run["cpu"] for run in runs)
    gb = max(run["gb"] for run in runs)
    table = pl.read_parquet(project / "data/sample/strategies.parquet")
    strategies = {row["strategy"]: row for row in table.to_dicts()}
    return Measured(posts, seconds, cpu, gb, strategies)


def print_sizes(rows: Sequence[Measured]) -> None:
    """Prints a row for each size."""
    print(
        "| posts | seconds | CPU seconds | peak GB | cover | quota | natural | quota / "
        "cover |"
    )
    print("|---" * 8 + "|")
    for row in rows:
        cover = row.strategies["cover"]["posts"]
        quota = row.strategies["quota"]["posts"]
        natural = row.strategies["natural"]["posts"]
        print(
            f"| {row.posts:,} | {row.seconds:.1f} | {row.cpu:.1f} | {row.gb:.1f} | "
            f"{cover:,} | {quota:,} | {natural:,} | {quota / cover:.1f} |"
        )


def print_strategies(measured: Measured) -> None:
    """Prints the whole table of strategies."""
    table = pl.DataFrame(list(measured.strategies.values()))
    with pl.Config(
        tbl_cols=-1, tbl_formatting="MARKDOWN", tbl_hide_column_data_types=True
    ):
        print(table)


def compare_loop(arguments: argparse.Namespace, stage_seconds: float) -> None:
    """Times the plain loop and prints its seconds, scaled to the largest board."""
    largest = max(arguments.posts)
    count = min(arguments.loop_posts, largest)
    export = write_export(arguments.folder, largest, count)
    runs = [part("loop", export) for _ in range(arguments.runs)]
    picking = [run["seconds"] / run["posts"] for run in runs]
    both = [(run["seconds"] + run["counting"]) / run["posts"] for run in runs]
    passes = {"the quota alone": picking, "with the pass that counts": both}
    for words, seconds in passes.items():
        took = statistics.median(seconds) * largest
        print(
            f"plain loop, {words}: {took:,.0f} s for {largest:,} posts, "
            f"{took / stage_seconds:.1f} times the stage"
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
    measured = {
        "seconds": time.monotonic() - started,
        "cpu": used.ru_utime + used.ru_stime,
        "gb": used.ru_maxrss / 1e6,
    }
    print(json.dumps(measured))


def board(folder: Path, posts: int, largest: int) -> None:
    """Writes the snapshot of so many posts, once.

    The largest from scratch, the others as its first row groups.
    """
    target = folder / str(posts) / "data/snapshot"
    source = folder / str(largest) / "data/snapshot"
    if (target / "posts.parquet").exists():
        return
    if posts == largest:
        make_board(target, posts)
    else:
        cut_board(source, target, posts)


def make_board(target: Path, posts: int) -> None:
    """Writes a snapshot in a process of its own."""
    script = ROOT / "bench/board.py"
    command = [sys.executable, str(script), str(target), "--posts", str(posts)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, env=environment)


def cut_board(source: Path, target: Path, posts: int) -> None:
    """Writes the first posts of a snapshot, with all its other tables."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("tags", "aliases", "implications"):
        table = (source / f"{name}.parquet").read_bytes()
        (target / f"{name}.parquet").write_bytes(table)
    file = pq.ParquetFile(source / "posts.parquet")
    path = target / "posts.parquet"
    with pq.ParquetWriter(path, file.schema_arrow, compression="zstd") as writer:
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
    snapshot = pl.scan_parquet(project / "data/snapshot/posts.parquet")
    table = export_table(snapshot.tail(posts).collect())
    with gzip.open(path, "wb", compresslevel=6) as file:
        # polars takes any file, its types some.
        table.write_csv(cast("IO[bytes]", file))
    return path


def export_table(rows: pl.DataFrame) -> pl.DataFrame:
    """Returns the columns of the site's export."""
    stamp = pl.col("created_at").dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
    never = pl.lit("f")
    return rows.select(
        id="post_id",
        uploader_id=pl.lit(1234),
        created_at=stamp,
        md5="md5",
        source=pl.lit(SOURCE),
        rating="rating",
        image_width="width",
        image_height="height",
        tag_string=pl.col("tags").list.join(" "),
        locked_tags=pl.lit(None, pl.String),
        fav_count="fav_count",
        file_ext="ext",
        parent_id="parent_id",
        change_seq="change_seq",
        approver_id=pl.lit(12),
        file_size="file_size",
        comment_count=pl.lit(3),
        description=pl.lit(TEXT),
        duration="duration",
        updated_at=stamp,
        is_deleted=export_flag("is_deleted"),
        is_pending=export_flag("is_pending"),
        is_flagged=export_flag("is_flagged"),
        score="score",
        up_score="score",
        down_score=pl.lit(-1),
        is_rating_locked=never,
        is_status_locked=never,
        is_note_locked=never,
    )


def export_flag(name: str) -> pl.Expr:
    """Returns a flag as the export writes it."""
    return pl.when(name).then(pl.lit("t")).otherwise(pl.lit("f"))


@dataclass(frozen=True, slots=True)
class Rules:
    """Which posts the loop passes over, and how it reads their tags."""

    still_formats: frozenset[str]
    young: frozenset[str]
    opt_out: frozenset[str]
    animated: frozenset[str]
    graph: "TagGraph"


def loop(export: Path) -> None:
    """The hobby project's method with this project's rules, written plainly."""
    from pipeline import parquet
    from pipeline.params.sample import Sample
    from pipeline.sample import strategies

    rules = read_rules(export.parent / "data/snapshot")
    tags = parquet.read(export.parent / "data/snapshot/tags.parquet")
    counting = time.monotonic()
    counted = count_tags(export, rules.graph)
    counting = time.monotonic() - counting
    general = set(tags.filter(pl.col("category") == 0)["name"])
    common = [name for name, _ in counted.most_common() if name in general][:1_024]
    rank = {name: number for number, name in enumerate(common)}
    quota = int(strategies.targets(Sample())[0])
    started = time.monotonic()
    posts, picked = pick(export, rules, rank, quota, strategies.MIN_QUOTA_LABELS)
    measured = {
        "seconds": time.monotonic() - started,
        "counting": counting,
        "posts": posts,
        "picked": len(picked),
    }
    print(json.dumps(measured))


def read_rules(snapshot: Path) -> Rules:
    """Reads the rules from the tables of a snapshot."""
    from pipeline import parquet, policy
    from pipeline.tag_graph import TagGraph

    tables = {
        name: parquet.read(snapshot / f"{name}.parquet")
        for name in ("tags", "aliases", "implications")
    }
    names = policy.PolicyTags.read(tables["implications"], tables["aliases"])
    return Rules(
        still_formats=policy.STILL_FORMATS,
        young=names.young,
        opt_out=names.opt_out,
        animated=policy.ANIMATED_TAGS,
        graph=TagGraph.read(**tables),
    )


def pick(
    export: Path, rules: Rules, rank: dict[str, int], quota: int, min_labels: int
) -> tuple[int, list[tuple[str, str, list[int]]]]:
    """The second of two passes.

    A post is picked for the rarest of its labels whose quota is not reached. Returns
    how many posts there are, and the picked ones. rank: of the labels, by count.
    """
    left = [quota] * len(rank)
    picked = []
    posts = 0
    for row in read_export(export):
        posts += 1
        given = allowed_tags(row, rules)
        if not given:
            continue
        tags = with_implied(given, rules.graph)
        labels = [rank[name] for name in tags if name in rank]
        if "comic" in tags or len(labels) < min_labels:
            continue
        for label in sorted(labels, reverse=True):
            if left[label]:
                left[label] -= 1
                picked.append((row["id"], row["md5"], labels))
                break
    return posts, picked


def allowed_tags(row: dict[str, str], rules: Rules) -> list[str]:
    """Returns the tags of a post as typed; none of one that the rules pass over."""
    if row["is_deleted"] == "t" or row["duration"]:
        return []
    if row["file_ext"] not in rules.still_formats:
        return []
    given = row["tag_string"].split(" ")
    if row["rating"] in "qe" and not rules.young.isdisjoint(given):
        return []
    if not rules.opt_out.isdisjoint(given) or not rules.animated.isdisjoint(given):
        return []
    return given


def with_implied(given: list[str], graph: "TagGraph") -> set[str]:
    """Returns the canonical names of tags, and all that they imply."""
    tags = {graph.canonical.get(name, name) for name in given}
    for name in tuple(tags):
        if name in graph.implied:
            tags |= graph.implied[name]
    return tags


def count_tags(export: Path, graph: "TagGraph") -> Counter[str]:
    """The first of two passes.

    How many posts have each tag, without which nobody knows what the quota can
    reach.
    """
    counted: Counter[str] = Counter()
    for row in read_export(export):
        if row["is_deleted"] != "t":
            counted.update(with_implied(row["tag_string"].split(" "), graph))
    return counted


def read_export(export: Path) -> Iterator[dict[str, str]]:
    """Yields the records of an export."""
    csv.field_size_limit(1 << 30)
    with gzip.open(export, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


if __name__ == "__main__":
    main()
