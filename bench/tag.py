"""Images per second of `e6tag tag` over a folder, beside what it could be at most.

    python bench/tag.py [--images 1000] [--rounds 3] [--bundle FOLDER] [--size 224]
        [--deepdanbooru PYTHON] [--deepdanbooru-images 60] [--folder ROOM] [--write]

A round runs every contender once, in turn, each in a process of its own; the figures
are medians over the rounds.

    tag           e6tag tag FOLDER --output FILE on JPEGs of 850 pixels on the shorter
                  side: the whole process, from its start to its end
    bare          ONNX Runtime alone on the same model, with the same batches and
                  threads, fed with one tensor that is ready; timed is the loop
    deepdanbooru  deepdanbooru evaluate --project-path on the same weights and files, by
                  the Python of --deepdanbooru; its start is left out, by the time that
                  a single image takes
    one           e6tag tag on one image, from the start of the process to its end

Without --bundle the network is resnet_v4 with random weights: bench/tag_network.py.
CPU seconds are given too: on a machine that others use they vary less.
"""

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from e6tag import bundle
from e6tag.inference import BATCH_SIZE

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "tag.md"
SIZE = (850, 1_136)  # pixels; samples of the site have 850 on the shorter side
MOTIFS = 20  # different images; the others are copies of them
MOST_SECONDS_OF_ONE = 2.0
LEAST_SHARE_OF_BARE = 0.85
LEAST_TIMES_DEEPDANBOORU = 3.0

BARE = """
import sys, time
from pathlib import Path
import numpy as np
from e6tag import bundle
from e6tag.tagger import open_session
session = open_session(Path(sys.argv[1]))
images, batch = int(sys.argv[2]), int(sys.argv[3])
shape = (batch, bundle.SIZE, bundle.SIZE, 3)
ready = np.random.default_rng(0).integers(0, 255, shape).astype(np.float32)
session.run([bundle.SCORES], {bundle.INPUT: ready})
seconds, work = time.perf_counter(), time.process_time()
for _ in range(images // batch):
    session.run([bundle.SCORES], {bundle.INPUT: ready})
print(time.perf_counter() - seconds, time.process_time() - work)
"""
TAG = "from e6tag.cli import main; main('e6tag')"
EVALUATE = "import sys; from deepdanbooru.__main__ import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class Timing:
    """What a contender took. work: seconds of CPU, over all threads."""

    images: int
    seconds: float
    work: float

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds

    @property
    def work_per_image(self) -> float:
        """CPU seconds per image."""
        return self.work / self.images

    def without(self, start: "Timing") -> "Timing":
        """Returns what is left without a run on so few images that it is a start."""
        return Timing(
            self.images - start.images,
            self.seconds - start.seconds,
            self.work - start.work,
        )


Round = dict[str, Timing]


def main() -> None:
    """Times the contenders and prints the table."""
    arguments = parsed()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        room = Path(name)
        folder = arguments.bundle
        if folder is None:
            folder = make_bundle(room / "bundle", arguments.size)
        write_images(room / "images", arguments.images)
        write_images(room / "one", 1)
        write_images(room / "few", arguments.deepdanbooru_images)
        rounds = []
        for number in range(arguments.rounds):
            rounds.append(one_round(arguments, folder.resolve(), room))
            print(f"round {number + 1}: {rounds[-1]}", flush=True)
    text = report(arguments, rounds)
    print(text)
    if arguments.write:
        RESULT.write_text(text, encoding="utf-8")


