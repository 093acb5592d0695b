"""Images per second: our download stage, img2dataset and a bare loop, side by side.

    python bench/pictures.py --img2dataset /path/to/venv/bin/python
        [--server distant] [--rounds 5] [--write]

Every contender fetches the same JPEGs of about 100 kB from one server, on this
machine's cores, which the server shares: `sandbox`, which finds each post, judges who
may see it and logs the request, as a site does; `bytes`, one process that does nothing
but send what it holds in memory; or `distant`, the same, answering DISTANCE seconds
late, as a server in another country does. The targets are for `distant`: the others
take the processors from the clients, and a bare request to `bytes` costs less than the
md5 of a picture. A round runs every contender once, in turn; the figures are medians
over the rounds. Timed is the call itself, imports aside, to the moment everything is
written:

    ours        pipeline.download.run on a prepared project: md5 checked, packs sealed,
                ledger and outcomes written
    samples     the same for a variant without a published hash: images are decoded
    img2dataset its download(), output_format files, nothing resized or hashed
    bare        an aiohttp loop that throws the bytes away, with as many requests at
                the same time

Memory is the peak of the proportional set size summed over a contender's processes,
from a run of its own: the sampling costs time.
"""

import argparse
import asyncio
import hashlib
import io
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from PIL import Image

from pipeline.paths import Paths
from pipeline.schemas.sample import SAMPLED_POSTS
from pipeline.schemas.snapshot import POSTS, RELATIONS
from sandbox.records import Post, Relation, Tag

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
# Pixels: as an original small enough that the site makes no sample, and as the sample
# of an original of 2266 x 1700.
SIZE = (1133, 850)
# Of the bare loop; the sandbox refuses the names of libraries.
AGENT = "e6tag-bench/1 (by the operator of this machine)"
CONCURRENCY = 32  # requests under way, for every contender
# Seconds. At 0.05, CONCURRENCY requests at once cannot bring more than 640 images/s,
# 1.4 times what img2dataset reaches with twice as many: it would be all distance.
DISTANCE = 0.03
# Pictures/s of ours over those of the other, at least (issue 3)
TARGETS = {"img2dataset": 1.5, "bare": 0.7}
MEMORY_TARGET = 0.5  # of img2dataset's


def main() -> None:
    """Runs one part in this process, or the whole comparison."""
    arguments = _arguments()
    if arguments.part:
        _part(arguments.part, arguments.folder)
        return
    folder = arguments.folder or Path(tempfile.gettempdir()) / "e6tag-bench-pictures"
    _make_pictures(folder, arguments.pictures)
    (folder / "address").unlink(missing_ok=True)
    command = [sys.executable, __file__, "--part", f"serve-{arguments.server}"]
    command += ["--folder", str(folder)]
    with subprocess.Popen(command) as server:
        try:
            _await_server(folder)
            text = _compare(folder, arguments)
        finally:
            server.terminate()
    print(text)
    if arguments.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"pictures-{arguments.server}.md").write_text(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--img2dataset",
        type=Path,
        help="python of a venv with img2dataset; without it, it is left out",
    )
    parser.add_argument(
        "--server",
        choices=["sandbox", "bytes", "distant"],
        default="sandbox",
        help="see above",
    )
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, help="where pictures and results of the contenders lie"
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"write {RESULTS.relative_to(ROOT)}/pictures-SERVER.md",
    )
    parser.add_argument(
        "--part",
        choices=[*PARTS, "serve-sandbox", "serve-bytes", "serve-distant"],
        help=argparse.SUPPRESS,
    )
    return parser.parse_args()


def _make_pictures(folder: Path, count: int) -> None:
    """Paints JPEGs that look like something to a codec: soft shapes under grain."""
    pictures = folder / "pictures"
    if pictures.exists() and len(list(pictures.iterdir())) == count:
        return
    shutil.rmtree(folder, ignore_errors=True)
    pictures.mkdir(parents=True)
    for number in range(count):
        body = _paint(number)
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
        (pictures / md5).write_bytes(body)


def _paint(number: int) -> bytes:
    random = np.random.default_rng(number)
    small = random.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    shapes = Image.fromarray(small).resize(SIZE, Image.Resampling.BICUBIC)
    soft = np.asarray(shapes).astype(np.int16)
    grain = random.integers(-9, 10, (SIZE[1], SIZE[0], 1), dtype=np.int16)
    picture = Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8))
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=68)
    return encoded.getvalue()


def _await_server(folder: Path) -> None:
    for _ in range(600):
        if (folder / "address").exists():
            return
        time.sleep(0.05)
    raise SystemExit("the server did not start")


