"""The gates on small datasets written by hand: good ones pass, each way to break one fails the rule meant for it."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import parquet, validate
from pipeline.errors import BadParameter, CorruptFile, GateFailed
from pipeline.params import Params
from pipeline.paths import DATASETS, Paths
from pipeline.schemas.evaluation import PER_TAG, PREDICTIONS
from pipeline.schemas.images import TAKEDOWNS
from pipeline.schemas.manifest import LEAKAGE, MANIFEST
from pipeline.schemas.sample import (
    ANOMALIES,
    CO_OCCURRENCE,
    MISSING_IMPLICATIONS,
    SAMPLED_POSTS,
    STRATEGIES,
    VOCABULARY,
)
from pipeline.schemas.shards import SHARDS
from pipeline.schemas.snapshot import POSTS, SNAPSHOT_REJECTED, TAGS, UNKNOWN_TAGS
from tests.builders import tables
from tests.builders.tables import PARAMS, change, md5, set_value

# Great Expectations and what it imports warn of their own future; our code is still held to none in all other modules.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]

Break = Callable[[Paths], Any]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """All six datasets, good, never changed."""
    paths = Paths(tmp_path_factory.mktemp("good"))
    tables.write_all(paths)
    return paths


@pytest.fixture
def paths(good: Paths, tmp_path: Path) -> Paths:
    """A copy of the good datasets, to break."""
    shutil.copytree(good.root, tmp_path / "project")
    return Paths(tmp_path / "project")


def failed(
    paths: Paths, dataset: str, *, severity: str | None = None
) -> set[tuple[str, str]]:
    """Returns table and column of every expectation that the verdict says does not hold."""
    expectations = json.loads(paths.verdict(dataset).read_text())["expectations"]
    wrong = [
        one
        for one in expectations
        if not one["success"] and severity in (None, one["severity"])
    ]
    return {(one["table"], one["column"]) for one in wrong}


@pytest.mark.parametrize("dataset", DATASETS)
def test_good_datasets_pass_their_gates(
    paths: Paths, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    validate.run(dataset, PARAMS, paths)

    verdict = json.loads(paths.verdict(dataset).read_text())
    assert verdict["success"]
    assert failed(paths, dataset) == set()
    assert all(
        one["description"] and one["severity"] in ("critical", "warning")
        for one in verdict["expectations"]
    )
    assert "expectations hold" in capsys.readouterr().err


@pytest.mark.parametrize("dataset", DATASETS)
def test_everything_measured_is_judged_and_everything_judged_is_measured(
    good: Paths, dataset: str
) -> None:
    from pipeline.validate import dataset_files, gate

    rules = gate.RULES[dataset]
    for table in rules.measure(PARAMS, good):
        assert table.checks, table.name
        for check in table.checks:
            assert set(check.columns) <= set(table.rows.columns), table.name
    assert set(rules.row_checks(PARAMS, 3)) == set(dataset_files.PARQUET[dataset])


def row(
    dataset: str, stem: str, schema: pa.Schema, key: str, at: Any, /, **values: Any
) -> Break:
    """Breaks one row of one file."""
    return lambda paths: set_value(
        getattr(paths, dataset) / f"{stem}.parquet", schema, key, at, **values
    )


def snapshot_post(at: int, **values: Any) -> Break:
    return row("snapshot", "posts", POSTS, "post_id", at, **values)


def sampled(at: int, **values: Any) -> Break:
    return row("sample", "posts", SAMPLED_POSTS, "post_id", at, **values)


def vocabulary(at: int, **values: Any) -> Break:
    return row("sample", "vocabulary", VOCABULARY, "label_id", at, **values)


def record(stem: str, at: int, /, **values: Any) -> Break:
    return row("manifest", stem, MANIFEST, "post_id", at, **values)


def listed(at: str, **values: Any) -> Break:
    return row("shards", "index", SHARDS, "shard", at, **values)


def per_tag(at: int, **values: Any) -> Break:
    return row("evaluation", "per_tag", PER_TAG, "label_id", at, **values)


def all_of(*breaks: Break) -> Break:
    return lambda paths: [one(paths) for one in breaks]


def rows_of(
    dataset: str,
    stem: str,
    schema: pa.Schema,
    edit: Callable[[pl.DataFrame], pl.DataFrame],
) -> Break:
    return lambda paths: change(
        getattr(paths, dataset) / f"{stem}.parquet", edit, schema
    )


def metric(**values: float | None) -> Break:
    def edit(paths: Paths) -> None:
        metrics = json.loads((paths.evaluation / "metrics.json").read_text())
        metrics["test"]["macro_auc"] |= values
        tables.write_json(paths.evaluation / "metrics.json", metrics)

    return edit


def file(name: str, content: bytes) -> Break:
    return lambda paths: (paths.data / name).write_bytes(content)


def removed(name: str) -> Break:
    return lambda paths: (paths.data / name).unlink()


def appended(name: str, content: bytes) -> Break:
    def edit(paths: Paths) -> None:
        with (paths.data / name).open("ab") as opened:
            opened.write(content)

    return edit


def rejected_records(paths: Paths) -> None:
    wrong = [
        {
            "export": "posts",
            "row": 1,
            "reason": "md5 is missing or not valid",
            "value": "id 40",
        }
    ]
    parquet.write(paths.snapshot / "rejected.parquet", wrong, SNAPSHOT_REJECTED)


def unknown_tags(*rows: tables.Row) -> Break:
    return lambda paths: parquet.write(
        paths.snapshot / "unknown_tags.parquet", list(rows), UNKNOWN_TAGS
    )


def taken_down(post_id: int) -> Break:
    row = {
        "md5": md5(post_id),
        "post_id": post_id,
        "reason": "deleted",
        "snapshot": "2026-07-02",
    }
    return lambda paths: parquet.write(
        paths.images / "takedowns.parquet", [row], TAKEDOWNS
    )


def all_withheld(paths: Paths) -> None:
    posts = paths.snapshot / "posts.parquet"
    change(
        posts,
        lambda rows: rows.with_columns(is_withheld=pl.lit(value=True)),
        POSTS,
    )


def told(at: str, **values: Any) -> Break:
    return row("sample", "strategies", STRATEGIES, "strategy", at, **values)


def distance(at: int, **values: Any) -> Break:
    return row("manifest", "leakage", LEAKAGE, "distance", at, **values)


SHARD = "train-00000-of-00002.tfrecord"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01"

BROKEN = [
    pytest.param(
        "snapshot",
        "posts.parquet",
        "md5",
        snapshot_post(3, md5="XYZ"),
        id="md5 that is none",
    ),
    pytest.param(
        "snapshot",
        "posts.parquet",
        "rating",
        snapshot_post(3, rating="g"),
        id="unknown rating",
    ),
    pytest.param(
        "snapshot",
        "posts.parquet",
        "tags:blank",
        snapshot_post(3, tags=["two words"]),
        id="tag with a space",
    ),
    pytest.param(
        "snapshot",
        "tags.parquet",
        "category",
        row("snapshot", "tags", TAGS, "tag_id", 2, category=9),
        id="tenth category",
    ),
    pytest.param(
        "snapshot",
        "findings",
        "tag_name_twice",
        row("snapshot", "tags", TAGS, "tag_id", 2, name="fox"),
        id="tag given twice",
    ),
    pytest.param(
        "snapshot",
        "findings",
        "post_id_twice",
        rows_of(
            "snapshot",
            "posts",
            POSTS,
            lambda posts: pl.concat([posts, posts.tail(1)]),
        ),
        id="post given twice",
    ),
    pytest.param(
        "snapshot",
        "findings",
        "posts_out_of_order",
        rows_of("snapshot", "posts", POSTS, lambda posts: posts.reverse()),
        id="posts in another order",
    ),
    pytest.param(
        "snapshot",
        "findings",
        "unknown_tags_differ",
        unknown_tags({"name": "hat", "posts": 1}),
        id="known as unknown",
    ),
    pytest.param(
        "snapshot",
        "findings",
        "unknown_tags_differ",
        snapshot_post(3, tags=["new"]),
        id="unknown not told",
    ),
    pytest.param(
        "snapshot",
        "figures",
        "visible_posts",
        all_withheld,
        id="a site that gives no file",
    ),
    pytest.param(
        "snapshot",
        "figures",
        "unreadable_share",
        rejected_records,
        id="more than 1 % unreadable",
    ),
    pytest.param(
        "sample",
        "findings",
        "deleted_post",
        snapshot_post(8, is_deleted=True),
        id="deleted post sampled",
    ),
    pytest.param(
        "sample",
        "findings",
        "withheld_post",
        snapshot_post(8, is_withheld=True),
        id="withheld post sampled",
    ),
    pytest.param(
        "sample",
        "findings",
        "vanished_post",
        sampled(8, post_id=99),
        id="post sampled that is gone",
    ),
    pytest.param(
        "sample",
        "findings",
        "replaced_post",
        snapshot_post(8, md5=md5(99)),
        id="replaced file sampled",
    ),
    pytest.param(
        "sample",
        "findings",
        "forbidden_young",
        all_of(
            snapshot_post(8, rating="q", tags=["fawn", "fox"]), sampled(8, rating="q")
        ),
        id="q post sampled whose tag implies young",
    ),
    pytest.param(
        "sample",
        "findings",
        "opted_out",
        snapshot_post(8, locked_tags=["avoid_posting"]),
        id="opt-out sampled",
    ),
    pytest.param(
        "sample",
        "findings",
        "moving_picture",
        snapshot_post(8, duration=2.5),
        id="animation sampled",
    ),
    pytest.param(
        "sample", "posts.parquet", "ext", sampled(8, ext="gif"), id="gif sampled"
    ),
    pytest.param(
        "sample",
        "posts.parquet",
        "rating",
        sampled(8, rating="e"),
        id="rating that was not asked for",
    ),
    pytest.param(
        "sample",
        "posts.parquet",
        "label_ids:max",
        sampled(8, label_ids=[0, 3]),
        id="label beyond the vocabulary",
    ),
    pytest.param(
        "sample",
        "posts.parquet",
        "label_ids:ascending",
        sampled(8, label_ids=[1, 0]),
        id="labels out of order",
    ),
    pytest.param(
        "sample",
        "posts.parquet",
        "given_ids:foreign",
        sampled(8, given_ids=[2]),
        id="given but no label",
    ),
    pytest.param(
        "sample",
        "findings",
        "labels_differ",
        sampled(8, label_ids=[1]),
        id="implied label missing",
    ),
    pytest.param(
        "sample",
        "findings",
        "given_ids_differ",
        sampled(8, given_ids=[0, 1]),
        id="implied label as given",
    ),
    pytest.param(
        "sample",
        "findings",
        "group_in_two_splits",
        sampled(30, group_id=2),
        id="family in two splits",
    ),
    pytest.param(
        "sample",
        "findings",
        "parted_family",
        snapshot_post(30, parent_id=28),
        id="child without its family",
    ),
    pytest.param(
        "sample",
        "vocabulary.parquet",
        "train_positives",
        vocabulary(1, train_positives=3),
        id="too few claimed",
    ),
    pytest.param(
        "sample",
        "tags",
        "train_positives",
        vocabulary(1, train_positives=9),
        id="more claimed than held",
    ),
    pytest.param(
        "sample",
        "findings",
        "tag_unknown",
        vocabulary(1, tag_id=77),
        id="tag the site does not have",
    ),
    pytest.param(
        "sample",
        "findings",
        "policy_tag",
        vocabulary(1, name="fawn"),
        id="young in the vocabulary",
    ),
    pytest.param(
        "sample",
        "findings",
        "taken_for_no_label",
        sampled(8, taken_for=2),
        id="taken for a tag of others",
    ),
    pytest.param(
        "sample",
        "posts.parquet",
        "taken_for",
        sampled(8, taken_for=3),
        id="taken for no tag",
    ),
    pytest.param(
        "sample",
        "chosen",
        "posts",
        told("sample", posts=31),
        id="sample compared that is another",
    ),
    pytest.param(
        "sample",
        "chosen",
        "least_positives",
        told("sample", least_positives=9),
        id="positives overtold",
    ),
    pytest.param(
        "sample",
        "chosen",
        "median_positives",
        told("sample", median_positives=8.5),
        id="median of others",
    ),
    pytest.param(
        "sample",
        "strategies.parquet",
        "total_variation",
        told("quota", total_variation=1.5),
        id="distance",
    ),
    pytest.param(
        "sample",
        "findings",
        "strategy_missing",
        told("quota", is_chosen=True),
        id="two strategies chosen",
    ),
    pytest.param(
        "sample",
        "findings",
        "strategy_missing",
        told("quota", strategy="cover"),
        id="a strategy lacks",
    ),
    pytest.param(
        "sample",
        "lacking_implied.parquet",
        "share",
        row(
            "sample",
            "lacking_implied",
            MISSING_IMPLICATIONS,
            "antecedent",
            "fox",
            share=1.25,
        ),
        id="more lack than have",
    ),
    pytest.param(
        "sample",
        "findings",
        "pair_unknown",
        row(
            "sample",
            "co_occurrence",
            CO_OCCURRENCE,
            "lift",
            0.25,
            second="scarf",
        ),
        id="pair with a tag that is not learnt",
    ),
    pytest.param(
        "sample",
        "oddities.parquet",
        "kind",
        row("sample", "oddities", ANOMALIES, "subject", "7", kind="strange"),
        id="oddity of no kind",
    ),
    pytest.param(
        "manifest",
        "distances",
        "nearest",
        distance(4, nearest=1),
        id="test picture without a nearest one",
    ),
    pytest.param(
        "manifest",
        "distances",
        "distances",
        rows_of("manifest", "leakage", LEAKAGE, lambda rows: rows.head(64)),
        id="a distance lacks",
    ),
    pytest.param(
        "manifest",
        "leakage.parquet",
        "distance",
        distance(4, distance=66),
        id="more bits than a hash has",
    ),
    pytest.param(
        "manifest",
        "findings",
        "md5_in_two_splits",
        record("test", 30, md5=md5(3)),
        id="md5 in two splits",
    ),
    pytest.param(
        "manifest",
        "findings",
        "group_in_two_splits",
        record("test", 30, group_id=3),
        id="family spans splits",
    ),
    pytest.param(
        "manifest",
        "findings",
        "not_in_sample",
        record("test", 30, post_id=99),
        id="record not sampled",
    ),
    pytest.param(
        "manifest",
        "findings",
        "differs_from_sample",
        record("test", 30, label_ids=[0]),
        id="labels changed",
    ),
    pytest.param(
        "manifest",
        "test.parquet",
        "rating",
        record("test", 30, rating="q"),
        id="rating changed",
    ),
    pytest.param(
        "manifest",
        "test.parquet",
        "split",
        record("test", 30, split="train"),
        id="split of another file",
    ),
    pytest.param(
        "manifest",
        "findings",
        "lost_post",
        rows_of(
            "manifest",
            "test",
            MANIFEST,
            lambda rows: rows.filter(pl.col("post_id") != 30),
        ),
        id="post lost without a reason",
    ),
    pytest.param(
        "manifest",
        "tags",
        "train_positives",
        rows_of("manifest", "train", MANIFEST, lambda rows: rows.head(6)),
        id="too few positives after rejects",
    ),
    pytest.param(
        "manifest",
        "lineage",
        "lineage",
        lambda paths: parquet.write(
            paths.manifest / "test.parquet",
            parquet.read(paths.manifest / "test.parquet"),
            MANIFEST,
        ),
        id="no lineage",
    ),
    pytest.param(
        "manifest",
        "findings",
        "taken_down",
        taken_down(3),
        id="record of a picture taken down",
    ),
    pytest.param(
        "manifest",
        "findings",
        "pack_taken_down",
        taken_down(3),
        id="picture taken down, in its pack",
    ),
    pytest.param(
        "manifest",
        "findings",
        "pack_forbidden",
        snapshot_post(8, is_deleted=True),
        id="pack of a deleted post",
    ),
    pytest.param(
        "manifest",
        "findings",
        "pack_forbidden",
        snapshot_post(8, is_withheld=True),
        id="pack of withheld post",
    ),
    pytest.param(
        "manifest",
        "findings",
        "pack_forbidden",
        snapshot_post(8, md5=md5(99)),
        id="pack of a replaced file",
    ),
    pytest.param(
        "manifest",
        "findings",
        "pack_forbidden",
        snapshot_post(8, rating="e", tags=["fawn"]),
        id="pack of a post that became young",
    ),
    pytest.param(
        "manifest",
        "findings",
        "pack_forbidden",
        snapshot_post(8, locked_tags=["conditional_dnp"]),
        id="pack of an opt-out",
    ),
    pytest.param(
        "manifest",
        "findings",
        "pack_forbidden",
        snapshot_post(8, tags=["animated"]),
        id="pack of an animation",
    ),
    pytest.param(
        "manifest",
        "files",
        "state",
        removed("images/takedowns.parquet"),
        id="no table of takedowns",
    ),
    pytest.param(
        "shards",
        "shards",
        "sha256",
        listed(SHARD, sha256="0" * 64),
        id="checksum of another file",
    ),
    pytest.param(
        "shards",
        "shards",
        "bytes",
        appended(f"shards/{SHARD}", b"more"),
        id="shard with a tail",
    ),
    pytest.param(
        "shards", "shards", "records", listed(SHARD, records=9), id="records miscounted"
    ),
    pytest.param(
        "shards", "shards", "sha256", removed(f"shards/{SHARD}"), id="shard gone"
    ),
    pytest.param(
        "shards",
        "findings",
        "unlisted_shard",
        file("shards/old-00000-of-00001.tfrecord", b""),
        id="stray shard",
    ),
    pytest.param(
        "shards",
        "tags",
        "train",
        listed(SHARD, label_counts=[9, 3, 0]),
        id="labels miscounted",
    ),
    pytest.param(
        "shards",
        "index.parquet",
        "label_counts:length",
        listed(SHARD, label_counts=[3, 3]),
        id="a tag forgotten",
    ),
    pytest.param(
        "shards",
        "findings",
        "not_in_manifest",
        rows_of(
            "manifest",
            "train",
            MANIFEST,
            lambda rows: rows.filter(pl.col("post_id") != 2),
        ),
        id="record of a post that was taken down",
    ),
    pytest.param(
        "evaluation",
        "headline",
        "value",
        metric(value=0.48),
        id="AUC below the image-blind baseline",
    ),
    pytest.param(
        "evaluation",
        "findings",
        "metric_undefined",
        metric(value=None),
        id="metric that is no number",
    ),
    pytest.param(
        "evaluation",
        "figures",
        "macro_auc_gap",
        metric(value=0.9),
        id="macro AUC that is not the mean",
    ),
    pytest.param(
        "evaluation",
        "findings",
        "auc_differs",
        per_tag(1, auc=0.7),
        id="AUC not that of the predictions",
    ),
    pytest.param(
        "evaluation",
        "findings",
        "tag_missing",
        per_tag(1, name="wolf"),
        id="tag renamed",
    ),
    pytest.param(
        "evaluation",
        "predictions.parquet",
        "split",
        row(
            "evaluation",
            "predictions",
            PREDICTIONS,
            "post_id",
            30,
            split="train",
        ),
        id="prediction of a training picture",
    ),
    pytest.param(
        "evaluation",
        "predictions.parquet",
        "scores:undefined",
        row(
            "evaluation",
            "predictions",
            PREDICTIONS,
            "post_id",
            30,
            scores=[0.5, float("nan"), 0.5],
        ),
        id="score that is no number",
    ),
    pytest.param(
        "bundle",
        "files",
        "state",
        removed("bundle/selected_tags.csv"),
        id="file missing in the bundle",
    ),
    pytest.param(
        "bundle",
        "findings",
        "picture",
        file("bundle/a.jpg", JPEG),
        id="picture in the bundle",
    ),
    pytest.param(
        "bundle",
        "findings",
        "picture",
        appended("bundle/model.onnx", JPEG),
        id="picture inside the model",
    ),
    pytest.param(
        "bundle",
        "findings",
        "picture",
        appended("bundle/model_card.md", b"![](data:image/png;base64,AA)"),
        id="picture as text",
    ),
    pytest.param(
        "bundle",
        "findings",
        "tag_differs",
        file("bundle/selected_tags.csv", b"name\nfox\ncanine\nhat\n"),
        id="tags reordered",
    ),
    pytest.param(
        "bundle",
        "findings",
        "threshold_missing",
        file("bundle/thresholds.csv", b"name,threshold\ncanine,0.5\nfox,2\n"),
        id="threshold 2",
    ),
    pytest.param(
        "bundle",
        "findings",
        "model_differs",
        file("bundle/model.onnx", b"another"),
        id="model of another run",
    ),
    pytest.param(
        "bundle",
        "findings",
        "lineage_missing",
        file("bundle/lineage.json", b"{}"),
        id="no lineage in the bundle",
    ),
]


@pytest.mark.parametrize(("dataset", "table", "column", "broken"), BROKEN)
def test_each_broken_dataset_fails_the_rule_meant_for_it(
    paths: Paths,
    dataset: str,
    table: str,
    column: str,
    broken: Break,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken(paths)
    with pytest.raises(
        GateFailed, match=rf"^gate {dataset}: expect_\w+ on .*index\.html"
    ):
        validate.run(dataset, PARAMS, paths)

    assert (table, column) in failed(paths, dataset, severity="critical")
    assert not json.loads(paths.verdict(dataset).read_text())["success"]
    printed = capsys.readouterr().err
    assert f"column {table}: {column}\n" in printed
    assert "failed" in (paths.data_docs(dataset) / "index.html").read_text()


def test_offending_rows_are_printed_with_their_ids_at_most_five(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    change(
        paths.manifest / "train.parquet",
        lambda rows: rows.with_columns(rating=pl.lit("e")),
        MANIFEST,
    )
    with pytest.raises(
        GateFailed,
        match=r"expect_column_values_to_be_in_set on train\.parquet: rating failed, 15 of 15",
    ):
        validate.run("manifest", PARAMS, paths)

    blocks = capsys.readouterr().err.split("validate manifest: ")
    (block,) = [block for block in blocks if "column train.parquet: rating" in block]
    rows = [line for line in block.splitlines() if line.startswith("    ")]
    assert "15 of 15 unexpected" in block
    assert len(rows) == 5
    assert rows[0].split() == ["post_id=1", f"md5={md5(1)}", "split=train", "rating=e"]


def test_a_warning_is_noted_and_does_not_stop_the_line(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot_post(3, tags=["hat", "never_seen"])(paths)
    unknown_tags({"name": "never_seen", "posts": 1})(paths)
    validate.run("snapshot", PARAMS, paths)

    assert failed(paths, "snapshot") == {("findings", "unknown_tag")}
    assert json.loads(paths.verdict("snapshot").read_text())["success"]
    assert "validate snapshot: warning: every tag" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "state"),
    [
        pytest.param("sample/posts.parquet", "not there", id="missing"),
        pytest.param("sample/posts.parquet", "cannot be read", id="corrupt"),
        pytest.param(
            "snapshot/posts.parquet",
            "column md5 is missing",
            id="without a column, beside",
        ),
        pytest.param(
            "sample/posts.parquet",
            "column post_id is int32 not null, declared int64 not null",
            id="wrong type",
        ),
        pytest.param(
            "sample/posts.parquet",
            "column md5 is string, declared string not null",
            id="nulls allowed",
        ),
    ],
)
def test_a_file_that_is_not_as_declared_is_named_and_nothing_else_is_judged(
    paths: Paths, name: str, state: str
) -> None:
    path = paths.data / name
    table = pq.read_table(path)
    if state == "not there":
        path.unlink()
    elif state == "cannot be read":
        path.write_bytes(path.read_bytes()[:-100])
    elif "missing" in state:
        pq.write_table(table.drop_columns("md5"), path)
    else:
        number = table.schema.get_field_index("post_id" if "int32" in state else "md5")
        field = table.schema.field(number)
        kind = (
            field.with_type(pa.int32())
            if "int32" in state
            else field.with_nullable(nullable=True)
        )
        pq.write_table(table.cast(table.schema.set(number, kind)), path)
    with pytest.raises(
        GateFailed, match=r"gate sample: .* on files: state failed, 1 of 15 unexpected"
    ):
        validate.run("sample", PARAMS, paths)

    assert failed(paths, "sample") == {("files", "state")}
    assert state in (paths.data_docs("sample") / "index.html").read_text()


@pytest.mark.parametrize("name", ["rejected", "posts"])
def test_a_file_whose_pages_are_damaged_is_named(paths: Paths, name: str) -> None:
    path = paths.snapshot / f"{name}.parquet"
    rejected_records(paths)
    content = bytearray(path.read_bytes())
    content[4:40] = bytes(36)
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptFile, match=rf"{name}\.parquet cannot be read"):
        validate.run("snapshot", PARAMS, paths)


def test_verdict_and_page_are_the_same_on_every_run(paths: Paths) -> None:
    record("test", 30, md5=md5(3))(paths)
    seen = set()
    for _ in range(2):
        with pytest.raises(GateFailed):
            validate.run("manifest", PARAMS, paths)
        seen.add(
            (
                paths.verdict("manifest").read_bytes(),
                (paths.data_docs("manifest") / "index.html").read_bytes(),
            )
        )
    assert len(seen) == 1


@pytest.mark.parametrize("size", [9, 20])
def test_chunks_give_the_same_verdict_as_the_whole(
    paths: Paths, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.validate import rows

    change(
        paths.sample / "posts.parquet",
        lambda posts: posts.with_columns(ext=pl.lit("gif")),
        SAMPLED_POSTS,
    )
    seen = set()
    for chunk in (rows.CHUNK, size):
        monkeypatch.setattr(rows, "CHUNK", chunk)
        with pytest.raises(GateFailed):
            validate.run("sample", PARAMS, paths)
        seen.add(
            (
                paths.verdict("sample").read_bytes(),
                (paths.data_docs("sample") / "index.html").read_bytes(),
            )
        )
    assert len(seen) == 1
    assert ("posts.parquet", "ext") in failed(paths, "sample")


def test_the_promises_follow_the_parameters(paths: Paths) -> None:
    asks_more = Params.model_validate(
        {
            **PARAMS.model_dump(),
            "sample": {**PARAMS.sample.model_dump(), "min_positives": 9},
        }
    )
    with pytest.raises(GateFailed, match=r"train_positives.*raise sample\.reserve"):
        validate.run("manifest", asks_more, paths)


def test_an_artist_in_two_splits_is_refused_where_parameters_promise_otherwise(
    paths: Paths,
) -> None:
    artists = Params.model_validate(
        {**PARAMS.model_dump(), "manifest": {"group_by_artist": True}}
    )
    row("snapshot", "tags", TAGS, "tag_id", 6, category=1)(
        paths
    )  # unlabelled, on posts of all splits
    validate.run("sample", PARAMS, paths)
    with pytest.raises(
        GateFailed, match=r"findings: artist_in_two_splits failed, 1 of 1 unexpected"
    ):
        validate.run("sample", artists, paths)


def test_gates_and_sample_agree_on_who_is_no_artist() -> None:
    from pipeline.sample import splits
    from pipeline.validate import sample

    assert sample.PSEUDO_ARTISTS == splits.PSEUDO_ARTISTS


def test_the_page_asks_nothing_of_any_host(paths: Paths) -> None:
    record("test", 30, md5=md5(3))(paths)
    with pytest.raises(GateFailed):
        validate.run("manifest", PARAMS, paths)

    page = (paths.data_docs("manifest") / "index.html").read_text()
    assert [path.name for path in paths.data_docs("manifest").iterdir()] == [
        "index.html"
    ]
    assert not re.search(
        r"https?://|//[a-z0-9.-]+\.[a-z]{2,}|<script|<link|<img|<iframe|@import|url\(",
        page,
    )
    assert "values must belong to this set" in page  # Great Expectations' own words
    assert md5(3) in page


def test_text_of_the_site_cannot_become_markup(paths: Paths) -> None:
    snapshot_post(3, tags=["<script>alert(1)</script>"])(paths)
    unknown_tags({"name": "<script>alert(1)</script>", "posts": 1})(paths)
    validate.run("snapshot", PARAMS, paths)

    page = (paths.data_docs("snapshot") / "index.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_an_unknown_dataset_is_refused(paths: Paths) -> None:
    with pytest.raises(
        BadParameter,
        match=r"Gates: snapshot, sample, manifest, shards, evaluation, bundle",
    ):
        validate.run("images", PARAMS, paths)


def test_importing_the_gates_does_not_import_great_expectations() -> None:
    heavy = {"great_expectations", "pandas", "tensorflow"}
    code = f"import sys, pipeline.validate; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
