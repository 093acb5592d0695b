"""Requests and waits are counted, over runs and stages."""

import asyncio
import json

import pytest

from pipeline.errors import (
    ChallengePage,
)
from pipeline.params.site import Site
from pipeline.paths import Paths
from pipeline.site import request_stats
from pipeline.site.session import open_site
from tests.builders.http_server import (
    expected_response,
    get,
    open_client,
    page,
    serving,
)


async def test_figures_add_up_over_runs_and_stages(paths: Paths) -> None:
    async with serving(expected_response) as server:
        for _ in range(2):
            async with open_client(server, paths, requests_per_second=40) as client:
                await get(client, "json")
                await get(client, "file")
                await get(client, "export")
        site = Site(name="custom", base_url=server.url, static_url=server.url)
        async with open_site(site, paths, "refresh") as client:
            await get(client, "json")
    figures = json.loads(paths.politeness.read_text())
    assert figures["download"]["requests"] == {
        "api": {"200": 2},
        "export": {"200": 2},
        "file": {"200": 2},
    }
    assert figures["download"]["bytes"]["file"] == 2 * len(b"\xff\xd8\xff image")
    assert list(figures["download"]["agents"].values()) == [6]
    assert figures["download"]["rate_limit_per_second"] == 40
    assert 0.02 < figures["download"]["seconds_waited"]["rate_limit"] < 0.5
    assert figures["refresh"]["requests"] == {"api": {"200": 1}}
    assert "rate_limit_per_second" not in figures["refresh"]


async def test_figures_of_a_run_that_fails_are_saved_too(paths: Paths) -> None:
    async with serving(page(403)) as server:
        with pytest.raises(ChallengePage):
            async with open_client(server, paths) as client:
                await get(client, "file")
    assert request_stats.read(paths)["download"]["requests"] == {"file": {"403": 1}}


async def test_figures_are_saved_while_the_run_goes_on(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_stats, "INTERVAL", 0.1)
    async with (
        serving(expected_response) as server,
        open_client(server, paths) as client,
    ):
        await get(client, "file")
        await asyncio.sleep(0.4)
        assert request_stats.read(paths)["download"]["requests"] == {"file": {"200": 1}}
        await get(client, "file")
    assert request_stats.read(paths)["download"]["requests"] == {"file": {"200": 2}}


@pytest.mark.parametrize(
    "content", [b"{half", b"[]", b'{"download": {"requests": "many"}}', b"\xff"]
)
async def test_damaged_figures_are_set_aside_and_said(
    paths: Paths, capfd: pytest.CaptureFixture[str], content: bytes
) -> None:
    paths.data.mkdir(parents=True)
    paths.politeness.write_bytes(content)
    async with (
        serving(expected_response) as server,
        open_client(server, paths) as client,
    ):
        await get(client, "file")
    assert "kept as politeness.json.damaged" in capfd.readouterr().err
    assert paths.politeness.with_name("politeness.json.damaged").read_bytes() == content
    assert request_stats.read(paths)["download"]["requests"] == {"file": {"200": 1}}


async def test_seconds_in_which_many_wait_are_counted_once() -> None:
    figures = request_stats.RequestStats("an agent", None)

    async def wait() -> None:
        with figures.waiting(request_stats.WaitReason.BACKOFF):
            await asyncio.sleep(0.2)

    await asyncio.gather(*(wait() for _ in range(20)))
    assert figures.take()["seconds_waited"]["backoff"] == pytest.approx(0.2, abs=0.1)