def _compare(folder: Path, arguments: argparse.Namespace) -> str:
    contenders = ["ours", "bare"]
    # The sandbox would make samples from originals of twice the size.
    if arguments.server != "sandbox":
        contenders.insert(1, "samples")
    if arguments.img2dataset:
        contenders.insert(-1, "img2dataset")
    python = {"img2dataset": arguments.img2dataset}
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(arguments.rounds):
        for name in contenders:
            seconds, _ = _run_part(name, folder, python.get(name), watched=False)
            rate = arguments.pictures / seconds
            rates[name].append(rate)
            print(f"round {number + 1}: {name} {rate:,.0f} pictures/s", file=sys.stderr)
    memory = {}
    for name in contenders:
        _, memory[name] = _run_part(name, folder, python.get(name), watched=True)
    return _report(folder, arguments, rates, memory)


def _run_part(
    name: str, folder: Path, python: Path | None, *, watched: bool
) -> tuple[float, float]:
    """Returns seconds and, where watched, the peak of PSS in MB."""
    for leftover in ("project", "img2dataset"):
        shutil.rmtree(folder / leftover, ignore_errors=True)
    os.sync()  # what one contender wrote is not flushed on the next one's time
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if name == "img2dataset":
        command = [str(python), "-c", IMG2DATASET, str(folder), str(CONCURRENCY)]
        # `pipeline` sets it for its own processes.
        environment.pop("ARROW_DEFAULT_MEMORY_POOL", None)
    else:
        command = [sys.executable, __file__, "--part", name, "--folder", str(folder)]
        _prepare(folder, name)
    log = folder / f"{name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, stdout=file, stderr=file, env=environment
        )
        peak = _watch(process) if watched else 0.0
        if process.wait() != 0:
            raise SystemExit(f"{name} failed: {log.read_text()[-2000:]}")
    _check(name, folder)
    return float((folder / "seconds").read_text()), peak / 1e6


def _watch(process: subprocess.Popen[bytes]) -> float:
    """Returns the highest sum of PSS over the process and all below it, in bytes."""
    peak = 0
    while process.poll() is None:
        total = 0
        parent = psutil.Process(process.pid)
        for one in [parent, *parent.children(recursive=True)]:
            try:
                total += one.memory_full_info().pss
            except psutil.Error:  # it ended between the listing and the look
                continue
        peak = max(peak, total)
        time.sleep(0.05)
    return peak


def _check(name: str, folder: Path) -> None:
    """A contender that lost pictures has won nothing."""
    wanted = {path.name for path in (folder / "pictures").iterdir()}
    if name == "img2dataset":
        got = len(list((folder / "img2dataset").rglob("*.jpg")))
    elif name == "bare":
        got = len(wanted)
    else:
        from pipeline import packs

        index = packs.index(folder / "project" / "data" / "images")
        got = len(set(index["md5"]) & wanted)
    if got != len(wanted):
        raise SystemExit(f"{name} got {got:,} of {len(wanted):,} pictures")


def _report(
    folder: Path,
    arguments: argparse.Namespace,
    rates: dict[str, list[float]],
    memory: dict[str, float],
) -> str:
    """Returns the page of results."""
    size = _mean_size(folder / "pictures", arguments.pictures)
    lines = ["# Pictures per second", "", _about(arguments, size), "", *HEAD]
    lines += _rows(rates, memory, size)
    lines.append("")
    lines += _verdicts(rates, memory)
    return "\n".join(lines) + "\n"


def _mean_size(pictures: Path, count: int) -> float:
    """Returns bytes."""
    return sum(path.stat().st_size for path in pictures.iterdir()) / count


def _about(arguments: argparse.Namespace, size: float) -> str:
    """Returns how and on what the table was made. size: bytes of a picture."""
    away = f", {DISTANCE * 1e3:.0f} ms away" if arguments.server == "distant" else ""
    load = os.getloadavg()[2]
    return (
        f"{arguments.pictures:,} JPEGs of {size / 1e3:,.0f} kB from one loopback "
        f"server (`{arguments.server}`{away}), {arguments.rounds} rounds, medians; "
        f"{os.cpu_count()} cores, shared with the server; load {load:.1f} in "
        f"15 minutes; Python {platform.python_version()}, "
        f"aiohttp {version('aiohttp')}. Made by `bench/pictures.py --write`, which "
        "documents what is timed."
    )


HEAD = (
    "| contender | pictures/s | of all rounds | MB/s | peak memory (PSS) | ours has |",
    "|---|---|---|---|---|---|",
)


