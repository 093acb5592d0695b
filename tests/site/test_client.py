"""The client: polite to any server, whatever it answers.

Real sockets on loopback; 127.0.0.2 counts as a real site.
"""

import asyncio
import gzip
import json
import os
import pty
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pipeline import progress
from pipeline.errors import (
    BadAnswer,
    BadParameter,
    Busy,
    ChallengePage,
    E6tagError,
    PolicyViolation,
    SiteUnreachable,
)
from pipeline.params import Site
from pipeline.paths import Paths
from pipeline.schemas.reasons import DownloadFailure
from pipeline.site import request_stats, responses
from pipeline.site.circuit_breaker import LIMIT, retry_hint
from pipeline.site.client import (
    LOCAL_TIMEOUTS,
    MAX_JSON,
    Client,
    PermanentFailure,
    RequestRejected,
    Timeouts,
    TransientFailure,
)
from pipeline.site.rate_limiter import RateLimiter
from pipeline.site.session import open_site
from sandbox.board.drawn import SandboxBoard
from tests.builders.project import make_project, served

ROOT = Path(__file__).parents[2]
FILE = "/data/ab/cd/abcd.jpg"
EXPORT = "/data/db_export/posts.csv.gz"
QUICK = replace(LOCAL_TIMEOUTS, first_backoff=0.01, failing=0)
REMOTE = {"contact": "someone@example.org", "terms_read": True}
PAGE = "<!DOCTYPE html><html><head><title>{}</title></head><body>{}</body></html>"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Server:
    """A site of one address, and what arrived there."""

    url: str
    started: float = field(default_factory=time.monotonic)
    times: list[float] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)


@asynccontextmanager
async def serving(
    answer: Answer,
    host: str = "127.0.0.1",
    *,
    listener: socket.socket | None = None,
    opens_after: float = 0.0,
) -> AsyncIterator[Server]:
    """Serves one answer for every request.

    opens_after: seconds until the first connection is accepted.
    """
    times: list[float] = []
    requests: list[web.Request] = []

    async def noted(request: web.Request) -> web.StreamResponse:
        times.append(time.monotonic())
        requests.append(request)
        return await answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", noted)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    listener = listener or socket.create_server((host, 0))

    async def accept() -> None:
        await asyncio.sleep(opens_after)
        await web.SockSite(runner, listener).start()

    accepting = asyncio.create_task(accept())
    if not opens_after:
        await accepting
    try:
        yield Server(
            f"http://{host}:{listener.getsockname()[1]}", times=times, requests=requests
        )
    finally:
        await accepting
        await runner.cleanup()


