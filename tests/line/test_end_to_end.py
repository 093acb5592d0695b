"""The whole line, as a user runs it.

`dvc repro` in a fresh copy, against a site in a process of its own.

What the gates promise is checked here once more, independently: from the site's own
request log, from the board's ground truth, and from the shards as TensorFlow reads
them.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline import harvest, refresh, sample
from pipeline.download.fetch import ASIDE
from pipeline.params import Params
from pipeline.paths import DATASETS, Paths
from sandbox.board.drawn import SandboxBoard
from tests.builders.project import ROOT, clone_repository

POSTS = 3_000
DATA_STAGES = ("harvest", "sample", "download", "manifest", "shard")

SMALL: dict[str, dict[str, Any]] = {
    "sample": {
        "min_positives": 80,
        "min_eval_positives": 6,
        "size": 900,
        # A gate compares the model with its baselines: enough images to learn from and
        # to evaluate on, even here.
        "split": {"train": 0.7, "validation": 0.15, "test": 0.15},
    },
    "download": {"pack_images": 100, "max_rejected": 0.05},
    "shard": {"shards": 8, "size": 64},
    "train": {
        "size": 48,
        "backbone": {"name": "compact", "widths": [16, 32, 64], "blocks": [1, 1, 1]},
        "epochs": 12,
    },
    "evaluate": {"bootstrap": 20},
}

pytestmark = pytest.mark.timeout(1200)


@dataclass(frozen=True)
class Served:
    """The sandbox in a process of its own, with the log it keeps."""

    base_url: str
    static_url: str
    log: Path

    def pictures(self, since: int = 0) -> list[dict[str, Any]]:
        """Returns the requests for images, from that line of the log on."""
        lines = self.log.read_text().splitlines()[since:] if self.log.exists() else []
        requests = [json.loads(line) for line in lines]
        return [
            one
            for one in requests
            if one["host"] == "static" and "/db_export/" not in one["path"]
        ]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The first posts of the shipped board, served by `python -m sandbox`."""
    log = tmp_path_factory.mktemp("served") / "requests.jsonl"
    command = [
        sys.executable,
        "-u",
        "-m",
        "sandbox",
        "--port",
        "0",
        "--posts",
        str(POSTS),
        "--log",
        str(log),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    urls: list[str] = []
    while len(urls) < 2:
        line = process.stdout.readline()
        assert line, "the sandbox ended before it served"
        urls += [
            word.rstrip(".,")
            for word in line.split()
            if word.startswith("http://127.0.0.1")
        ]
    yield Served(urls[0], urls[1], log)
    process.send_signal(signal.SIGINT)
    process.wait(30)
    process.stdout.close()


def environment() -> dict[str, str]:
    """The shell of a user who activated the virtual environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}


def fresh_copy(folder: Path, served: Served) -> Path:
    """Copies what git tracks, or would, into a new repository.

    It gets small parameters and a pin of the served site.
    """
    clone_repository(
        folder, SMALL, base_url=served.base_url, static_url=served.static_url
    )
    subprocess.run(
        [sys.executable, "-m", "pipeline", "refresh"],
        cwd=folder,
        env=environment(),
        check=True,
    )
    return folder


def dvc(folder: Path, *arguments: str) -> str:
    result = subprocess.run(
        ["dvc", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, served: Served) -> Path:
    """A project in which `dvc repro` has run once, from nothing to the report."""
    folder = fresh_copy(tmp_path_factory.mktemp("line"), served)
    dvc(folder, "repro")
    return folder


def test_line_ends_with_bundle_and_report(line: Path) -> None:
    bundle = {path.name for path in (line / "data" / "bundle").iterdir()}
    assert {
        "model.onnx",
        "selected_tags.csv",
        "thresholds.csv",
        "README.md",
        "lineage.json",
    } <= bundle
    assert (line / "reports" / "index.html").stat().st_size > 50_000
    metrics = json.loads((line / "data" / "evaluation" / "metrics.json").read_text())
    macro_auc = metrics["splits"]["test"]["macro_auc"]
    assert macro_auc["value"] > 0.5 == macro_auc["baseline"]
    verdicts = {}
    for path in (line / "data" / "gates").glob("*/verdict.json"):
        verdicts[path.parent.name] = json.loads(path.read_text())["success"]
    assert verdicts == dict.fromkeys(DATASETS, True)


def test_parquet_files_hold_their_version_and_no_descriptions(line: Path) -> None:
    found = sorted((line / "data").rglob("*.parquet"))
    assert len(found) > 30
    for path in found:
        stored = pq.read_schema(path)
        assert stored.metadata[b"schema_version"] == b"2", path
        assert all(column.metadata is None for column in stored), path


def test_nothing_changed_means_nothing_runs_and_no_request(
    line: Path, served: Served
) -> None:
    asked = len(served.log.read_text().splitlines())
    assert "Running stage" not in dvc(line, "repro")
    assert len(served.log.read_text().splitlines()) == asked


def test_no_forbidden_post_was_ever_requested(line: Path, served: Served) -> None:
    board = SandboxBoard(posts=POSTS)
    young = {"young"}
    for _ in range(10):
        young |= {
            one.antecedent_name
            for one in board.implications
            if one.status == "active" and one.consequent_name in young
        }
    posts = {post.md5: post for post in board.posts}
    requests = served.pictures()
    assert len(requests) > 150
    for request in requests:
        post = posts[Path(request["path"]).stem]
        assert not post.is_deleted
        assert post.rating == "s" or not young & set(post.tags)
        assert post.rating == "s"  # the shipped ratings
        assert not {"avoid_posting", "conditional_dnp"} & {
            *post.tags,
            *post.locked_tags,
        }
        assert post.ext in {"jpg", "png", "webp"}
        assert "e6tag/" in request["agent"]


def test_shards_hold_what_the_board_says_as_tensorflow_reads_them(line: Path) -> None:
    script = (
        "import os; os.environ['TF_CPP_MIN_LOG_LEVEL']='3'\n"
        "import json, sys, tensorflow as tf\n"
        "spec={'post_id':tf.io.FixedLenFeature([],tf.int64),"
        "'md5':tf.io.FixedLenFeature([],tf.string),"
        "'labels':tf.io.VarLenFeature(tf.int64),'jpeg':tf.io.FixedLenFeature([],"
        "tf.string)}\n"
        "for path in sys.argv[1:]:\n"
        "    for record in tf.data.TFRecordDataset(path):\n"
        "        one=tf.io.parse_single_example(record,spec)\n"
        "        print(json.dumps([path.rsplit('/',1)[1], int(one['post_id']), "
        "one['md5'].numpy().decode(),"
        " list(tf.io.decode_jpeg(one['jpeg']).shape), "
        "tf.sparse.to_dense(one['labels']).numpy().tolist()]))\n"
    )
    paths = sorted((line / "data" / "shards").glob("*.tfrecord"))
    result = subprocess.run(
        [sys.executable, "-c", script, *paths],
        capture_output=True,
        text=True,
        check=True,
    )
    records = [json.loads(one) for one in result.stdout.splitlines()]
    names = pl.read_parquet(line / "data" / "sample" / "vocabulary.parquet")[
        "name"
    ].to_list()
    board = SandboxBoard(posts=POSTS)
    posts = {post.id: post for post in board.posts}
    positives: Counter[str] = Counter()
    true, total = 0, 0
    for shard, post_id, md5, shape, labels in records:
        given = {names[label] for label in labels}
        assert posts[post_id].md5 == md5
        assert shape == [64, 64, 3]
        assert given >= set(posts[post_id].tags) & set(names)
        positives.update(given if shard.startswith("train-") else ())
        total += len(given)
        true += len(given & board.truth(post_id))
    assert min(positives[name] for name in names) >= SMALL["sample"]["min_positives"]
    # Annotators err, but seldom by adding a wrong tag.
    assert true / total > 0.95
    assert len({record[1] for record in records}) == len(records) > 150


def test_line_killed_while_it_downloads_and_while_it_shards_ends_with_the_same_hashes(
    line: Path, served: Served, tmp_path: Path
) -> None:
    folder = fresh_copy(tmp_path / "killed", served)
    since = len(served.log.read_text().splitlines())

    def run_and_kill(when: Any) -> bool:
        process = subprocess.Popen(
            ["dvc", "repro", "shard"], cwd=folder, env=environment(),
            start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while process.poll() is None and not when():
            time.sleep(0.005)
        killed = process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return killed

    assert run_and_kill(lambda: len(served.pictures(since)) > 40)
    assert run_and_kill(lambda: len(served.pictures(since)) > 120)
    assert run_and_kill(lambda: list((folder / "data" / "shards").glob("train-*")))
    dvc(folder, "repro", "shard")
    locks = [
        yaml.safe_load((one / "dvc.lock").read_text())["stages"]
        for one in (line, folder)
    ]
    for stage in DATA_STAGES:
        assert locks[0][stage]["outs"] == locks[1][stage]["outs"], stage
    delivered = Counter(one["path"] for one in served.pictures(since))
    in_flight = 2 * (
        32 + ASIDE
    )  # two kills while downloading, site.concurrency requests under way at each
    assert sum(delivered.values()) - len(delivered) <= in_flight


def test_every_tag_has_512_positives_on_the_shipped_board(tmp_path: Path) -> None:
    params, paths = Params(), Paths(tmp_path)
    refresh.run(params, paths)
    assert paths.pin.read_bytes() == (ROOT / "snapshot.json").read_bytes(), (
        "the shipped pin is not the board's day 1"
    )
    harvest.run(params.harvest, paths, site=params.site)
    sample.run(params.sample, paths)
    vocabulary = pl.read_parquet(paths.sample / "vocabulary.parquet")
    posts = pl.read_parquet(paths.sample / "posts.parquet").filter(
        pl.col("split") == "train"
    )
    counts = posts["label_ids"].explode().value_counts()
    assert vocabulary.height >= 45
    assert counts.height == vocabulary.height
    assert counts["count"].min() >= 512
