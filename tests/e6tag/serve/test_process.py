"""`e6tag serve` as a process: how it starts, ends, and refuses to start."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import ClientSession

from e6tag import bundle
from tests.builders import toy_bundle, toy_images
from tests.builders.e6tag_command import environment, run
from tests.builders.tag_server import Server, serving
from tests.builders.toy_images import RED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_by_a_signal_with_status_0(toy: Path, number: signal.Signals) -> None:
    with serving(toy) as server:
        decoders = server.decoders()
        assert server.end(number) == (0, "")
        assert not any(decoder.is_running() for decoder in decoders)


async def test_answers_what_is_under_way_before_it_ends(toy: Path) -> None:
    with serving(toy, "--workers", "1") as server:
        (decoder,) = server.decoders()
        async with ClientSession(server.url) as client:
            decoder.suspend()
            waiting = asyncio.create_task(
                client.post("/v1/tag", data=toy_images.image(RED))
            )
            await asyncio.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            decoder.resume()
            response = await waiting
            answer = await response.json()
        assert answer["images"][0]["tags"][0]["name"] == "red"
        assert await asyncio.to_thread(server.process.wait, 10) == 0


def refusal(*arguments: str | Path, folder: Path) -> str:
    """Returns the line with which the command refuses to start."""
    done = run("serve", *arguments, folder=folder)
    assert done.returncode == 1
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("error: ")
    return line


def test_port_in_use_is_one_line(server: Server, toy: Path, tmp_path: Path) -> None:
    line = refusal("--bundle", toy, "--port", str(server.port), folder=tmp_path)
    assert f"port {server.port} of 127.0.0.1 is in use" in line
    assert "--port" in line


def test_address_of_another_machine_is_one_line(toy: Path, tmp_path: Path) -> None:
    line = refusal("--bundle", toy, "--host", "192.0.2.1", folder=tmp_path)
    assert "192.0.2.1" in line


@pytest.mark.parametrize("host", [".", "a" * 64])
def test_name_that_no_machine_has_is_one_line(
    toy: Path, tmp_path: Path, host: str
) -> None:
    line = refusal("--bundle", toy, "--host", host, folder=tmp_path)
    assert f"of {host} cannot be opened" in line


def test_bundle_of_another_version_is_one_line(tmp_path: Path) -> None:
    folder = toy_bundle.write_bundle(tmp_path / "bundle")
    path = folder / bundle.PREPROCESSING
    content = json.loads(path.read_text())
    content["bundle_version"] = bundle.VERSION + 1
    path.write_text(json.dumps(content))
    line = refusal("--bundle", folder, folder=tmp_path)
    assert f"bundle version {bundle.VERSION + 1}" in line


def test_no_bundle_is_one_line(tmp_path: Path) -> None:
    assert "--bundle" in refusal(folder=tmp_path)


def test_unknown_index_is_one_line(toy: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    line = refusal("--bundle", toy, "--index", "none.parquet", folder=tmp_path)
    assert "none.parquet does not exist" in line
    (tmp_path / "words.parquet").write_text("words")
    line = refusal("--bundle", toy, "--index", "words.parquet", folder=tmp_path)
    assert "words.parquet" in line


def test_other_machines_are_let_in_only_with_a_warning(toy: Path) -> None:
    with serving(toy, "--host", "0.0.0.0") as server:  # noqa: S104
        assert server.process.stdout is not None
        assert "no login" in server.process.stdout.readline()


def test_help_is_there_without_loading_the_server() -> None:
    code = (
        "import sys\n"
        "from e6tag.cli import app\n"
        "app(['serve', '--help'], standalone_mode=False)\n"
        "assert not {'aiohttp', 'numpy', 'onnxruntime', 'PIL'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(None),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "--port" in done.stdout
