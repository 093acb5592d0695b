"""Harvest: the exports, verified and read as PostgreSQL wrote them."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import polars as pl
import pytest
from aiohttp import web

from pipeline import harvest, pin, refresh
from pipeline.errors import (
    BadExport,
    BadInput,
    ChallengePage,
    ExportChanged,
    SiteUnreachable,
)
from pipeline.params.site import Site as SiteParams
from sandbox import faults
from sandbox.board.drawn import SandboxBoard
from sandbox.server.exports import build_exports
from sandbox.server.serializers import export_row
from sandbox.server.service import SERVICE, json_response
from tests.builders.project import ROOT, Project, damage, served


def run(project: Project) -> None:
    harvest.run(project.params.harvest, project.paths, site=project.params.site)


def test_snapshot_holds_every_post_as_the_board_has_it(
    project: Project, board: SandboxBoard
) -> None:
    run(project)
    posts = pl.read_parquet(project.paths.snapshot / "posts.parquet")
    assert posts["post_id"].to_list() == [post.id for post in board.posts]
    assert posts["tags"].to_list() == [list(post.tags) for post in board.posts]
    assert posts["created_at"].to_list() == [post.created_at for post in board.posts]
    assert posts["parent_id"].to_list() == [post.parent_id for post in board.posts]
    assert posts["is_deleted"].to_list() == [post.is_deleted for post in board.posts]
    assert pl.read_parquet(project.paths.snapshot / "rejected.parquet").is_empty()


def test_second_harvest_gives_the_same_bytes_and_asks_the_site_for_nothing(
    project: Project,
) -> None:
    run(project)
    before = {path.name: path.read_bytes() for path in project.paths.snapshot.iterdir()}
    asked = len(project.site.requests)
    run(project)
    assert {
        path.name: path.read_bytes() for path in project.paths.snapshot.iterdir()
    } == before
    assert len(project.site.requests) == asked


def test_half_an_export_of_another_day_is_never_spliced(project: Project) -> None:
    pinned = pin.load(project.paths.pin)
    run(project)
    whole = next(
        project.paths.work("harvest").glob(
            f"exports/{pinned.exports['posts'].checksum}*"
        )
    )
    partial = whole.with_suffix(".part")
    content = whole.read_bytes()
    whole.rename(partial)
    partial.write_bytes(content[: len(content) // 2])
    partial.with_suffix(".validator.json").write_text(
        json.dumps({"validator": '"of-another-day"'})
    )
    run(project)  # a validator that is not the site's: it must start over, not splice
    assert whole.read_bytes() == content


def test_part_that_is_longer_than_the_export_is_fetched_anew(project: Project) -> None:
    run(project)
    checksum = pin.load(project.paths.pin).exports["tags"].checksum
    whole = project.paths.work("harvest") / "exports" / f"{checksum}.csv.gz"
    part = whole.with_suffix(".part")
    part.write_bytes(whole.read_bytes() + b"more")
    part.with_suffix(".validator.json").write_text(
        json.dumps({"validator": etag(project)})
    )
    whole.unlink()
    run(project)
    assert whole.exists()


@pytest.mark.parametrize(
    "kept", [1, 1000, -1, None], ids=["one byte", "a thousand", "all but one", "all"]
)
def test_harvest_killed_while_fetching_goes_on_where_it_was(
    project: Project, kept: int | None
) -> None:
    run(project)
    before = {path.name: path.read_bytes() for path in project.paths.snapshot.iterdir()}
    checksum = pin.load(project.paths.pin).exports["posts"].checksum
    whole = project.paths.work("harvest") / "exports" / f"{checksum}.csv.gz"
    content = whole.read_bytes()
    whole.unlink()
    part = whole.with_suffix(".part")
    part.write_bytes(content[:kept])
    part.with_suffix(".validator.json").write_text(
        json.dumps({"validator": etag(project)})
    )
    asked = len(project.site.requests)
    run(project)
    assert {
        path.name: path.read_bytes() for path in project.paths.snapshot.iterdir()
    } == before
    fetched = [
        one
        for one in project.site.requests[asked:]
        if one.path.endswith("posts.csv.gz")
    ]
    assert sum(one.bytes_sent for one in fetched) == len(content) - len(content[:kept])


def etag(project: Project) -> str:
    """Asks for the posts export's validator.

    Returns when the site has noted that, for it may be late.
    """
    url, before = (
        f"{project.site.static_url}/data/db_export/posts.csv.gz",
        len(project.site.requests),
    )
    agent = {"User-Agent": "e6tag-tests/1 (by nobody)"}
    request = urllib.request.Request(url, headers=agent)  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        value = str(answer.headers["ETag"])
    while len(project.site.requests) == before:
        time.sleep(0.01)
    return value


def test_full_disk_is_one_line_and_status_1(project: Project) -> None:
    checksum = pin.load(project.paths.pin).exports["posts"].checksum
    part = project.paths.work("harvest") / "exports" / f"{checksum}.csv.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    result = subprocess.run(
        [sys.executable, "-m", "pipeline", "harvest"],
        cwd=project.paths.root, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: nothing can be written: the disk is full. What is")
    assert "Traceback" not in result.stderr


def test_index_without_a_checksum_is_not_pinned() -> None:
    row = {
        "file_name": "x.csv.gz",
        "file_size": 1,
        "updated_at": "2026",
        "url": "http://127.0.0.1/x",
    }
    index = [
        {**row, "name": name, "checksum": None if name == "tags" else "0" * 64}
        for name in pin.EXPORTS
    ]
    with pytest.raises(BadInput, match="gives no SHA-256 for tags"):
        pin.read_index(index)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"url": None}, "gives no address for posts"),
        ({"checksum": "../../posts"}, "gives no SHA-256 for posts"),
        ({"checksum": "0" * 64 + "/../../posts"}, "gives no SHA-256 for posts"),
    ],
)
def test_index_that_leads_nowhere_or_out_of_the_folder_is_not_pinned(
    row: dict[str, object], says: str
) -> None:
    sound = {
        "file_name": "x",
        "file_size": 1,
        "updated_at": "2026",
        "url": "http://127.0.0.1/x",
        "checksum": "0" * 64,
    }
    index = [
        {**sound, "name": name, **(row if name == "posts" else {})}
        for name in pin.EXPORTS
    ]
    with pytest.raises(BadInput, match=says):
        pin.read_index(index)


@pytest.mark.parametrize("content", ["[]", "<<<<<<< HEAD"])
def test_damaged_pin_is_one_line_and_a_refresh_pins_anew(
    project: Project, content: str
) -> None:
    before = project.paths.pin.read_bytes()
    project.paths.pin.write_text(content)
    with pytest.raises(BadInput, match="is not a pin"):
        pin.load(project.paths.pin)
    assert refresh.run(project.params, project.paths)
    assert project.paths.pin.read_bytes() == before


def test_column_that_is_missing_is_named(misbehaving, board: SandboxBoard) -> None:  # type: ignore[no-untyped-def]
    project = misbehaving(faults.MissingColumn("md5"))
    with pytest.raises(BadExport, match="export posts has no column md5"):
        run(project)
    assert not project.paths.snapshot.exists()


def test_checksum_that_never_matches_ends_the_run(misbehaving) -> None:  # type: ignore[no-untyped-def]
    project = misbehaving(faults.WrongChecksum("posts"))
    with pytest.raises(
        BadExport,
        match=r"posts\.csv\.gz has SHA-256 .* also after the index was read again",
    ):
        run(project)


def test_export_that_moved_on_names_the_refresh(project: Project) -> None:
    pinned = pin.load(project.paths.pin)
    stale = pin.ExportFile("posts.csv.gz", 1, "0" * 64, "2020-01-01T00:00:00.000-04:00")
    pin.save(
        project.paths.pin, pin.Pin(pinned.site, {**pinned.exports, "posts": stale})
    )
    with pytest.raises(ExportChanged, match="Run e6tag refresh"):
        run(project)


def test_pin_of_another_site_is_not_used(project: Project) -> None:
    with pytest.raises(ExportChanged, match=r"but site.name is sandbox"):
        harvest.run(project.params.harvest, project.paths, site=SiteParams())


def test_site_that_is_not_there_can_be_tried_later(project: Project) -> None:
    dead = SiteParams(
        name="custom", base_url="http://127.0.0.1:9", static_url="http://127.0.0.1:9"
    )
    pin.save(
        project.paths.pin,
        pin.Pin("http://127.0.0.1:9", pin.load(project.paths.pin).exports),
    )
    with pytest.raises(
        SiteUnreachable, match="does not answer after 6 tries"
    ) as raised:
        harvest.run(project.params.harvest, project.paths, site=dead)
    assert raised.value.exit_status == 75


def begin(project: Project, *, export: str = "posts") -> tuple[Path, bytes]:
    """Leaves half of a fetched export as a part that can be resumed.

    Returns where the whole belongs, and its bytes.
    """
    run(project)
    checksum = pin.load(project.paths.pin).exports[export].checksum
    whole = project.paths.work("harvest") / "exports" / f"{checksum}.csv.gz"
    content = whole.read_bytes()
    whole.unlink()
    whole.with_suffix(".part").write_bytes(content[: len(content) // 2])
    whole.with_suffix(".part").with_suffix(".validator.json").write_text(
        json.dumps({"validator": etag(project)})
    )
    return whole, content


class Once:
    """Answers the next request for the posts export with `answer`, once armed."""

    def __init__(self, answer: web.Response) -> None:
        self.answer: web.Response | None = None
        self._kept = answer

    def arm(self) -> None:
        """Makes the next answer the wrong one."""
        self.answer = self._kept

    async def __call__(self, request: web.Request) -> web.Response | None:
        """The wrong answer, once."""
        if not request.path.endswith("posts.csv.gz"):
            return None
        answer, self.answer = self.answer, None
        return answer


@pytest.mark.parametrize("content_type", ["text/html", "application/gzip"])
def test_page_instead_of_an_export_leaves_the_part_as_it_was(
    misbehaving, content_type: str
) -> None:  # type: ignore[no-untyped-def]
    fault = Once(
        web.Response(text="<html>in maintenance</html>", content_type=content_type)
    )
    project = misbehaving(fault)
    whole, content = begin(project)
    fault.arm()
    asked = len(project.site.requests)
    run(project)
    assert whole.read_bytes() == content
    sent = [
        one.bytes_sent
        for one in project.site.requests[asked:]
        if one.path.endswith("posts.csv.gz")
    ]
    assert (
        sent[-1] == len(content) - len(content) // 2
    )  # only the rest was asked for after the page


def test_challenge_instead_of_an_export_is_known_whatever_type_it_is_said_to_be(
    misbehaving,
) -> None:  # type: ignore[no-untyped-def]
    text = "<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>"
    fault = Once(web.Response(text=text, content_type="application/octet-stream"))
    project = misbehaving(fault)
    whole, content = begin(project)
    fault.arm()
    asked = len(project.site.requests)
    with pytest.raises(ChallengePage, match="asks for a human"):
        run(project)
    assert (
        len(
            [
                one
                for one in project.site.requests[asked:]
                if one.path.endswith("posts.csv.gz")
            ]
        )
        == 1
    )
    run(project)
    assert whole.read_bytes() == content


async def rangeless(request: web.Request) -> web.Response | None:
    """A cache that knows of no range of the posts export, whatever is asked for."""
    is_part = request.path.endswith("posts.csv.gz") and "Range" in request.headers
    return (
        web.Response(status=416, headers={"Content-Range": "bytes */100"})
        if is_part
        else None
    )


def test_part_whose_rest_the_site_refuses_is_dropped_and_the_whole_fetched(
    misbehaving,
) -> None:  # type: ignore[no-untyped-def]
    project = misbehaving(rangeless)
    whole, content = begin(project)
    asked = len(project.site.requests)
    run(project)
    assert whole.read_bytes() == content
    sent = [
        one.status
        for one in project.site.requests[asked:]
        if one.path.endswith("posts.csv.gz")
    ]
    assert sent == [416, 200]


def test_part_of_another_file_is_not_appended(misbehaving) -> None:  # type: ignore[no-untyped-def]
    headers = {"Content-Range": "bytes 100-199/200", "ETag": '"another"'}
    fault = Once(
        web.Response(
            status=206,
            body=b"x" * 100,
            headers=headers,
            content_type="application/gzip",
        )
    )
    project = misbehaving(fault)
    whole, content = begin(project)
    fault.arm()
    run(project)
    assert whole.read_bytes() == content


def test_empty_rest_leaves_the_part_as_it_was(misbehaving) -> None:  # type: ignore[no-untyped-def]
    fault = Once(web.Response())
    project = misbehaving(fault)
    whole, content = begin(project)
    half = len(content) // 2
    headers = {
        "Content-Range": f"bytes {half}-{len(content) - 1}/{len(content)}",
        "ETag": etag(project),
    }
    fault.answer = web.Response(
        status=206, headers=headers, content_type="application/gzip"
    )
    asked = len(project.site.requests)
    run(project)
    assert whole.read_bytes() == content
    assert fault.answer is None, "the empty rest was not sent"
    sent = [
        one.bytes_sent
        for one in project.site.requests[asked:]
        if one.path.endswith("posts.csv.gz")
    ]
    assert sum(sent) == len(content) - half


def test_body_without_end_is_not_kept(misbehaving) -> None:  # type: ignore[no-untyped-def]
    fault = Once(
        web.Response(
            body=b"\x1f\x8b" + bytes(20_000_000), content_type="application/gzip"
        )
    )
    project = misbehaving(fault)
    fault.arm()
    run(project)
    assert (
        max(
            path.stat().st_size
            for path in project.paths.work("harvest").glob("exports/*")
        )
        < 1_000_000
    )


def test_export_swapped_while_it_is_fetched_is_told(
    misbehaving, board: SandboxBoard
) -> None:  # type: ignore[no-untyped-def]
    project = misbehaving(faults.Swapped(SandboxBoard(posts=600, day=2), index_lag=0))
    with pytest.raises(
        ExportChanged, match=r"the site serves posts of .* Run e6tag refresh"
    ):
        run(project)
    assert not project.paths.snapshot.exists()


@pytest.mark.parametrize("export", pin.EXPORTS)
def test_damaged_export_is_fetched_again_once_it_cannot_be_read(
    project: Project, export: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(project)
    before = {path.name: path.read_bytes() for path in project.paths.snapshot.iterdir()}
    path = (
        project.paths.work("harvest")
        / "exports"
        / f"{pin.load(project.paths.pin).exports[export].checksum}.csv.gz"
    )
    damage(path)
    capsys.readouterr()
    asked = len(project.site.requests)
    run(project)
    assert {
        path.name: path.read_bytes() for path in project.paths.snapshot.iterdir()
    } == before
    fetched = [one.path for one in project.site.requests[asked:]]
    assert fetched == ["/db_exports.json", f"/data/db_export/{export}.csv.gz"]
    line = (
        f"the export {export} was damaged on this disk: {path} no longer has the "
        "SHA-256 of what was fetched."
    )
    assert capsys.readouterr().err.count(line) == 1


def test_damaged_export_that_the_site_no_longer_has_names_the_refresh(
    misbehaving,
) -> None:  # type: ignore[no-untyped-def]
    fault = Tomorrow()
    project = misbehaving(fault)
    run(project)
    damage(
        project.paths.work("harvest")
        / "exports"
        / f"{pin.load(project.paths.pin).exports['posts'].checksum}.csv.gz"
    )
    fault.has_come = True
    with pytest.raises(
        ExportChanged,
        match=r"the site serves posts of .*, which is gone\. Run e6tag refresh",
    ):
        run(project)
    assert refresh.run(project.params, project.paths)
    run(project)


class Tomorrow:
    """The exports of the next day, once armed."""

    def __init__(self) -> None:
        self.has_come = False
        self._exports = build_exports(SandboxBoard(posts=600, day=2))

    async def __call__(self, request: web.Request) -> web.Response | None:
        """The new index and the new files."""
        name = Path(request.path).name.removesuffix(".csv.gz")
        if not self.has_come or not (
            request.path == "/db_exports.json" or name in self._exports
        ):
            return None
        if name in self._exports:
            return web.Response(
                body=self._exports[name].body, content_type="application/gzip"
            )
        rows = [
            export_row(export, request.app[SERVICE].static_url)
            for export in self._exports.values()
        ]
        return json_response(rows)


def test_sound_export_that_cannot_be_read_is_not_fetched_again(misbehaving) -> None:  # type: ignore[no-untyped-def]
    project = misbehaving(faults.MissingColumn("md5"))
    with pytest.raises(BadExport, match="export posts has no column md5"):
        run(project)
    asked = len(project.site.requests)
    with pytest.raises(BadExport, match="export posts has no column md5"):
        run(project)
    assert len(project.site.requests) == asked


def test_only_exports_with_news_are_fetched_after_a_refresh(
    project: Project, board: SandboxBoard
) -> None:
    run(project)
    before = pin.load(project.paths.pin)
    with served(SandboxBoard(posts=600, day=2)) as tomorrow:
        params = SiteParams(
            name="custom", base_url=tomorrow.base_url, static_url=tomorrow.static_url
        )
        refresh.run(project.params.model_copy(update={"site": params}), project.paths)
        asked = len(tomorrow.requests)
        harvest.run(project.params.harvest, project.paths, site=params)
        fetched = {one.path for one in tomorrow.requests[asked:]}
    now = pin.load(project.paths.pin).exports
    news = {
        name
        for name in pin.EXPORTS
        if now[name].checksum != before.exports[name].checksum
    }
    assert set() < news < set(pin.EXPORTS)
    assert fetched == {"/db_exports.json"} | {
        f"/data/db_export/{name}.csv.gz" for name in news
    }


def test_export_bomb_is_refused_before_it_fills_anything(misbehaving) -> None:  # type: ignore[no-untyped-def]
    project = misbehaving(faults.ExportBomb())
    with pytest.raises(
        BadExport,
        match="the export posts cannot be read after record 0: a record is longer "
        "than 4 MiB",
    ):
        run(project)
    assert not project.paths.snapshot.exists()
