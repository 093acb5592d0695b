"""Harvest: the exports, verified and read as PostgreSQL wrote them."""

import gzip
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import polars as pl
import pytest
from conftest import Project

from pipeline import harvest, pin
from pipeline.errors import BadExport, BadInput, ExportChanged, SiteUnreachable
from pipeline.harvest import tables
from pipeline.params import Site as SiteParams
from sandbox import faults
from sandbox.board import SandboxBoard

ROOT = Path(__file__).parents[1]


def run(project: Project) -> None:
    harvest.run(project.params.harvest, project.paths, site=project.params.site)


def test_snapshot_holds_every_post_as_the_board_has_it(project: Project, board: SandboxBoard) -> None:
    run(project)
    posts = pl.read_parquet(project.paths.snapshot / "posts.parquet")
    assert posts["post_id"].to_list() == [post.id for post in board.posts]
    assert posts["tags"].to_list() == [list(post.tags) for post in board.posts]
    assert posts["created_at"].to_list() == [post.created_at for post in board.posts]
    assert posts["parent_id"].to_list() == [post.parent_id for post in board.posts]
    assert posts["is_deleted"].to_list() == [post.is_deleted for post in board.posts]
    assert pl.read_parquet(project.paths.snapshot / "rejected.parquet").is_empty()


def test_second_harvest_gives_the_same_bytes_and_asks_the_site_for_nothing(project: Project) -> None:
    run(project)
    before = {path.name: path.read_bytes() for path in project.paths.snapshot.iterdir()}
    asked = len(project.site.requests)
    run(project)
    assert {path.name: path.read_bytes() for path in project.paths.snapshot.iterdir()} == before
    assert len(project.site.requests) == asked


