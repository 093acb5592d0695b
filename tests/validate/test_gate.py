"""The gates on small datasets written by hand: what all of them do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import validate
from pipeline.errors import BadParameter, CorruptFile, GateFailed
from pipeline.params import Params
from pipeline.paths import DATASETS, Paths
from pipeline.schemas.manifest import MANIFEST
from pipeline.schemas.sample import SAMPLED_POSTS
from pipeline.validate import dataset_files, gate, rows
from tests.builders.project import ROOT
from tests.builders.tables import PARAMS, change, md5
from tests.validate.edits import (
    Edit,
    record,
    rejected_records,
    removed,
    snapshot_post,
    unknown_tags,
)
from tests.validate.gates import GX_WARNINGS, expectations, failed, page

pytestmark = GX_WARNINGS


def outputs(paths: Paths, dataset: str) -> tuple[bytes, str]:
    """Returns the verdict and the page of a gate that fails."""
    with pytest.raises(GateFailed):
        validate.run(dataset, PARAMS, paths)
    return paths.verdict(dataset).read_bytes(), page(paths, dataset)


@pytest.mark.parametrize("dataset", DATASETS)
def test_good_datasets_pass_their_gates(
    paths: Paths, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    validate.run(dataset, PARAMS, paths)

    assert json.loads(paths.verdict(dataset).read_text())["success"]
    assert failed(paths, dataset) == set()
    for each in expectations(paths, dataset):
        assert each["description"]
        assert each["severity"] in ("critical", "warning")
    total = len(expectations(paths, dataset))
    line = f"validate {dataset}: {total} of {total} expectations hold\n"
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_measured_table_and_every_file_has_checks(
    good: Paths, dataset: str
) -> None:
    rules = gate.RULES[dataset]
    for table in rules.measure(PARAMS, good):
        assert table.checks, table.name
        for check in table.checks:
            assert set(check.columns) <= set(table.rows.columns), table.name
    assert set(rules.row_checks(PARAMS, 3)) == set(dataset_files.PARQUET[dataset])


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_counted_rule_is_a_column_of_findings(good: Paths, dataset: str) -> None:
    findings = gate.RULES[dataset].measure(PARAMS, good)[0]
    names = [name for check in findings.checks for name in check.columns]

    assert findings.rows.columns == names
    assert len(set(names)) == len(names)
    assert all(check.violations is not None for check in findings.checks)


def test_offending_rows_are_printed_with_their_ids_at_most_five(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    change(
        paths.manifest / "train.parquet",
        lambda records: records.with_columns(rating=pl.lit("e")),
        MANIFEST,
    )
    message = (
        r"expect_column_values_to_be_in_set on train\.parquet: rating failed, 15 of 15"
    )
    with pytest.raises(GateFailed, match=message):
        validate.run("manifest", PARAMS, paths)

    blocks = capsys.readouterr().err.split("validate manifest: ")
    (block,) = [block for block in blocks if "column train.parquet: rating" in block]
    printed = [line for line in block.splitlines() if line.startswith("    ")]
    assert "15 of 15 unexpected" in block
    assert len(printed) == 5
    first = ["post_id=1", f"md5={md5(1)}", "split=train", "rating=e"]
    assert printed[0].split() == first


def test_a_warning_is_reported_and_the_gate_passes(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot_post(3, tags=["hat", "never_seen"])(paths)
    unknown_tags({"name": "never_seen", "posts": 1})(paths)
    validate.run("snapshot", PARAMS, paths)

    assert failed(paths, "snapshot") == {("findings", "unknown_tag")}
    assert json.loads(paths.verdict("snapshot").read_text())["success"]
    printed = capsys.readouterr().err
    assert "validate snapshot: warning: every tag on a post" in printed
    assert "46 of 47 expectations hold, 1 warnings\n" in printed


def cut_short(paths: Paths) -> None:
    path = paths.sample / "posts.parquet"
    path.write_bytes(path.read_bytes()[:-100])


def without_md5(paths: Paths) -> None:
    path = paths.snapshot / "posts.parquet"
    pq.write_table(pq.read_table(path).drop_columns("md5"), path)


def with_another_column(paths: Paths) -> None:
    path = paths.sample / "excluded_posts.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("more", table["post_id"]), path)


def with_int32_ids(paths: Paths) -> None:
    path = paths.sample / "posts.parquet"
    table = pq.read_table(path)
    number = table.schema.get_field_index("post_id")
    field = table.schema.field(number).with_type(pa.int32())
    pq.write_table(table.cast(table.schema.set(number, field)), path)


def with_nullable_md5(paths: Paths) -> None:
    path = paths.sample / "posts.parquet"
    table = pq.read_table(path)
    number = table.schema.get_field_index("md5")
    field = table.schema.field(number).with_nullable(nullable=True)
    pq.write_table(table.cast(table.schema.set(number, field)), path)


@pytest.mark.parametrize(
    ("edit", "state"),
    [
        pytest.param(removed("sample/posts.parquet"), "not there", id="missing"),
        pytest.param(cut_short, "cannot be read", id="corrupt"),
        pytest.param(
            without_md5, "column md5 is missing", id="no column, compared dataset"
        ),
        pytest.param(
            with_another_column, "column more is not declared", id="extra column"
        ),
        pytest.param(
            with_int32_ids,
            "column post_id is int32 not null, declared int64 not null",
            id="wrong type",
        ),
        pytest.param(
            with_nullable_md5,
            "column md5 is string, declared string not null",
            id="nulls allowed",
        ),
    ],
)
def test_a_file_that_is_not_as_declared_is_named_and_nothing_else_is_checked(
    paths: Paths, edit: Edit, state: str
) -> None:
    edit(paths)
    message = r"gate sample: .* on files: state failed, 1 of 15 unexpected"
    with pytest.raises(GateFailed, match=message):
        validate.run("sample", PARAMS, paths)

    assert failed(paths, "sample") == {("files", "state")}
    assert len(expectations(paths, "sample")) == 1
    assert state in page(paths, "sample")


def damage_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4:40] = bytes(36)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["rejected", "posts"])
def test_a_file_whose_pages_are_damaged_is_named(paths: Paths, name: str) -> None:
    path = paths.snapshot / f"{name}.parquet"
    rejected_records(1)(paths)
    damage_pages(path)
    with pytest.raises(CorruptFile, match=rf"{name}\.parquet cannot be read"):
        validate.run("snapshot", PARAMS, paths)


def test_a_damaged_file_is_named_without_loading_other_tables_whole(
    paths: Paths,
) -> None:
    numbers = np.random.default_rng(0).integers(1 << 60, size=2_000_000)
    large = pa.table({"scores": numbers})
    place = paths.evaluation / "predictions.parquet"
    pq.write_table(large, place, row_group_size=50_000, compression="zstd")
    damage_pages(paths.snapshot / "posts.parquet")
    code = (
        "import pyarrow as pa\n"
        "from pipeline import validate\n"
        "from pipeline.errors import CorruptFile\n"
        "from pipeline.paths import Paths\n"
        "from tests.builders.tables import PARAMS\n"
        "try:\n"
        "    validate.run('snapshot', PARAMS, Paths())\n"
        "except CorruptFile as error:\n"
        "    print(error)\n"
        "print(pa.default_memory_pool().max_memory())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=paths.root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    message, peak = done.stdout.splitlines()
    assert "posts.parquet cannot be read" in message
    assert int(peak) < large.nbytes / 2


def test_verdict_and_page_are_the_same_on_every_run(paths: Paths) -> None:
    record("test", 30, md5=md5(3))(paths)

    assert outputs(paths, "manifest") == outputs(paths, "manifest")


@pytest.mark.parametrize("size", [9, 20])
def test_chunks_give_the_same_verdict_as_the_whole(
    paths: Paths, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(
        paths.sample / "posts.parquet",
        lambda posts: posts.with_columns(ext=pl.lit("gif")),
        SAMPLED_POSTS,
    )
    whole = outputs(paths, "sample")
    monkeypatch.setattr(rows, "CHUNK", size)

    assert outputs(paths, "sample") == whole
    assert ("posts.parquet", "ext") in failed(paths, "sample")


def test_promised_positives_follow_the_parameters(paths: Paths) -> None:
    sample = PARAMS.sample.model_copy(update={"min_positives": 9})
    params: Params = PARAMS.model_copy(update={"sample": sample})
    with pytest.raises(GateFailed, match=r"train_positives.*raise sample\.reserve"):
        validate.run("manifest", params, paths)


def test_an_unknown_dataset_is_rejected(paths: Paths) -> None:
    gates = r"Gates: snapshot, sample, manifest, shards, evaluation, mining, bundle"
    with pytest.raises(BadParameter, match=gates):
        validate.run("images", PARAMS, paths)


@pytest.mark.parametrize("module", ["", ".gate", ".page", ".verdict"])
def test_great_expectations_is_not_imported_before_a_gate_runs(module: str) -> None:
    heavy = {"great_expectations", "pandas", "tensorflow"}
    code = f"import sys, pipeline.validate{module}; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