@pytest.fixture(autouse=True)
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """An empty project; locks of real sites lie beside it.

    So tests do not meet.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Paths(tmp_path / "project")


def asking(
    server: Server,
    paths: Paths,
    *,
    retries: int = 0,
    patience: Timeouts | None = QUICK,
    **site: Any,
) -> Any:
    """Opens the server as a custom site for the stage `download`."""
    section = Site(name="custom", base_url=server.url, static_url=server.url, **site)
    return open_site(section, paths, "download", retries=retries, timeouts=patience)


async def picture(_: web.Request) -> web.Response:
    return web.Response(body=b"\xff\xd8\xff picture", content_type="image/jpeg")


async def anything(request: web.Request) -> web.Response:
    """What belongs there, by path."""
    if "/db_export/" in request.path:
        return web.Response(
            body=gzip.compress(b"id\n1\n"), content_type="application/gzip"
        )
    return (
        await picture(request)
        if request.path.startswith("/data/")
        else web.json_response({"posts": []})
    )


def status(code: int, **options: Any) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=code, **options)

    return answer


def page(code: int, title: str = "A page", text: str = "", **headers: str) -> Answer:
    return status(
        code, text=PAGE.format(title, text), content_type="text/html", headers=headers
    )


async def get(client: Client, what: str) -> object:
    """Asks for a kind of thing as its stage does."""
    if what == "json":
        return await client.json("/posts.json")
    if what == "file":
        return await client.file(FILE, max_bytes=1 << 20)
    async with client.stream(client.endpoints.static_url + EXPORT) as response:
        return await response.read()


async def until_given_up(ask: Callable[[], Awaitable[object]]) -> None:
    """Requests image after image until something but a TransientFailure is raised."""
    while True:
        with pytest.raises(TransientFailure):
            await ask()


def most_in_a_second(times: list[float]) -> int:
    return max(sum(0 <= other - one < 1.0 for other in times) for one in times)


# The rate.


async def test_no_second_has_more_requests_than_the_rate_even_after_a_stall() -> None:
    limiter, left = RateLimiter(50), []

    async def work() -> None:
        while len(left) < 170:
            (await limiter.acquire()).left()
            left.append(time.monotonic())
            if len(left) in (40, 41, 90):
                time.sleep(0.1)  # noqa: ASYNC251  # the stall

    await asyncio.gather(*(work() for _ in range(8)))
    assert most_in_a_second(left) <= 50
    assert 169 / (left[-1] - left[0]) > 50 * 0.7


async def test_rate_that_arrives_is_the_limit_and_not_more(paths: Paths) -> None:
    async with serving(anything) as server, asyncio.timeout(60):
        async with asking(server, paths, requests_per_second=50) as client:
            queue = iter(range(200))

            async def work() -> None:
                for _ in queue:
                    await get(client, "file")

            await asyncio.gather(*(work() for _ in range(32)))
        achieved = 199 / (server.times[-1] - server.times[0])
        # Slack for a busy machine, where this process notes arrivals late:
        # bench/limiter.py measures 98.7 % and never more than 50, with the kernel's
        # times.
        assert 0.8 * 50 < achieved <= 50.5
        assert most_in_a_second(server.times) <= 52


async def test_long_idle_is_not_made_up_for_by_a_burst() -> None:
    limiter = RateLimiter(50)
    (await limiter.acquire()).left()
    await asyncio.sleep(0.5)
    started = time.monotonic()
    for _ in range(6):
        (await limiter.acquire()).left()
    assert time.monotonic() - started >= 5 / 50


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux drops a SYN that finds the queue full"
)
async def test_connections_that_take_their_time_bring_no_requests_closer_together(
    paths: Paths,
) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(
            socket.create_server(("127.0.0.1", 0), backlog=0)
        )
        for _ in range(
            4
        ):  # nobody accepts them yet: what comes after them is let in a second later
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        async with serving(anything, listener=listener, opens_after=0.6) as server:
            async with asking(server, paths, requests_per_second=2) as client:
                await asyncio.gather(*(get(client, "file") for _ in range(5)))
            assert (
                server.times[0] - server.started >= 0.9
            )  # else no connection was slow
            assert most_in_a_second(server.times) <= 2


async def test_one_limit_holds_over_api_exports_and_files(paths: Paths) -> None:
    async with (
        serving(anything) as server,
        asking(server, paths, requests_per_second=20) as client,
    ):
        await asyncio.gather(
            *(get(client, what) for what in ("json", "file", "export") * 4)
        )
        assert server.times[-1] - server.times[0] >= 11 / 20 * 0.95


async def test_requests_under_way_stay_within_concurrency_and_rate_however_many_ask(
    paths: Paths,
) -> None:
    under_way = most = 0

    async def late(request: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(
            0.8 if len(server.times) <= 2 else 0.01
        )  # meanwhile the turns of the others would pass by
        under_way -= 1
        return await picture(request)

    async with (
        serving(late) as server,
        asking(server, paths, concurrency=2, requests_per_second=5) as client,
    ):
        await asyncio.gather(*(get(client, "file") for _ in range(12)))
        assert most == 2
        assert most_in_a_second(server.times) <= 5


async def test_real_site_is_asked_at_most_twice_a_second_whatever_was_set(
    paths: Paths,
) -> None:
    async with serving(anything, "127.0.0.2") as server:
        async with asking(server, paths, requests_per_second=50, **REMOTE) as client:
            await asyncio.gather(*(get(client, "file") for _ in range(5)))
        assert server.times[-1] - server.times[0] >= 4 / 2 * 0.98
        assert request_stats.read(paths)["download"]["rate_limit_per_second"] == 2.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({}, "site.contact is empty", id="nobody to write to"),
        pytest.param(
            {"contact": "someone@example.org"},
            "site.terms_read is false",
            id="terms not read",
        ),
    ],
)
async def test_real_site_gets_no_request_without_contact_and_consent(
    paths: Paths, given: dict[str, Any], message: str
) -> None:
    async with serving(anything, "127.0.0.2") as server:
        with pytest.raises(PolicyViolation, match=message):
            async with asking(server, paths, **given) as client:
                await get(client, "json")
        assert not server.requests


# One process at a time.


async def test_second_run_against_a_real_site_says_who_is_asking_it(
    paths: Paths, tmp_path: Path
) -> None:
    async with serving(anything, "127.0.0.2") as server:
        async with asking(server, paths, **REMOTE):
            with pytest.raises(
                Busy,
                match=rf"127\.0\.0\.2 is already in use by process {os.getpid()} "
                r"\(download of .*project",
            ):
                async with asking(server, Paths(tmp_path / "another"), **REMOTE):
                    pass
        async with asking(server, paths, **REMOTE) as client:
            assert await get(client, "json") == {"posts": []}


@contextmanager
def holding(host: str) -> Iterator[subprocess.Popen[bytes]]:
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
    with holding("127.0.0.2") as process:
        async with serving(anything, "127.0.0.2") as server:
            with pytest.raises(Busy, match=f"process {process.pid}"):
                async with asking(server, paths, **REMOTE):
                    pass
            process.kill()
            process.wait()
            async with asking(server, paths, **REMOTE) as client:
                await get(client, "json")


async def test_long_wait_that_a_real_site_asked_for_holds_for_the_next_run_too(
    paths: Paths, tmp_path: Path
) -> None:
    async with serving(
        status(503, headers={"Retry-After": "7200"}), "127.0.0.2"
    ) as server:
        with pytest.raises(SiteUnreachable, match="asks to wait"):
            async with asking(server, paths, **REMOTE) as client:
                await get(client, "file")
        with pytest.raises(
            SiteUnreachable,
            match=r"127\.0\.0\.2 requested a pause .* in 2 hours, after",
        ):
            async with asking(server, Paths(tmp_path / "another"), **REMOTE):
                pass
        assert len(server.requests) == 1


async def test_page_instead_of_one_picture_does_not_end_a_run_that_gets_others(
    paths: Paths,
) -> None:
    given = iter([True])

    async def answer(request: web.Request) -> web.Response:
        return await (picture if next(given, False) else page(403))(request)

    async with serving(answer) as server, asking(server, paths) as client:
        await get(client, "file")
        with pytest.raises(
            PermanentFailure, match="403 with a page of its own"
        ) as raised:
            await get(client, "file")
        assert raised.value.reason == DownloadFailure.NOT_A_PICTURE


async def test_pages_instead_of_five_pictures_in_a_row_are_about_this_client(
    paths: Paths,
) -> None:
    """An edge that shuts this client out in the middle of a run."""
    given = iter([picture, *[page(403)] * 4, picture, *[page(403)] * 5])

    async def answer(request: web.Request) -> web.Response:
        return await next(given)(request)  # type: ignore[return-value]

    async with serving(answer) as server, asking(server, paths) as client:
        for is_page in 2 * [False, True, True, True, True]:
            with (
                pytest.raises(PermanentFailure, match="403 with a page")
                if is_page
                else nullcontext()
            ):
                await get(client, "file")
        with pytest.raises(
            ChallengePage,
            match=r"refuses this client with a page of its own .* again in an hour",
        ):
            await get(client, "file")


async def test_short_wait_that_a_real_site_asked_for_is_not_forgotten_with_the_run(
    paths: Paths, capfd: pytest.CaptureFixture[str]
) -> None:
    first = iter([True])

    async def answer(request: web.Request) -> web.Response:
        if next(first, False):
            return web.Response(status=429, headers={"Retry-After": "3"})
        return await picture(request)

    async with serving(answer, "127.0.0.2") as server:
        async with asking(server, paths, **REMOTE) as client:
            with pytest.raises(TransientFailure):  # and here the run is stopped
                await get(client, "file")
        async with asking(server, paths, **REMOTE) as client:
            await get(client, "file")
        assert server.times[1] - server.times[0] >= 2.9
    said = capfd.readouterr().err.splitlines()
    assert said[0].endswith("asks to wait 3 s: no request is sent until then")
    assert re.fullmatch(
        r"127\.0\.0\.2 asked an earlier run to wait \(Retry-After\): "
        r"no request is sent for another 3 s",
        said[1],
    )


async def test_servers_of_this_machine_may_be_asked_by_many(paths: Paths) -> None:
    async with (
        serving(anything) as server,
        asking(server, paths) as one,
        asking(server, paths) as two,
    ):
        assert await get(one, "json") == await get(two, "json")


# Waiting.


@pytest.mark.parametrize("code", [429, 503])
async def test_retry_after_holds_back_every_request(paths: Paths, code: int) -> None:
    throttled = iter([True])

    async def answer(request: web.Request) -> web.Response:
        if next(throttled, False):
            return web.Response(status=code, headers={"Retry-After": "1"})
        return await anything(request)

    async with serving(answer) as server:
        async with asking(server, paths, retries=1) as client:
            first = asyncio.create_task(get(client, "json"))
            await asyncio.sleep(0.2)
            await asyncio.gather(first, get(client, "file"))
        assert server.times[1] - server.times[0] >= 1.0
        waited = request_stats.read(paths)["download"]["seconds_waited"]
        assert 0.8 <= waited["retry_after"] <= 1.5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("120", 120, id="seconds"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0, id="date in the past"),
        pytest.param("-5", 0, id="less than nothing"),
        pytest.param("1e300", 366 * 86_400, id="more than a year"),
        pytest.param("inf", None, id="for ever"),
        pytest.param("nan", None, id="not a number"),
        pytest.param("soon", None, id="a word"),
        pytest.param(None, None, id="absent"),
    ],
)
def test_retry_after_is_seconds_or_a_date_of_the_past(
    value: str | None, seconds: float | None
) -> None:
    assert responses.retry_after(value) == (
        pytest.approx(seconds, abs=60) if seconds is not None else None
    )


def test_retry_after_may_be_a_date_with_or_without_its_zone() -> None:
    moment = datetime.now(UTC) + timedelta(hours=1)
    for value in (
        format_datetime(moment, usegmt=True),
        format_datetime(moment.replace(tzinfo=None)),
    ):
        assert responses.retry_after(value) == pytest.approx(3600, abs=60)


async def test_long_retry_after_ends_the_run_and_says_when_to_come_back(
    paths: Paths,
) -> None:
    async with (
        serving(status(503, headers={"Retry-After": "7200"})) as server,
        asking(server, paths) as client,
    ):
        moment = datetime.now(UTC) + timedelta(hours=2)
        with pytest.raises(
            SiteUnreachable,
            match=r"asks to wait 7,200 s .* in 2 hours, after (\d\d:\d\d) UTC",
        ) as raised:
            await get(client, "json")
        assert raised.value.exit_status == 75
        assert f"{moment:%H:%M}" in str(raised.value)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (30, "in a minute."),
        (900, "in 15 minutes, after "),
        (3600, "in an hour, after "),
        (86_400, "in a day, after 20"),
    ],
)
def test_time_to_come_back_is_said_in_words_and_by_the_clock(
    seconds: float, said: str
) -> None:
    assert f"Run the same command again {said}" in retry_hint(seconds)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            status(
                422,
                text='{"success":false,"message":"The search timed out","code":null}',
                content_type="application/json",
            ),
            id="422 timed out",
        ),
        pytest.param(status(501), id="501"),
    ],
)
async def test_request_that_was_too_much_this_time_is_retried_and_ends_as_retry_later(
    paths: Paths, answer: Answer, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving(answer) as server, asking(server, paths, retries=2) as client:
        with pytest.raises(
            SiteUnreachable,
            match=r"does not answer after 3 tries: .* again in a minute\.",
        ) as raised:
            await get(client, "json")
        assert raised.value.exit_status == 75
        assert len(server.requests) == 3
    said = capfd.readouterr().err.splitlines()
    assert [line.rpartition(", ")[2] for line in said] == [
        "asked again (try 2 of 3)",
        "asked again (try 3 of 3)",
    ]


async def test_waits_between_tries_grow_and_are_counted(paths: Paths) -> None:
    async with serving(status(503)) as server:
        async with asking(
            server, paths, retries=3, patience=replace(QUICK, first_backoff=0.1)
        ) as client:
            with pytest.raises(
                SiteUnreachable, match="does not answer after 4 tries: status 503"
            ):
                await get(client, "json")
        gaps = [later - sooner for sooner, later in pairwise(server.times)]
        assert [
            gap >= least for gap, least in zip(gaps, (0.1, 0.2, 0.4), strict=True)
        ] == [True] * 3
        assert request_stats.read(paths)["download"]["seconds_waited"][
            "backoff"
        ] == pytest.approx(sum(gaps), abs=0.2)


# The circuit breaker.


@pytest.mark.parametrize("code", [500, 503, 520])
async def test_site_that_fails_every_request_is_left_alone_after_25(
    paths: Paths, code: int
) -> None:
    async with serving(status(code), "127.0.0.1") as server:
        async with asking(server, paths, retries=2) as client:
            with pytest.raises(
                SiteUnreachable,
                match=rf"failed {LIMIT} requests in a row, the last: status {code}",
            ):
                await until_given_up(
                    lambda: client.with_retries(lambda: get(client, "file"))
                )
        assert len(server.requests) == LIMIT


async def test_connections_that_break_count_as_failures_too(paths: Paths) -> None:
    async with serving(anything) as server:
        pass  # nobody listens there any more
    async with asking(server, paths) as client:
        with pytest.raises(
            SiteUnreachable,
            match=r"in a row, the last: ClientConnectorError .* "
            r"Everything fetched is kept",
        ):
            await until_given_up(lambda: get(client, "file"))
    assert request_stats.read(paths)["download"]["requests"]["file"] == {
        "ClientConnectorError": LIMIT
    }


async def test_one_success_forgets_the_failures_before_it(paths: Paths) -> None:
    count = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return (
            await anything(request) if count % LIMIT == 0 else web.Response(status=503)
        )

    async with serving(answer) as server, asking(server, paths) as client:
        for _ in range(3 * LIMIT):
            with (
                pytest.raises(TransientFailure)
                if (count + 1) % LIMIT
                else nullcontext()
            ):
                await get(client, "file")


async def test_one_hiccup_of_many_requests_at_once_is_not_the_end(paths: Paths) -> None:
    opens = time.monotonic() + 0.3

    async def answer(request: web.Request) -> web.Response:
        return (
            await anything(request)
            if time.monotonic() > opens
            else web.Response(status=503)
        )

    patience = replace(LOCAL_TIMEOUTS, first_backoff=0.3)
    async with (
        serving(answer) as server,
        asking(server, paths, retries=3, patience=patience) as client,
    ):
        await asyncio.gather(
            *(client.with_retries(lambda: get(client, "file")) for _ in range(32))
        )


async def test_refusals_in_a_row_are_the_callers_to_judge_first_and_the_breakers_then(
    paths: Paths,
) -> None:
    forbidden = status(
        403,
        text='{"success":false,"reason":"Access Denied"}',
        content_type="application/json",
    )
    async with (
        serving(forbidden) as server,
        asking(server, paths, concurrency=4) as client,
    ):
        for _ in range(LIMIT + 3):
            with pytest.raises(
                PermanentFailure, match="forbidden: status 403: Access Denied"
            ):
                await get(client, "file")
        with pytest.raises(
            SiteUnreachable, match=f"failed {LIMIT + 4} requests in a row"
        ):
            await get(client, "file")


# Pages where something else belongs.

CHALLENGES = [
    pytest.param(page(200, "Just a moment..."), id="200"),
    pytest.param(page(403, "Just a moment..."), id="403"),
    pytest.param(
        page(503, "A page", "<form>solve this CAPTCHA</form>"), id="503 captcha"
    ),
    pytest.param(page(404, "Attention Required! | Cloudflare"), id="404"),
    pytest.param(
        status(200, text="", headers={"cf-mitigated": "challenge"}), id="header only"
    ),
    pytest.param(
        status(429, text="", headers={"cf-mitigated": "challenge"}),
        id="header with 429",
    ),
]


@pytest.mark.parametrize("what", ["json", "file", "export"])
@pytest.mark.parametrize("answer", CHALLENGES)
async def test_challenge_page_ends_the_run_at_once(
    paths: Paths, answer: Answer, what: str
) -> None:
    async with serving(answer) as server, asking(server, paths, retries=5) as client:
        with pytest.raises(
            ChallengePage, match=r"asks for a human\. .* Wait an hour"
        ) as raised:
            await get(client, what)
        assert raised.value.exit_status == 75
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("code", "what", "content_type"),
    [
        (200, "json", "application/json"),
        (200, "file", "image/jpeg"),
        (403, "json", "text/plain"),
        (403, "file", "application/octet-stream"),
        (429, "export", "text/plain"),
    ],
)
async def test_challenge_page_under_another_content_type_is_known_by_its_body(
    paths: Paths, code: int, what: str, content_type: str
) -> None:
    disguised = status(
        code, text=PAGE.format("Just a moment...", ""), content_type=content_type
    )
    async with serving(disguised) as server, asking(server, paths) as client:
        with pytest.raises(ChallengePage):
            await get(client, what)


@pytest.mark.parametrize(
    ("code", "what"),
    [(200, "json"), (200, "file"), (403, "json"), (429, "file"), (503, "export")],
)
@pytest.mark.parametrize("content_type", ["text/html", "text/plain"])
async def test_challenge_page_that_comes_in_pieces_is_known_by_a_later_one(
    paths: Paths, code: int, what: str, content_type: str
) -> None:
    async def slowly(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=code)
        response.content_type = content_type if code != 200 else "text/html"
        await response.prepare(request)
        before, mark, after = PAGE.format("Just a moment...", "").partition("<title>")
        for piece in (before, mark + after):
            await response.write(piece.encode())
            await asyncio.sleep(0.1)
        return response

    async with serving(slowly) as server, asking(server, paths) as client:
        with pytest.raises(ChallengePage):
            await get(client, what)


@pytest.mark.parametrize("ends", ["breaks off", "stalls"])
async def test_error_whose_body_never_comes_is_still_what_its_head_says(
    paths: Paths, ends: str
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            status=429, headers={"Retry-After": "600", "Content-Length": "100"}
        )
        response.content_type = "text/plain"
        await response.prepare(request)
        if ends == "stalls":
            await asyncio.sleep(30)
        assert request.transport is not None
        request.transport.close()
        return response

    async with serving(cut) as server, asking(server, paths, retries=0) as client:
        with pytest.raises(TransientFailure) as raised:
            await get(client, "file")
        assert raised.value.wait == 600


async def test_missing_picture_behind_an_edge_that_adds_its_script_is_just_missing(
    paths: Paths,
) -> None:
    address = "/cdn-cgi/challenge-platform/scripts/jsd/main.js"
    script = f"<p>News: the drawing challenge</p><script src='{address}'></script>"
    async with (
        serving(page(404, "Not found", script)) as server,
        asking(server, paths) as client,
    ):
        with pytest.raises(PermanentFailure) as raised:
            await get(client, "file")
        assert raised.value.reason is DownloadFailure.NOT_FOUND


async def test_page_where_json_belongs_is_one_clear_line(paths: Paths) -> None:
    async with (
        serving(page(200, "Maintenance")) as server,
        asking(server, paths) as client,
    ):
        with pytest.raises(
            BadAnswer,
            match=r"/posts\.json answered text/html, not JSON\. "
            r"Nothing fetched is lost",
        ):
            await get(client, "json")


@pytest.mark.parametrize(
    ("what", "reason"), [("file", "a picture"), ("export", "an export")]
)
async def test_page_where_a_file_belongs_is_never_its_bytes(
    paths: Paths, what: str, reason: str
) -> None:
    async with (
        serving(page(200, "Maintenance")) as server,
        asking(server, paths) as client,
    ):
        with pytest.raises(TransientFailure, match=f"where {reason} belongs"):
            await get(client, what)


@pytest.mark.parametrize("what", ["json", "file", "export"])
async def test_redirect_to_another_host_is_refused_and_never_followed(
    paths: Paths, what: str
) -> None:
    async with serving(anything) as elsewhere:
        redirect = status(302, headers={"Location": elsewhere.url + FILE})
        async with serving(redirect) as server, asking(server, paths) as client:
            with pytest.raises(PermanentFailure, match="status 302 to http"):
                await get(client, what)
        assert not elsewhere.requests


async def test_address_that_the_site_names_elsewhere_is_not_asked(paths: Paths) -> None:
    async with serving(anything, "127.0.0.3") as elsewhere:
        async with serving(anything) as server, asking(server, paths) as client:
            with pytest.raises(BadAnswer, match=r"is not on 127\.0\.0\.1"):
                async with client.stream(elsewhere.url + EXPORT):
                    pass
        assert not elsewhere.requests


# Sizes.


async def test_json_that_inflates_without_end_is_refused(paths: Paths) -> None:
    bomb = gzip.compress(b"[" + b" " * (MAX_JSON + 1), compresslevel=1)
    answer = status(
        200,
        body=bomb,
        content_type="application/json",
        headers={"Content-Encoding": "gzip"},
    )
    async with serving(answer) as server, asking(server, paths) as client:
        with pytest.raises(
            BadAnswer, match="answered more than 67,108,864 bytes of JSON"
        ):
            await get(client, "json")


async def test_file_that_inflates_beyond_the_limit_is_refused(paths: Paths) -> None:
    bomb = gzip.compress(bytes(8 << 20))
    answer = status(
        200, body=bomb, content_type="image/png", headers={"Content-Encoding": "gzip"}
    )
    async with serving(answer) as server, asking(server, paths) as client:
        with pytest.raises(
            PermanentFailure, match="too_large: more than 1,048,576 bytes"
        ):
            await get(client, "file")


async def test_files_and_exports_are_asked_for_as_they_are_stored(paths: Paths) -> None:
    stored = gzip.compress(b"id\n1\n")
    answer = status(
        200, body=stored, content_type="text/csv", headers={"Content-Encoding": "gzip"}
    )
    async with serving(answer) as server, asking(server, paths) as client:
        assert (
            await get(client, "export") == stored
        )  # its checksum is that of these bytes
        await get(client, "file")
        assert [request.headers["Accept-Encoding"] for request in server.requests] == [
            "identity"
        ] * 2


async def test_broken_json_is_asked_for_again(paths: Paths) -> None:
    texts = iter(['{"posts": [', '{"posts": []}'])

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=next(texts), content_type="application/json")

    async with serving(answer) as server, asking(server, paths, retries=1) as client:
        assert await get(client, "json") == {"posts": []}


# What the site says.


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (410, "You cannot go beyond page 750."),
        (422, "You cannot search for more than 40 tags"),
    ],
)
async def test_refused_query_carries_status_and_the_sites_words(
    paths: Paths, code: int, message: str
) -> None:
    body = json.dumps({"success": False, "message": message, "code": None})
    async with serving(
        status(code, text=body, content_type="application/json")
    ) as server:
        async with asking(server, paths, retries=5) as client:
            with pytest.raises(
                RequestRejected,
                match=re.escape(f"/posts.json is refused (status {code}: {message})"),
            ) as raised:
                await client.json("/posts.json")
        assert (raised.value.status, raised.value.message) == (code, message)
        assert isinstance(raised.value, E6tagError)
        assert len(server.requests) == 1


async def test_bad_key_is_said_as_such_and_not_tried_again(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(responses.API_KEY, "an old key")
    async with (
        serving(status(401)) as server,
        asking(server, paths, retries=5, login="someone") as client,
    ):
        with pytest.raises(
            BadParameter,
            match=r"refuses the login of site\.login \(401\): .* E6TAG_API_KEY",
        ):
            await get(client, "json")
        assert len(server.requests) == 1


async def test_cookies_are_neither_kept_nor_sent(paths: Paths) -> None:
    async def setting(_request: web.Request) -> web.Response:
        return web.json_response({}, headers={"Set-Cookie": "session=1; Path=/"})

    async with serving(setting) as server:
        site = Site(
            name="custom",
            base_url=server.url.replace("127.0.0.1", "localhost"),
            static_url=server.url,
        )
        async with open_site(site, paths, "download") as client:
            await get(client, "json")
            await get(client, "json")
        assert ["Cookie" in request.headers for request in server.requests] == [
            False,
            False,
        ]


async def test_key_goes_to_the_site_and_never_to_the_static_host(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(responses.API_KEY, "a key")
    async with serving(anything) as server, serving(anything) as static:
        site = Site(
            name="custom", base_url=server.url, static_url=static.url, login="someone"
        )
        async with open_site(site, paths, "download") as client:
            await get(client, "json")
            await get(client, "file")
        assert "Authorization" in server.requests[0].headers
        assert "Authorization" not in static.requests[0].headers


# Time.


def dripping(pause: float, piece: bytes = b"x", pieces: int = 1000) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
        await response.prepare(request)
        for _ in range(pieces):
            await response.write(piece)
            await asyncio.sleep(pause)
        return response

    return answer


@pytest.mark.parametrize(
    ("what", "patience"),
    [
        pytest.param("file", replace(QUICK, look=0.4), id="drip"),
        pytest.param("export", replace(QUICK, look=0.4), id="drip of an export"),
        pytest.param("file", replace(QUICK, whole=0.4, slowest=0), id="endless file"),
    ],
)
async def test_what_comes_too_slowly_ends(
    paths: Paths, what: str, patience: Timeouts
) -> None:
    async with (
        serving(dripping(0.01)) as server,
        asking(server, paths, patience=patience) as client,
        asyncio.timeout(5),
    ):
        with pytest.raises(
            TransientFailure, match=r"too slow: \d+ bytes of it came in 0\.[4-9] s"
        ):
            await get(client, what)


async def test_silence_ends(paths: Paths) -> None:
    patience = replace(QUICK, silence=0.3)
    async with (
        serving(dripping(30)) as server,
        asking(server, paths, patience=patience) as client,
        asyncio.timeout(5),
    ):
        with pytest.raises(TransientFailure, match="SocketTimeoutError"):
            await get(client, "file")


async def test_long_export_that_keeps_coming_is_not_cut_off(paths: Paths) -> None:
    patience = replace(QUICK, whole=0.2, look=0.1)
    async with (
        serving(dripping(0.02, bytes(1000), 40)) as server,
        asking(server, paths, patience=patience) as client,
    ):
        assert await get(client, "export") == bytes(40_000)


async def test_connection_that_breaks_before_the_answer_is_not_retried_behind_our_back(
    paths: Paths,
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if len(server.requests) > 1:
            assert request.transport is not None
            request.transport.close()
        return await anything(request)

    async with serving(answer) as server:
        async with asking(server, paths) as client:
            await get(client, "file")
            with pytest.raises(TransientFailure, match="ServerDisconnectedError"):
                await get(client, "file")
        assert len(server.requests) == 2
        assert request_stats.read(paths)["download"]["requests"] == {
            "file": {"200": 1, "ServerDisconnectedError": 1}
        }


# The figures.


async def test_figures_add_up_over_runs_and_stages(paths: Paths) -> None:
    async with serving(anything) as server:
        for _ in range(2):
            async with asking(server, paths, requests_per_second=40) as client:
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
    assert figures["download"]["bytes"]["file"] == 2 * len(b"\xff\xd8\xff picture")
    assert list(figures["download"]["agents"].values()) == [6]
    assert figures["download"]["rate_limit_per_second"] == 40
    assert 0.02 < figures["download"]["seconds_waited"]["rate_limit"] < 0.5
    assert figures["refresh"]["requests"] == {"api": {"200": 1}}
    assert "rate_limit_per_second" not in figures["refresh"]


async def test_figures_of_a_run_that_fails_are_saved_too(paths: Paths) -> None:
    async with serving(page(403)) as server:
        with pytest.raises(ChallengePage):
            async with asking(server, paths) as client:
                await get(client, "file")
    assert request_stats.read(paths)["download"]["requests"] == {"file": {"403": 1}}


async def test_figures_are_saved_while_the_run_goes_on(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_stats, "INTERVAL", 0.1)
    async with serving(anything) as server, asking(server, paths) as client:
        await get(client, "file")
        await asyncio.sleep(0.4)
        assert request_stats.read(paths)["download"]["requests"] == {"file": {"200": 1}}
        await get(client, "file")
    assert request_stats.read(paths)["download"]["requests"] == {"file": {"200": 2}}


def test_sandbox_on_another_address_is_held_to_the_rules_of_a_real_site(
    tmp_path: Path, board: SandboxBoard
) -> None:
    with served(board, host="127.0.0.2") as site:
        project = make_project(
            tmp_path / "project", site, site={**REMOTE, "requests_per_second": 50}
        )
        assert [request.agent for request in site.requests] == [
            "e6tag/0.1.0 (by someone@example.org)"
        ]
        assert (
            request_stats.read(project.paths)["refresh"]["rate_limit_per_second"] == 2.0
        )


@pytest.mark.parametrize(
    "content", [b"{half", b"[]", b'{"download": {"requests": "many"}}', b"\xff"]
)
async def test_damaged_figures_are_set_aside_and_said(
    paths: Paths, capfd: pytest.CaptureFixture[str], content: bytes
) -> None:
    paths.data.mkdir(parents=True)
    paths.politeness.write_bytes(content)
    async with serving(anything) as server, asking(server, paths) as client:
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


# Progress.


def test_line_says_count_rate_bytes_time_left_and_failures(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with progress.meter("download", unit="pictures", total=3000) as meter:
        time.sleep(0.1)
        meter.advance(10, "2 refused", bytes=5_000_000)
    line = capfd.readouterr().err
    assert re.fullmatch(
        r"download: 10 of 3,000 pictures, [\d.]+/s, [\d.]+ MB/s, \d+ (s|min) left, "
        r"2 refused\n",
        line,
    ), line


def test_what_an_earlier_run_fetched_says_nothing_about_the_rate() -> None:
    meter = progress.Meter("posts.csv.gz", "bytes", 2_000_000_000)
    meter.skip_done(1_000_000_000)
    time.sleep(0.1)
    meter.advance(1_000_000)
    assert re.fullmatch(
        r"1,001\.0 MB of 2,000\.0 MB, \d{1,2}\.\d MB/s, \d+ (s|min) left", meter.state()
    ), meter.state()


def test_line_comes_every_ten_seconds_though_nothing_is_finished(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.1)
    with progress.meter("download", unit="pictures", total=30):
        time.sleep(0.45)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) >= 3, (
        lines
    )  # four and the last one, on a machine that has the time
    assert set(lines) == {"download: 0 of 30 pictures, 0.0/s"}


def test_bar_on_a_terminal_shows_the_same() -> None:
    work = (
        "import time; from pipeline import progress\n"
        "with progress.meter('download', unit='pictures', total=9) as meter:\n"
        "    for _ in range(6): time.sleep(0.1); meter.advance(bytes=9_000_000, "
        "note='1 refused')"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-c", work], cwd=ROOT, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
        os.close(ours)
    assert process.returncode == 0
    assert re.search(
        rb"\d of 9 pictures, [\d.]+/s, [\d.]+ MB/s, \d+ s left, 1 refused", shown
    ), shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: the other side is closed
        return b""
