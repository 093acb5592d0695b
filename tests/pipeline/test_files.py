"""Files are whole or not there, also when the disk is full."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from pipeline import files, parquet
from pipeline.errors import CorruptFile, NoSpace

SCHEMA = pa.schema([pa.field("n", pa.int64(), nullable=False)])


def test_full_disk_is_one_clear_line_and_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "posts.parquet"
    parquet.write(target, [{"n": 1}], SCHEMA)
    (tmp_path / ".posts.parquet.tmp").symlink_to("/dev/full")
    with pytest.raises(
        NoSpace,
        match=r"posts.parquet cannot be written: the disk is full. "
        r"What is finished is kept",
    ):
        parquet.write(target, [{"n": n} for n in range(100_000)], SCHEMA)
    assert pl.read_parquet(target)["n"].to_list() == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["posts.parquet"]


def test_failure_while_writing_leaves_no_file(tmp_path: Path) -> None:
    def fail() -> None:
        with files.open_atomic(tmp_path / "half") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_published_folder_replaces_the_old_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        files.write_text(tmp_path / name / name, name)
    files.publish_folder(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_folder_is_published_whole_and_beside_its_target(tmp_path: Path) -> None:
    target = tmp_path / "data" / "snapshot"
    for content in ("first", "second"):
        with files.atomic_folder(target) as draft:
            assert (
                draft.parent == target.parent
            )  # the same file system, whatever data/ is mounted on
            files.write_text(draft / "posts", content)
    assert (target / "posts").read_text() == "second"
    assert [path.name for path in target.parent.iterdir()] == ["snapshot"]


def test_folder_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path) -> None:
    files.write_text(tmp_path / "snapshot" / "posts", "old")

    def fail() -> None:
        with files.atomic_folder(tmp_path / "snapshot") as draft:
            files.write_text(draft / "posts", "half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "snapshot" / "posts").read_text() == "old"


def test_damaged_table_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "posts.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(
        CorruptFile, match=r"posts\.parquet cannot be read: .* run dvc repro again"
    ):
        parquet.read(tmp_path / "posts.parquet")