def test_half_an_export_of_another_day_is_never_spliced(project: Project) -> None:
    pinned = pin.load(project.paths.pin)
    run(project)
    whole = next(project.paths.work("harvest").glob(f"exports/{pinned.exports['posts'].checksum}*"))
    partial = whole.with_suffix(".part")
    content = whole.read_bytes()
    whole.rename(partial)
    partial.write_bytes(content[: len(content) // 2])
    partial.with_suffix(".validator.json").write_text(json.dumps({"validator": '"of-another-day"'}))
    run(project)  # a validator that is not the site's: it must start over, not splice
    assert whole.read_bytes() == content


def test_part_that_is_longer_than_the_export_is_fetched_anew(project: Project) -> None:
    run(project)
    checksum = pin.load(project.paths.pin).exports["tags"].checksum
    whole = project.paths.work("harvest") / "exports" / f"{checksum}.csv.gz"
    part = whole.with_suffix(".part")
    part.write_bytes(whole.read_bytes() + b"more")
    part.with_suffix(".validator.json").write_text(json.dumps({"validator": etag(project)}))
    whole.unlink()
    run(project)
    assert whole.exists()


@pytest.mark.parametrize("kept", [1, 1000, -1, None], ids=["one byte", "a thousand", "all but one", "all"])
def test_harvest_killed_while_fetching_goes_on_where_it_was(project: Project, kept: int | None) -> None:
    run(project)
    before = {path.name: path.read_bytes() for path in project.paths.snapshot.iterdir()}
    checksum = pin.load(project.paths.pin).exports["posts"].checksum
    whole = project.paths.work("harvest") / "exports" / f"{checksum}.csv.gz"
    content = whole.read_bytes()
    whole.unlink()
    part = whole.with_suffix(".part")
    part.write_bytes(content[:kept])
    part.with_suffix(".validator.json").write_text(json.dumps({"validator": etag(project)}))
    asked = len(project.site.requests)
    run(project)
    assert {path.name: path.read_bytes() for path in project.paths.snapshot.iterdir()} == before
    fetched = [one for one in project.site.requests[asked:] if one.path.endswith("posts.csv.gz")]
    assert sum(one.bytes_sent for one in fetched) == len(content) - len(content[:kept])


def etag(project: Project) -> str:
    url = f"{project.site.static_url}/data/db_export/posts.csv.gz"
    request = urllib.request.Request(url, headers={"User-Agent": "e6tag-tests/1 (by nobody)"})  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return str(answer.headers["ETag"])


def test_full_disk_is_one_line_and_status_1(project: Project) -> None:
    checksum = pin.load(project.paths.pin).exports["posts"].checksum
    part = project.paths.work("harvest") / "exports" / f"{checksum}.csv.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    result = subprocess.run(
        [sys.executable, "-m", "pipeline", "harvest"],
        cwd=project.paths.root, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: No space left on device. What is finished is kept")
    assert "Traceback" not in result.stderr


def test_index_without_a_checksum_is_not_pinned() -> None:
    row = {"file_name": "x.csv.gz", "file_size": 1, "updated_at": "2026", "url": "http://127.0.0.1/x"}
    index = [{**row, "name": name, "checksum": None if name == "tags" else "0" * 64} for name in pin.EXPORTS]
    with pytest.raises(BadInput, match="gives no checksum for tags"):
        pin.read_index(index)


def test_column_that_is_missing_is_named(misbehaving, board: SandboxBoard) -> None:  # type: ignore[no-untyped-def]
    project = misbehaving(faults.MissingColumn("md5"))
    with pytest.raises(BadExport, match="export posts has no column md5"):
        run(project)
    assert not project.paths.snapshot.exists()


def test_checksum_that_never_matches_ends_the_run(misbehaving) -> None:  # type: ignore[no-untyped-def]
    project = misbehaving(faults.WrongChecksum("posts"))
    with pytest.raises(BadExport, match=r"posts\.csv\.gz has SHA-256 .* also after the index was read again"):
        run(project)


def test_export_that_moved_on_names_the_refresh(project: Project) -> None:
    pinned = pin.load(project.paths.pin)
    stale = pin.Export("posts.csv.gz", 1, "0" * 64, "2020-01-01T00:00:00.000-04:00")
    pin.save(project.paths.pin, pin.Pin(pinned.site, {**pinned.exports, "posts": stale}))
    with pytest.raises(ExportChanged, match="Run e6tag refresh"):
        run(project)


def test_pin_of_another_site_is_not_used(project: Project) -> None:
    with pytest.raises(ExportChanged, match=r"but site.name is sandbox"):
        harvest.run(project.params.harvest, project.paths, site=SiteParams())


def test_site_that_is_not_there_can_be_tried_later(project: Project) -> None:
    dead = SiteParams(name="custom", base_url="http://127.0.0.1:9", static_url="http://127.0.0.1:9")
    pin.save(project.paths.pin, pin.Pin("http://127.0.0.1:9", pin.load(project.paths.pin).exports))
    with pytest.raises(SiteUnreachable, match="does not answer after 6 tries") as raised:
        harvest.run(project.params.harvest, project.paths, site=dead)
    assert raised.value.exit_status == 75


def write_csv(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_csv_is_read_by_header_with_newlines_quotes_and_unknown_columns(tmp_path: Path) -> None:
    text = 'news,post_count,name,id,category\n,3,fox,1,5\n"a\r\nb,c",2,"say_""hi""",2,0\nx,-1,♀,3,0\n'
    rejected = tables.write_tags(write_csv(tmp_path / "tags.csv.gz", text), tmp_path / "tags.parquet")
    written = pl.read_parquet(tmp_path / "tags.parquet")
    assert rejected == []
    assert written.rows() == [(1, "fox", 5, 3), (2, 'say_"hi"', 0, 2), (3, "♀", 0, -1)]


def test_records_that_cannot_be_read_are_listed_with_row_and_reason(tmp_path: Path) -> None:
    text = "id,name,category,post_count\n1,fox,5,3\n2,hat,none,4\n3,cut\n4,,0,1\n5,tail,0,6\n"
    rejected = tables.write_tags(write_csv(tmp_path / "tags.csv.gz", text), tmp_path / "tags.parquet")
    assert pl.read_parquet(tmp_path / "tags.parquet")["name"].to_list() == ["fox", "tail"]
    reasons = {row["reason"] for row in rejected}
    assert reasons == {"category is missing or not valid", "name is missing or not valid", "2 columns instead of 4"}


def test_ids_out_of_order_are_sorted_and_doubles_listed(tmp_path: Path) -> None:
    text = "id,name,category,post_count\n3,hat,0,1\n1,fox,5,3\n3,cap,0,2\n"
    rejected = tables.write_tags(write_csv(tmp_path / "tags.csv.gz", text), tmp_path / "tags.parquet")
    assert pl.read_parquet(tmp_path / "tags.parquet")["name"].to_list() == ["fox", "cap"]
    assert [row["value"] for row in rejected] == ["3"]


def test_gzip_of_several_members_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv.gz"
    path.write_bytes(gzip.compress(b"id,name,category,post_count\n1,fox,5,3\n") + gzip.compress(b"2,hat,0,4\n"))
    tables.write_tags(path, tmp_path / "tags.parquet")
    assert pl.read_parquet(tmp_path / "tags.parquet").height == 2


def test_truncated_gzip_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "tags.csv.gz"
    path.write_bytes(gzip.compress(b"id,name,category,post_count\n" + b"1,fox,5,3\n" * 90_000)[:-40])
    with pytest.raises(BadExport, match="export tags"):
        tables.write_tags(path, tmp_path / "tags.parquet")
    assert not (tmp_path / "tags.parquet").exists()


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [("2026-01-02 03:04:05", 0), ("2026-01-02 03:04:05.5", 500_000), ("2026-01-02 03:04:05.123456", 123_456)],
)
def test_timestamps_have_any_number_of_decimals(text: str, microsecond: int) -> None:
    column = next(column for column in tables.POSTS if column.name == "created_at")
    value = pl.DataFrame({"created_at": [text]}).select(column.value).item()
    assert (value.hour, value.second, value.microsecond) == (3, 5, microsecond)
