"""Sends damaged uploads to `e6tag serve`: it must answer each of them and stay up.

    python -m bench.serve_fuzz [--uploads 10000] [--seed 621] [--write]

Every response must be 200 or a refusal of 4xx in JSON. The server has the toy bundle of
the tests: what is tried are forms, decoders and what is between them.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import psutil
from aiohttp import ClientSession

from tests.builders import bad_uploads, toy_bundle
from tests.builders.tag_server import Server, serving

RESULT = Path(__file__).parent / "results" / "serve_fuzz.md"
TOGETHER = 8


def main() -> None:
    """Sends the uploads and prints what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uploads", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=621)
    parser.add_argument("--write", action="store_true", help=f"writes {RESULT.name}")
    arguments = parser.parse_args()
    text = page(arguments.uploads, arguments.seed)
    print(text)
    if arguments.write:
        RESULT.write_text(text, encoding="utf-8")


def page(uploads: int, seed: int) -> str:
    """Sends the uploads to a server of their own and returns the page of results."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = toy_bundle.write_bundle(Path(folder) / "bundle")
        with serving(bundle) as server:
            start = time.perf_counter()
            outcomes, dead = asyncio.run(send_all(server, uploads, seed))
            seconds = time.perf_counter() - start
            memory = psutil.Process(server.process.pid).memory_info().rss / 1e6
            status, printed = server.end()
    heading = (
        "# Damaged uploads\n\n"
        f"{uploads:,} uploads of seed {seed}, {TOGETHER} at a time, in {seconds:.0f} "
        f"seconds on {os.cpu_count()} cores that other work shared. Decoders that "
        f"died: {dead:.0f}. The server took {memory:.0f} MB at the end, ended with "
        f"status {status} and had printed {len(printed)} characters. Made by "
        "`python -m bench.serve_fuzz --write`.\n"
    )
    rows = ["| answer | uploads |", "|---|--:|"]
    for outcome, count in outcomes.most_common():
        rows.append(f"| {outcome} | {count:,} |")
    return f"{heading}\n" + "\n".join(rows) + "\n"


async def send_all(
    server: Server, uploads: int, seed: int
) -> tuple[Counter[str], float]:
    """Returns how many uploads had which answer, and how many decoders died."""
    waiting = islice(bad_uploads.uploads(seed), uploads)
    outcomes: Counter[str] = Counter()
    async with ClientSession(server.url) as client:

        async def work() -> None:
            for content_type, body in waiting:
                outcomes[await send(client, content_type, body)] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(TOGETHER):
                group.create_task(work())
        async with client.get("/metrics") as response:
            lines = (await response.text()).splitlines()
    (dead,) = [line for line in lines if line.startswith("e6tag_dead_workers_total")]
    return outcomes, float(dead.split()[1])


async def send(client: ClientSession, content_type: str, body: bytes) -> str:
    """Returns the answer to one upload; raises RuntimeError if it may not be that."""
    headers = {"Content-Type": content_type}
    async with client.post("/v1/tag", data=body, headers=headers) as response:
        answer = await response.json()
    if response.status == 200:
        return "200"
    code = answer["error"]["code"]
    if response.status >= 500:
        raise RuntimeError(f"{response.status} {code} for {content_type} {body!r}")
    return f"{response.status} {code}"


if __name__ == "__main__":
    main()
