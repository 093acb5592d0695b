"""The processes that decode: they may die, hang and run out of memory."""

import asyncio
import io
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession
from PIL import Image

from e6tag.serve.decoding import NoWorkers
from e6tag.serve.limits import MEBIBYTE, Limits
from tests.builders import toy_images
from tests.builders.tag_server import DECODER, Server, serving, serving_here
from tests.builders.toy_images import RED


@pytest.fixture
def single(toy: Path) -> Iterator[Server]:
    """A server with one decoder."""
    with serving(toy, "--workers", "1") as server:
        yield server


async def post(client: ClientSession, body: bytes) -> tuple[int, dict]:
    async with client.post("/v1/tag", data=body) as response:
        return response.status, await response.json()


async def test_decoder_that_is_killed_costs_no_answer(single: Server) -> None:
    (decoder,) = single.decoders()
    async with ClientSession(single.url) as client:
        decoder.suspend()
        waiting = asyncio.create_task(post(client, toy_images.image(RED)))
        await asyncio.sleep(0.3)
        decoder.kill()
        status, answer = await waiting
        assert status == 200
        assert answer["images"][0]["tags"][0]["name"] == "red"
        async with client.get("/metrics") as response:
            assert "e6tag_dead_workers_total 1.0" in await response.text()
    (replaced,) = single.decoders()
    assert replaced.pid != decoder.pid


@contextmanager
def killing_decoders(of: Server) -> Iterator[None]:
    """Kills every decoder before it can answer."""
    ended = threading.Event()

    def kill_all() -> None:
        for process in psutil.Process(of.process.pid).children():
            process.kill()

    def kill() -> None:
        while not ended.is_set():
            kill_all()
            time.sleep(0.005)

    # At once: a decoder that is ready answers within milliseconds, a new one does not.
    kill_all()
    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


async def test_image_that_crashes_every_decoder_is_refused(single: Server) -> None:
    async with ClientSession(single.url) as client:
        with killing_decoders(single):
            status, answer = await post(client, toy_images.image(RED))
        assert (status, answer["error"]["code"]) == (422, "decoder_crashed")
        status, _ = await post(client, toy_images.image(RED))
        assert status == 200


def own_decoders() -> list[psutil.Process]:
    """Returns the decoders of this process, oldest first."""
    children = psutil.Process().children()
    return [child for child in children if DECODER in child.cmdline()]


@contextmanager
def no_more_files() -> Iterator[None]:
    """Lets this process open no file, and so start no process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_decoder_that_cannot_be_replaced_at_once_is_replaced_later(
    toy: Path,
) -> None:
    limits = Limits(workers=1, decode_seconds=1)
    async with serving_here(toy, limits) as url, ClientSession(url) as client:
        status, _ = await post(client, toy_images.image(RED))  # opens the connection
        (decoder,) = own_decoders()
        decoder.suspend()
        with no_more_files():
            status, answer = await post(client, toy_images.image(RED))
            assert (status, answer["error"]["code"]) == (422, "decoding_took_too_long")
            assert own_decoders() == []
            status, answer = await post(client, toy_images.image(RED))
            assert (status, answer["error"]["code"]) == (503, "busy")
        status, _ = await post(client, toy_images.image(RED))
        assert status == 200


async def test_image_that_takes_too_long_is_given_up(toy: Path) -> None:
    limits = Limits(workers=1, decode_seconds=1)
    async with serving_here(toy, limits) as url, ClientSession(url) as client:
        (decoder,) = own_decoders()
        decoder.suspend()
        status, answer = await post(client, toy_images.image(RED))
        assert (status, answer["error"]["code"]) == (422, "decoding_took_too_long")
        assert not decoder.is_running()
        status, _ = await post(client, toy_images.image(RED))
        assert status == 200


async def test_image_that_takes_too_much_memory_is_refused(toy: Path) -> None:
    """Of 7,000 x 7,000 pixels, 147 MB in RGB, of which the file has 0.2."""
    limits = Limits(workers=1, decode_bytes=384 * MEBIBYTE)
    async with serving_here(toy, limits) as url, ClientSession(url) as client:
        large = toy_images.image(RED, "PNG", size=(7_000, 7_000))
        status, answer = await post(client, large)
        assert (status, answer["error"]["code"]) == (422, "too_much_memory")
        status, _ = await post(client, toy_images.image(RED))
        assert status == 200


async def test_largest_image_allowed_fits_into_the_memory_allowed(toy: Path) -> None:
    async with serving_here(toy, Limits(workers=1)) as url, ClientSession(url) as one:
        for mode in ("RGB", "RGBA"):
            encoded = io.BytesIO()
            Image.new(mode, (7_071, 7_071), RED).save(encoded, "PNG", compress_level=1)
            status, answer = await post(one, encoded.getvalue())
            assert status == 200, (mode, answer)


async def test_decoders_that_cannot_work_are_an_error_at_once(toy: Path) -> None:
    with pytest.raises(NoWorkers, match="decode_worker"):
        async with serving_here(toy, Limits(workers=2, decode_bytes=MEBIBYTE)):
            pass
    assert own_decoders() == []


async def test_decoders_that_cannot_start_are_an_error_at_once(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(NoWorkers, match="decode_worker"):
        async with serving_here(toy, Limits(workers=2)):
            pass


async def test_files_of_the_current_folder_are_not_imported(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "PIL", "e6tag"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    async with serving_here(toy, Limits(workers=1)) as url, ClientSession(url) as one:
        status, _ = await post(one, toy_images.image(RED))
        assert status == 200


async def test_decoders_end_with_a_server_that_is_killed(toy: Path) -> None:
    with serving(toy, "--workers", "2") as server:
        decoders = server.decoders()
        assert len(decoders) == 2
        server.process.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(decoders, timeout=10)
    assert alive == []
