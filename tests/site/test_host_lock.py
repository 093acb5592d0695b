"""One process at a time sends requests to a real site, and none during a pause."""

import os
import re
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from pipeline.errors import BadInput, Busy, SiteUnreachable
from pipeline.paths import Paths
from pipeline.site.client import TransientFailure
from pipeline.site.host_lock import lock_hosts, record_backoff
from tests.builders.http_server import (
    REMOTE,
    expected_response,
    get,
    image_response,
    open_client,
    serving,
    status,
)
from tests.builders.project import ROOT


async def test_second_run_against_a_real_site_says_who_is_asking_it(
    paths: Paths, tmp_path: Path
) -> None:
    async with serving(expected_response, "127.0.0.2") as server:
        async with open_client(server, paths, **REMOTE):
            with pytest.raises(
                Busy,
                match=rf"127\.0\.0\.2 is already in use by process {os.getpid()} "
                r"\(download of .*project",
            ):
                async with open_client(server, Paths(tmp_path / "another"), **REMOTE):
                    pass
        async with open_client(server, paths, **REMOTE) as client:
            assert await get(client, "json") == {"posts": []}


@contextmanager
def locked_by_another_process(host: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that talks to the host."""
    hold = (
        "from pipeline.site.host_lock import lock_hosts\n"
        f"with lock_hosts(['{host}'], 'a test'): print(flush=True); input()"
    )
    command = [sys.executable, "-c", hold]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


async def test_killed_process_no_longer_holds_the_site(paths: Paths) -> None:
    with locked_by_another_process("127.0.0.2") as process:
        async with serving(expected_response, "127.0.0.2") as server:
            with pytest.raises(Busy, match=f"process {process.pid}"):
                async with open_client(server, paths, **REMOTE):
                    pass
            process.kill()
            process.wait()
            async with open_client(server, paths, **REMOTE) as client:
                await get(client, "json")


async def test_long_wait_that_a_real_site_asked_for_holds_for_the_next_run_too(
    paths: Paths, tmp_path: Path
) -> None:
    async with serving(
        status(503, headers={"Retry-After": "7200"}), "127.0.0.2"
    ) as server:
        with pytest.raises(SiteUnreachable, match="asks to wait"):
            async with open_client(server, paths, **REMOTE) as client:
                await get(client, "file")
        with pytest.raises(
            SiteUnreachable,
            match=r"127\.0\.0\.2 requested a pause .* in 2 hours, after",
        ):
            async with open_client(server, Paths(tmp_path / "another"), **REMOTE):
                pass
        assert len(server.requests) == 1


async def test_short_wait_that_a_real_site_asked_for_is_not_forgotten_with_the_run(
    paths: Paths, capfd: pytest.CaptureFixture[str]
) -> None:
    first = iter([True])

    async def answer(request: web.Request) -> web.Response:
        if next(first, False):
            return web.Response(status=429, headers={"Retry-After": "3"})
        return await image_response(request)

    async with serving(answer, "127.0.0.2") as server:
        async with open_client(server, paths, **REMOTE) as client:
            with pytest.raises(TransientFailure):  # and here the run is stopped
                await get(client, "file")
        async with open_client(server, paths, **REMOTE) as client:
            await get(client, "file")
        assert server.times[1] - server.times[0] >= 2.9
    messages = capfd.readouterr().err.splitlines()
    assert messages[0].endswith("asks to wait 3 s: no request is sent until then")
    assert re.fullmatch(
        r"127\.0\.0\.2 asked an earlier run to wait \(Retry-After\): "
        r"no request is sent for another 3 s",
        messages[1],
    )


async def test_servers_of_this_machine_may_be_asked_by_many(paths: Paths) -> None:
    async with (
        serving(expected_response) as server,
        open_client(server, paths) as one,
        open_client(server, paths) as two,
    ):
        assert await get(one, "json") == await get(two, "json")


def test_host_has_one_lock_however_its_name_is_written() -> None:
    with (
        lock_hosts(["Static1.E621.net."], "one"),
        pytest.raises(Busy, match=r"static1\.e621\.net is already in use"),
        lock_hosts(["static1.e621.net"], "another"),
    ):
        pass


def test_pause_that_a_wrong_clock_recorded_does_not_hold(tmp_path: Path) -> None:
    record_backoff("e621.net", 60)
    with lock_hosts(["e621.net"], "one", longest_wait=100) as seconds:
        assert 50 < seconds <= 60
    recorded = tmp_path / "state" / "e6tag" / "e621.net.not-before"
    recorded.write_text(str(time.time() + 10 * 365 * 86_400))
    with lock_hosts(["e621.net"], "one") as seconds:
        assert seconds == 0


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that locks fall back to, where home is a file."""
    (tmp_path / "home").write_text("no folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"e6tag-{os.getuid()}"


def test_locks_fall_back_to_a_folder_of_ones_own(temporary: Path) -> None:
    with lock_hosts(["e621.net"], "one"):
        assert (temporary / "e621.net.lock").read_text().endswith("(one)")
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o700


def test_folder_that_somebody_else_prepared_is_refused(
    temporary: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "e621.net.lock").write_text("precious")
    temporary.symlink_to(theirs)
    for prepare in (lambda: None, lambda: open_to_all(temporary)):
        prepare()
        with (
            pytest.raises(Busy, match="is a folder that you own and that nobody"),
            lock_hosts(["e621.net"], "one"),
        ):
            pass
    assert (theirs / "e621.net.lock").read_text() == "precious"


def open_to_all(folder: Path) -> None:
    folder.unlink()
    folder.mkdir()
    folder.chmod(0o777)


def test_lock_that_is_a_link_changes_nothing_elsewhere(
    temporary: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    temporary.mkdir(mode=0o700)
    (temporary / "e621.net.lock").symlink_to(target)
    with (
        pytest.raises(BadInput, match=r"e621\.net\.lock is a link, and a lock must be"),
        lock_hosts(["e621.net"], "one"),
    ):
        pass
    assert target.read_text() == "precious"