def _rows(
    rates: dict[str, list[float]], memory: dict[str, float], size: float
) -> list[str]:
    """Returns a row for each contender. size: bytes of a picture."""
    rows = []
    for name, found in rates.items():
        rate = statistics.median(found)
        speed = _speed(rates, name)
        share = memory["ours"] / memory[name]
        beside = f"{speed:.2f} x its speed, {share:.2f} x its memory"
        cells = [
            name,
            f"{rate:,.0f}",
            f"{min(found):,.0f} to {max(found):,.0f}",
            f"{rate * size / 1e6:,.0f}",
            f"{memory[name]:,.0f} MB",
            "" if name == "ours" else beside,
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _speed(rates: dict[str, list[float]], name: str) -> float:
    """Returns the median rate of ours by that of another."""
    return statistics.median(rates["ours"]) / statistics.median(rates[name])


def _verdicts(rates: dict[str, list[float]], memory: dict[str, float]) -> list[str]:
    """Returns the targets and what was measured, as lines of a list."""
    lines = []
    for name, target in TARGETS.items():
        if name in rates:
            speed = _speed(rates, name)
            verdict = "reached" if speed >= target else "MISSED"
            lines.append(f"- at least {target} x {name}: {speed:.2f} x, {verdict}")
    if "img2dataset" in memory:
        share = memory["ours"] / memory["img2dataset"]
        verdict = "reached" if share <= MEMORY_TARGET else "MISSED"
        lines.append(
            f"- at most {MEMORY_TARGET} x the memory of img2dataset: {share:.2f} x, "
            f"{verdict}"
        )
    return lines


# The contenders. Each runs in a process of its own and leaves its seconds in a file.


def _part(name: str, folder: Path) -> None:
    if name.startswith("serve-"):
        asyncio.run(_serve(name, folder))
        return
    seconds = PARTS[name](folder)
    (folder / "seconds").write_text(str(seconds))


async def _serve(name: str, folder: Path) -> None:
    if name == "serve-sandbox":
        await _serve_sandbox(folder)
    elif name == "serve-distant":
        await _serve_bytes(folder, DISTANCE)
    else:
        await _serve_bytes(folder, 0.0)


def _ours(folder: Path) -> float:
    from pipeline import download, params, parquet

    paths = Paths(folder / "project")
    loaded = params.load(paths.params)
    # Imports what it needs the first time: imports are not timed.
    parquet.read(paths.sample / "posts.parquet")
    Image.init()
    started = time.perf_counter()
    download.run(loaded.download, paths, site=loaded.site)
    return time.perf_counter() - started


def _bare(folder: Path) -> float:
    import aiohttp

    address = _address(folder)
    names = sorted(path.name for path in (folder / "pictures").iterdir())
    urls = [f"{address}/data/{_below(name)}" for name in names]
    waiting = iter(urls)

    async def loop() -> float:
        connector = aiohttp.TCPConnector(limit=CONCURRENCY, limit_per_host=CONCURRENCY)
        headers = {"User-Agent": AGENT}
        async with aiohttp.ClientSession(
            connector=connector, headers=headers
        ) as session:

            async def work() -> None:
                for url in waiting:
                    async with session.get(url) as response:
                        response.raise_for_status()
                        await response.read()

            started = time.perf_counter()
            await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
            return time.perf_counter() - started

    return asyncio.run(loop())


PARTS = {"ours": _ours, "samples": _ours, "bare": _bare}
"""Those that run in a Python of ours: img2dataset has its own."""

IMG2DATASET = """
import sys, time
from pathlib import Path
from img2dataset import download

if __name__ == "__main__":
    folder, concurrency = Path(sys.argv[1]), int(sys.argv[2])
    address = (folder / "address").read_text()
    names = sorted(path.name for path in (folder / "pictures").iterdir())
    addresses = [f"{address}/data/{n[:2]}/{n[2:4]}/{n}.jpg" for n in names]
    (folder / "urls.txt").write_text("\\n".join(addresses))
    started = time.perf_counter()
    download(
        url_list=str(folder / "urls.txt"),
        output_folder=str(folder / "img2dataset"),
        output_format="files",
        resize_mode="no",
        disable_all_reencoding=True,
        compute_hash=None,
        extract_exif=False,
        user_agent_token="bench",
        processes_count=2,
        thread_count=concurrency,
        number_sample_per_shard=-(-len(names) // 4),
        enable_wandb=False,
    )
    (folder / "seconds").write_text(str(time.perf_counter() - started))
"""
"""Its fastest settings on two cores: a process per core, each with as many threads as
we have requests, four shards so that both stay busy, no hash, nothing decoded."""


def _prepare(folder: Path, name: str) -> None:
    """Writes a project whose snapshot and sample list the images.

    As originals, or as samples of larger ones.
    """
    paths = Paths(folder / "project")
    paths.root.mkdir()
    _write_settings(paths, _address(folder))
    scale = 2 if name == "samples" else 1
    files = sorted((folder / "pictures").iterdir())
    posts = [_post(number, path, scale) for number, path in enumerate(files, start=1)]
    _write_tables(paths, posts)


def _write_settings(paths: Paths, address: str) -> None:
    """Writes parameters and a pin of exports."""
    from pipeline import pin

    site = {
        "name": "custom",
        "base_url": address,
        "static_url": address,
        "concurrency": CONCURRENCY,
    }
    paths.params.write_text(yaml.safe_dump({"site": site}))
    exports = {}
    for export in pin.EXPORTS:
        name = f"{export}.csv.gz"
        exports[export] = pin.ExportFile(name, 1, "0" * 64, "2026-01-01T00:00:00Z")
    pin.save(paths.pin, pin.Pin(address, exports))


def _write_tables(paths: Paths, posts: list[dict[str, Any]]) -> None:
    """Writes the snapshot, without relations, and the sample."""
    import polars as pl

    from pipeline import parquet

    empty = pl.DataFrame(schema=dict.fromkeys(RELATIONS.names, pl.Null))
    parquet.write(paths.snapshot / "posts.parquet", posts, POSTS)
    for relation in ("aliases", "implications"):
        parquet.write(paths.snapshot / f"{relation}.parquet", empty, RELATIONS)
    parquet.write(paths.sample / "posts.parquet", posts, SAMPLED_POSTS)


def _post(number: int, path: Path, scale: int) -> dict[str, Any]:
    """Returns one row that serves both tables."""
    return {
        "post_id": number,
        "change_seq": number,
        "created_at": datetime(2025, 1, 1, tzinfo=UTC),
        "md5": path.name,
        "ext": "jpg",
        "rating": "s",
        "width": SIZE[0] * scale,
        "height": SIZE[1] * scale,
        "file_size": path.stat().st_size,
        "is_deleted": False,
        "is_pending": False,
        "is_flagged": False,
        "is_withheld": False,
        "score": 0,
        "fav_count": 0,
        "tags": ["fox"],
        "locked_tags": [],
        "group_id": number,
        "split": "train",
        "label_ids": [0],
        "explicit_label_ids": [0],
        "tag_count": 1,
    }


def _address(folder: Path) -> str:
    return (folder / "address").read_text()


def _below(md5: str) -> str:
    return f"{md5[:2]}/{md5[2:4]}/{md5}.jpg"


async def _serve_bytes(folder: Path, late: float) -> None:
    """Serves the images from memory, as originals and samples, by aiohttp."""
    from aiohttp import web

    answers = {}
    for path in (folder / "pictures").iterdir():
        body = path.read_bytes()
        answers[f"/data/{_below(path.name)}"] = body
        answers[f"/data/sample/{_below(path.name)}"] = body

    async def answer(request: web.BaseRequest) -> web.Response:
        body = answers.get(request.path)
        if body is None:
            return web.Response(status=404)
        if late:
            await asyncio.sleep(late)
        return web.Response(body=body, content_type="image/jpeg")

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await _announce(folder, f"http://127.0.0.1:{runner.addresses[0][1]}")


async def _serve_sandbox(folder: Path) -> None:
    from sandbox.server.app import serve

    async with serve(Stored(folder / "pictures")) as site:
        await _announce(folder, site.static_url)


async def _announce(folder: Path, address: str) -> None:
    (folder / "address").unlink(missing_ok=True)
    (folder / "address.tmp").write_text(address)
    (folder / "address.tmp").rename(folder / "address")
    await asyncio.Event().wait()


class Stored:
    """A board of the pictures in a folder, each the original of a post."""

    name, day, now = "stored", 1, datetime(2026, 1, 1, tzinfo=UTC)
    tags: Sequence[Tag] = ()
    aliases: Sequence[Relation] = ()
    implications: Sequence[Relation] = ()

    def __init__(self, pictures: Path) -> None:
        self._pictures = pictures
        files = enumerate(sorted(pictures.iterdir()), start=1)
        posts = [_stored(number, path) for number, path in files]
        self.posts: Sequence[Post] = tuple(posts)

    def original(self, md5: str) -> bytes:
        """Returns the file."""
        return (self._pictures / md5).read_bytes()


def _stored(number: int, path: Path) -> Post:
    return Post(
        id=number,
        uploader_id=1,
        created_at=Stored.now,
        updated_at=None,
        md5=path.name,
        ext="jpg",
        width=SIZE[0],
        height=SIZE[1],
        file_size=path.stat().st_size,
        rating="s",
        tags=("fox",),
        change_seq=number,
    )


if __name__ == "__main__":
    main()
