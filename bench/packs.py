"""Seconds until `download` knows which images it has, before its first request.

    python bench/packs.py [--gigabytes 3] [--folder /tmp/e6tag-bench-packs]

Packs of 2,000 made-up images of 100 kB each. Timed is pipeline.download.inventory.scan,
each in a process of its own: of packs without a record, which are read in full, and of
packs that are as recorded. The files are in the page cache if they fit: a disk is
slower, for a full read most of all.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline import packs
from pipeline.download import inventory, verified_packs
from pipeline.packs import PackedImage
from pipeline.paths import Paths

IMAGES = 2_000  # in a pack, as download.pack_images is by default
IMAGE_BYTES = 100_000


def main() -> None:
    """Makes the packs, then times a start without and with their records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/e6tag-bench-packs"))  # noqa: S108
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    paths = Paths(arguments.folder)
    if arguments.part:
        _start(paths)
        return
    _make_packs(paths, round(arguments.gigabytes * 1e9 / IMAGES / IMAGE_BYTES))
    command = [sys.executable, __file__, "--part", "--folder", arguments.folder]
    for record in sorted(verified_packs.folder(paths).glob("*")):
        record.unlink()
    for _ in range(2):
        subprocess.run(command, check=True)


def _make_packs(paths: Paths, count: int) -> None:
    for number in range(count):
        path = paths.images / f"pack-{number:016x}.parquet"
        if not path.exists():
            packs.write(path, _images(number))


def _images(pack: int) -> Iterator[PackedImage]:
    noise = os.urandom(IMAGE_BYTES)
    for number in range(IMAGES):
        md5 = f"{pack:016x}{number:016x}"
        content = md5.encode() + noise[32:]
        yield PackedImage(md5, number, "sample", content, "jpeg", 850, 850)


def _start(paths: Paths) -> None:
    """Prints how long a start takes, then records what it read, as a run does."""
    started = time.perf_counter()
    found = inventory.scan(paths)
    seconds = time.perf_counter() - started
    volume = sum(path.stat().st_size for path in packs.pack_files(paths.images))
    print(
        f"{len(found.images):,} images, {volume / 1e9:,.1f} GB, "
        f"{len(found.unrecorded):,} packs read in full: {seconds:,.2f} s"
    )
    for pack in found.unrecorded:
        verified_packs.record(paths, pack)


if __name__ == "__main__":
    main()
