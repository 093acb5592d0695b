"""How evenly requests arrive under a limit: aiolimiter beside ours.

    python bench/limiter.py [--runs 5] [--seconds 10] [--rates 50 2]

The requests go to one loopback server in another process. The figures are of arrival
times, taken by the kernel and not by the server, which may be late. "achieved" is
(arrivals - 1) / (last - first) as a share of the limit; "in one second" is the largest
number of arrivals in any window of one second, which must not pass the limit. The
limiters take turns within each run.
"""

import argparse
import asyncio
import multiprocessing
import selectors
import socket
import statistics
import struct
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import cast

import aiohttp
from aiolimiter import AsyncLimiter

from pipeline.site.rate_limiter import RateLimiter

Acquire = Callable[[], Awaitable[None]]


async def _leave(limiter: RateLimiter) -> None:
    (await limiter.acquire()).left()


def _bucket_of_one(rate: float) -> Acquire:
    return AsyncLimiter(1, 1 / rate).acquire


def _bucket_of_one_with_wider_grid(rate: float) -> Acquire:
    return AsyncLimiter(1, 1.01 / rate).acquire


def _bucket_of_a_second(rate: float) -> Acquire:
    burst = max(rate, 1)
    return AsyncLimiter(burst, burst / rate).acquire


def _ours(rate: float) -> Acquire:
    return partial(_leave, RateLimiter(rate))


LIMITERS: dict[str, Callable[[float], Acquire]] = {
    "aiolimiter, bucket of 1": _bucket_of_one,
    "aiolimiter, bucket of 1, grid 1 % wider": _bucket_of_one_with_wider_grid,
    "aiolimiter, bucket of a second": _bucket_of_a_second,
    "ours": _ours,
}
# Linux: the time of arrival comes as ancillary data with what is received
SO_TIMESTAMPNS = 35
WORKERS = 32  # requests that may be in flight, the default of site.concurrency
HEAD = """\
| limiter | achieved, median | worst | in one second, median | worst | smallest gap, median |
|---|---|---|---|---|---|"""  # noqa: E501


def serve(pipe: Connection) -> None:
    """Runs a minimal HTTP server.

    It sends its port; then, for each message, the arrivals since the last one.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=WORKERS)
    # Connections that it accepts inherit this before anything arrives.
    listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    pipe.send(listener.getsockname()[1])
    arrivals: list[float] = []
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    selector.register(connection, selectors.EVENT_READ)
                elif key.fileobj is not pipe:
                    if not answer(cast(socket.socket, key.fileobj), arrivals):
                        selector.unregister(key.fileobj)
                elif not pipe.recv():
                    return
                else:
                    pipe.send(sorted(arrivals))
                    arrivals.clear()


def answer(connection: socket.socket, arrivals: list[float]) -> bool:
    """Records when a request arrived, all of it in one segment, and responds.

    Returns False where the client is gone.
    """
    data, notes, _, _ = connection.recvmsg(4096, 64)
    if not data:
        connection.close()
        return False
    if notes:
        seconds, nanoseconds = struct.unpack("qq", notes[0][2])
        arrivals.append(seconds + nanoseconds / 1e9)
    else:  # the kernel starts to take times a moment after it was requested
        arrivals.append(time.time())
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    return True


async def send_requests(url: str, acquire: Acquire, seconds: float) -> None:
    """Sends requests as fast as the limiter allows.

    It does so as the download stage does: many workers over one session.
    """
    connector = aiohttp.TCPConnector(limit=WORKERS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def work() -> None:
            while True:
                await acquire()
                async with session.get(url) as response:
                    await response.read()

        tasks = [asyncio.create_task(work()) for _ in range(WORKERS)]
        done, pending = await asyncio.wait(
            tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION
        )
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()  # a worker that ended has failed


def achieved(arrivals: list[float]) -> float:
    """Returns arrivals per second."""
    return (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])


def crowded(arrivals: list[float]) -> int:
    """Returns the largest number of arrivals in any second (its end excluded)."""
    most = 0
    first = 0
    for last, moment in enumerate(arrivals):
        while moment - arrivals[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def main() -> None:
    """Prints one table per limit."""
    options = _options()
    pipe, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{pipe.recv()}/"
    for rate in options.rates:
        runs: dict[str, list[list[float]]] = {name: [] for name in LIMITERS}
        for _ in range(options.runs):
            for name, make in LIMITERS.items():
                asyncio.run(limited(url, make, rate, options.seconds))
                pipe.send(True)
                runs[name].append(pipe.recv())
        show(rate, runs)
    pipe.send(False)
    server.join()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rates", type=float, nargs="+", default=[50.0, 2.0])
    return parser.parse_args()


async def limited(
    url: str, make: Callable[[float], Acquire], rate: float, seconds: float
) -> None:
    """Does one run; the limiter is made inside its event loop."""
    await send_requests(url, make(rate), seconds)


def show(rate: float, runs: dict[str, list[list[float]]]) -> None:
    """Prints Markdown."""
    count = len(next(iter(runs.values())))
    print(f"\nLimit {rate:g}/s, {count} runs:\n")
    print(HEAD)
    for name, arrivals in runs.items():
        shares = [achieved(one) / rate for one in arrivals]
        worst = max(shares, key=_distance_from_one)
        crowds = [crowded(one) for one in arrivals]
        gaps = [smallest_gap(one) for one in arrivals]
        cells = [
            name,
            f"{statistics.median(shares):.2%}",
            f"{worst:.2%}",
            f"{statistics.median(crowds):g}",
            str(max(crowds)),
            f"{statistics.median(gaps) * 1000:.1f} ms",
        ]
        print(f"| {' | '.join(cells)} |")


def _distance_from_one(share: float) -> float:
    return abs(share - 1)


def smallest_gap(arrivals: list[float]) -> float:
    """Returns the shortest time between two arrivals, in seconds."""
    return min(later - sooner for sooner, later in pairwise(arrivals))


if __name__ == "__main__":
    main()
