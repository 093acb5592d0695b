"""The painting processes end with their server."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.builders.project import ROOT


def children_of(pid: int) -> list[int]:
    return [
        int(child)
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]


def wait_until_gone(pids: Iterable[int]) -> list[int]:
    deadline = time.monotonic() + 10
    while left := [pid for pid in pids if is_running(pid)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return left


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_killed_server_leaves_no_painter_behind(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(
        textwrap.dedent("""
        import asyncio
        from tests.builders.tiny_board import AGENT, TinyBoard, link
        import aiohttp
        from sandbox.server.app import serve

        async def main():
            board = TinyBoard()
            client = aiohttp.ClientSession(headers={"User-Agent": AGENT})
            async with serve(board) as site, client:
                async with client.get(link(site, board.posts[0])) as response:
                    await response.read()
                print("painted", flush=True)
                await asyncio.Event().wait()

        if __name__ == "__main__":
            asyncio.run(main())
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert server.stdout
        assert server.stdout.readline() == "painted\n"
        painters = children_of(server.pid)
        assert painters
    finally:
        server.send_signal(signal.SIGKILL)
        server.communicate()
    assert wait_until_gone(painters) == []
