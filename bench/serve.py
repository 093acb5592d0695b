"""`e6tag serve` under load: errors, memory, latency.

    python -m bench.serve [--bundle FOLDER] [--seconds 60] [--write]

    maximum  200 clients, each of which sends its next image when it has an answer:
             no error, and the memory of all processes grows by less than 50 MB
    half     images at half the rate of before, at times that do not depend on the
             answers (a Poisson process): the 99th percentile of the times to an answer
             is at most 3 times the median

Images are JPEGs of 850 x 1,136 pixels. The clients run on the same machine. Without
--bundle it is the toy bundle of the tests, whose network costs little: what is measured
is the server itself.
"""

import argparse
import asyncio
import io
import itertools
import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import psutil
from aiohttp import ClientError, ClientSession, TCPConnector
from PIL import Image

from tests.builders import toy_bundle
from tests.builders.tag_server import Server, serving

RESULT = Path(__file__).parent / "results" / "serve.md"
CLIENTS = 200
WARM_SECONDS = 10.0
MOST_GROWTH = 50.0  # MB
MOST_SPREAD = 3.0  # times the median


@dataclass(slots=True)
class Load:
    """What came of a load. seconds: to each answer; outcomes: by status."""

    wall: float = 0.0
    seconds: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.seconds) / self.wall

    @property
    def errors(self) -> int:
        """Requests without a good answer."""
        return self.outcomes.total() - self.outcomes["200"]

    def percentile(self, share: int) -> float:
        """Returns milliseconds within which `share` percent of the answers came."""
        return 1_000 * float(np.percentile(self.seconds, share))


@dataclass(frozen=True, slots=True)
class Measured:
    """Both loads; growth: of memory in MB, at its most."""

    maximum: Load
    half: Load
    growth: float
    memory: float


def main() -> None:
    """Measures, prints and judges."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--write", action="store_true", help=f"writes {RESULT.name}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = arguments.bundle or toy_bundle.write_bundle(Path(folder) / "toy")
        with serving(bundle) as server:
            measured = asyncio.run(measure(server, arguments.seconds))
    what = "the toy bundle" if arguments.bundle is None else arguments.bundle.name
    text = report(measured, what, arguments.seconds)
    print(text)
    if arguments.write:
        RESULT.write_text(text, encoding="utf-8")


async def measure(server: Server, seconds: float) -> Measured:
    """Puts both loads on a server."""
    bodies = [jpeg(seed) for seed in range(20)]
    connector = TCPConnector(limit=0)
    async with ClientSession(server.url, connector=connector) as client:
        await closed_loop(client, bodies, WARM_SECONDS)
        before = memory(server)
        most = before
        load = asyncio.create_task(closed_loop(client, bodies, seconds))
        while not load.done():
            await asyncio.sleep(1)
            most = max(most, memory(server))
        maximum = await load
        half = await open_loop(client, bodies, maximum.rate / 2, seconds)
    return Measured(maximum, half, most - before, before)


def jpeg(seed: int) -> bytes:
    """Returns an image with the detail of a drawing."""
    small = np.random.default_rng(seed).integers(0, 255, (71, 53, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((850, 1_136), Image.Resampling.BICUBIC)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def memory(server: Server) -> float:
    """Returns the resident memory of the server and its decoders in MB."""
    main_process = psutil.Process(server.process.pid)
    processes = [main_process, *main_process.children()]
    return sum(process.memory_info().rss for process in processes) / 1e6


async def closed_loop(
    client: ClientSession, bodies: list[bytes], seconds: float
) -> Load:
    """Runs clients that always wait for an answer."""
    load = Load()
    start = time.perf_counter()
    supply = itertools.cycle(bodies)

    async def work() -> None:
        while time.perf_counter() - start < seconds:
            await send(client, next(supply), load)

    await asyncio.gather(*[work() for _ in range(CLIENTS)])
    load.wall = time.perf_counter() - start
    return load


async def open_loop(
    client: ClientSession, bodies: list[bytes], rate: float, seconds: float
) -> Load:
    """Sends images at random times, `rate` a second on average."""
    load = Load()
    random = Random(621)
    supply = itertools.cycle(bodies)
    start = time.perf_counter()
    due = 0.0
    sent = []
    while due < seconds:
        await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
        sent.append(asyncio.create_task(send(client, next(supply), load)))
        due += random.expovariate(rate)
    await asyncio.gather(*sent)
    load.wall = time.perf_counter() - start
    return load


async def send(client: ClientSession, body: bytes, load: Load) -> None:
    """Sends an image and notes how long the answer took."""
    start = time.perf_counter()
    headers = {"Content-Type": "image/jpeg"}
    try:
        async with client.post("/v1/tag", data=body, headers=headers) as response:
            await response.read()
            outcome = str(response.status)
    except ClientError as error:
        outcome = type(error).__name__
    load.outcomes[outcome] += 1
    if outcome == "200":
        load.seconds.append(time.perf_counter() - start)


def report(measured: Measured, bundle: str, seconds: float) -> str:
    """Returns the page of the result."""
    spread = measured.half.percentile(99) / measured.half.percentile(50)
    rows = [
        "| load | images/s | errors | median ms | p99 ms |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, load in (("maximum", measured.maximum), ("half", measured.half)):
        rows.append(
            f"| {name} | {load.rate:.1f} | {load.errors} | {load.percentile(50):.0f} "
            f"| {load.percentile(99):.0f} |"
        )
    growth = f"{measured.growth:.0f} MB from {measured.memory:.0f} MB"
    verdicts = [
        f"- errors at the maximum: {measured.maximum.errors} (aim: 0)",
        f"- growth of memory: {growth} (aim: at most {MOST_GROWTH:.0f})",
        f"- p99 at half: {spread:.1f} medians (aim: at most {MOST_SPREAD:.0f})",
    ]
    heading = (
        "# e6tag serve under load\n\n"
        f"{CLIENTS} clients for {seconds:.0f} seconds, after {WARM_SECONDS:.0f} to "
        f"warm up; then half of that rate. JPEGs of 850 x 1,136 pixels, {bundle}; "
        f"{os.cpu_count()} cores, which the clients share, load "
        f"{os.getloadavg()[1]:.1f} in 5 minutes. Made by "
        "`python -m bench.serve --write`.\n"
    )
    return f"{heading}\n" + "\n".join(rows) + "\n\n" + "\n".join(verdicts) + "\n"


if __name__ == "__main__":
    main()