def parsed() -> argparse.Namespace:
    """Returns the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bundle", type=Path, help="one with deepdanbooru/ in it")
    parser.add_argument(
        "--random", action="store_true", help="--bundle is one of tag_network.py"
    )
    parser.add_argument("--size", type=int, default=224, help="of the random network")
    parser.add_argument("--deepdanbooru", metavar="PYTHON", help="that can import it")
    parser.add_argument("--deepdanbooru-images", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, help="where there is room for all")
    parser.add_argument("--write", action="store_true", help=f"writes {RESULT.name}")
    return parser.parse_args()


def make_bundle(folder: Path, size: int) -> Path:
    """Writes the bundle of random weights in a process of its own; returns it."""
    script = Path(__file__).with_name("tag_network.py")
    subprocess.run(
        [sys.executable, script, folder, "--size", str(size)],
        check=True,
        env=environment(),
    )
    return folder


def write_images(folder: Path, count: int) -> None:
    """Writes JPEGs of MOTIFS different images into a new folder."""
    folder.mkdir()
    generator = np.random.default_rng(621)
    for number in range(count):
        path = folder / f"{number:05}.jpg"
        if number >= MOTIFS:
            shutil.copyfile(folder / f"{number % MOTIFS:05}.jpg", path)
            continue
        small = generator.integers(0, 255, (71, 53, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize(SIZE, Image.Resampling.BICUBIC)
        image.save(path, quality=90)


def one_round(arguments: argparse.Namespace, folder: Path, room: Path) -> Round:
    """Times every contender once."""
    found = {"one": tag(arguments, folder, room / "one", 1)}
    found["tag"] = tag(arguments, folder, room / "images", arguments.images)
    found["bare"] = bare(arguments, folder)
    if arguments.deepdanbooru:
        project = folder / bundle.DEEPDANBOORU
        start = evaluate(arguments, project, room / "one", 1)
        few = arguments.deepdanbooru_images
        whole = evaluate(arguments, project, room / "few", few)
        found["deepdanbooru"] = whole.without(start)
        if found["deepdanbooru"].seconds <= 0:
            raise SystemExit(
                "deepdanbooru took longer for 1 image than for "
                f"{few}: this machine is too busy, or --deepdanbooru-images too few"
            )
    return found


def tag(
    arguments: argparse.Namespace, folder: Path, images: Path, count: int
) -> Timing:
    """Times e6tag tag on a folder."""
    output = images.with_suffix(".jsonl")
    command = [sys.executable, "-c", TAG, "tag", images, "--bundle", folder]
    command += ["--output", output, "--overwrite"]
    command += ["--batch-size", arguments.batch_size, "--workers", arguments.workers]
    timing = timed(command, count)
    lines = output.read_bytes().count(b"\n")
    if lines != count:
        raise SystemExit(f"{lines} answers for {count} images")
    return timing


def bare(arguments: argparse.Namespace, folder: Path) -> Timing:
    """Times the loop of ONNX Runtime alone, which times itself."""
    batch = arguments.batch_size
    images = max(1, arguments.images // batch) * batch
    command = [sys.executable, "-c", BARE, folder / bundle.MODEL, images, batch]
    done = subprocess.run(
        list(map(str, command)),
        check=True,
        capture_output=True,
        text=True,
        env=environment(),
    )
    seconds, work = map(float, done.stdout.split())
    return Timing(images, seconds, work)


def evaluate(
    arguments: argparse.Namespace, project: Path, images: Path, count: int
) -> Timing:
    """Times deepdanbooru evaluate on a folder."""
    command = [arguments.deepdanbooru, "-c", EVALUATE, "evaluate", images]
    command += ["--project-path", project, "--allow-folder"]
    return timed(command, count)


def timed(command: Sequence[object], images: int) -> Timing:
    """Times a process from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(
        [str(part) for part in command],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(images, seconds, work)


def environment() -> dict[str, str]:
    """Returns variables by which a process finds this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def report(arguments: argparse.Namespace, rounds: Sequence[Round]) -> str:
    """Returns the page of results."""
    rows = ["| contender | images/s | CPU s/image |", "|---|--:|--:|"]
    for name in rounds[0]:
        if name != "one":
            rate = median(rounds, name, "rate")
            work = median(rounds, name, "work_per_image")
            rows.append(f"| {name} | {rate:.2f} | {work:.3f} |")
    lines = [*heading(arguments, len(rounds)), *rows, "", *verdicts(rounds), ""]
    return "\n".join(lines)


def heading(arguments: argparse.Namespace, rounds: int) -> list[str]:
    """Returns the title, and how and on what the table was made."""
    network = f"resnet_v4 at {arguments.size} pixels, random weights"
    if arguments.bundle and not arguments.random:
        network = f"that of {arguments.bundle.name}"
    machine = f"{os.cpu_count()} cores of {platform.machine()}"
    load = os.getloadavg()[2]
    onnxruntime, pillow = version("onnxruntime"), version("pillow")
    text = (
        f"Network: {network}. {arguments.images} JPEGs of {SIZE[0]} x {SIZE[1]} "
        f"pixels, batches of {arguments.batch_size}; medians of {rounds} rounds in "
        f"turn. {machine}, load {load:.1f} in 15 minutes; onnxruntime {onnxruntime}, "
        f"Pillow {pillow}, NumPy {version('numpy')}. Made by `bench/tag.py --write`; "
        "what each contender is stands there.\n"
    )
    return ["# Images per second of `e6tag tag`\n", text]


def verdicts(rounds: Sequence[Round]) -> list[str]:
    """Returns the aims and what was measured, as lines of a list."""
    share = ratio(rounds, "tag", "bare")
    one = statistics.median(found["one"].seconds for found in rounds)
    work = statistics.median(found["one"].work for found in rounds)
    lines = [f"- tag / bare: {share:.2f} (aim: at least {LEAST_SHARE_OF_BARE})"]
    lines.append(
        f"- one image, from start to end: {one:.2f} s, {work:.2f} s of CPU (aim: at "
        f"most {MOST_SECONDS_OF_ONE:.0f} s)"
    )
    lines.append(f"- CPU an image, bare / tag: {work_ratio(rounds, 'bare'):.2f}")
    if "deepdanbooru" in rounds[0]:
        more = work_ratio(rounds, "deepdanbooru")
        lines.append(f"- CPU an image, deepdanbooru / tag: {more:.2f}")
        times = ratio(rounds, "tag", "deepdanbooru")
        lines.append(
            f"- tag / deepdanbooru: {times:.2f} (aim: at least "
            f"{LEAST_TIMES_DEEPDANBOORU:.0f})"
        )
    return lines


def ratio(rounds: Sequence[Round], name: str, other: str) -> float:
    """Returns the median over the rounds of one rate by another."""
    return statistics.median(found[name].rate / found[other].rate for found in rounds)


def work_ratio(rounds: Sequence[Round], name: str) -> float:
    """Returns the median over the rounds of a contender's CPU an image by ours.

    Without the start of ours, since the others' is left out too.
    """
    return statistics.median(
        found[name].work_per_image / found["tag"].without(found["one"]).work_per_image
        for found in rounds
    )


def median(rounds: Sequence[Round], name: str, figure: str) -> float:
    """Returns the median of a figure of a contender."""
    return statistics.median(getattr(found[name], figure) for found in rounds)


if __name__ == "__main__":
    main()
