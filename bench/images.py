"""Squares per second: e6tag.images beside a bare loop of Pillow, file by file in turn.

    python bench/images.py [--rounds 9] [--write]

Both make JPEGs of 256 pixels of the same files. The bare loop does what is left when
nothing can be odd: no orientation, colour profile or damage, and no look at the bytes.
Its JPEGs are the same for files that are not odd, which is checked. Times are medians
over the rounds, in milliseconds a file.
"""

import argparse
import io
import os
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from e6tag import images

RESULT = Path(__file__).parent / "results" / "images.md"
SIZE, QUALITY = 256, 90
REPEATS = 5  # of a file in one round


def main() -> None:
    """Times both on every kind of file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help=f"writes {RESULT.name}")
    arguments = parser.parse_args()
    rows = ["| file | bare | ours | ours / bare |", "|---|--:|--:|--:|"]
    for name, body in files().items():
        bare, ours = times(body, arguments.rounds)
        rows.append(f"| {name} | {bare:.1f} | {ours:.1f} | {bare / ours:.2f} |")
        print(rows[-1], flush=True)
    if arguments.write:
        RESULT.write_text(f"{heading(arguments.rounds)}\n" + "\n".join(rows) + "\n")


def heading(rounds: int) -> str:
    """Returns the title, and how and on what the table was made."""
    load = os.getloadavg()[2]
    return (
        "# Squares of 256 pixels: e6tag.images beside bare Pillow\n\n"
        f"Milliseconds a file, medians of {rounds} rounds in turn, and the speed as a "
        f"share of the bare loop's; {os.cpu_count()} cores, load {load:.1f} in 15 "
        f"minutes; Pillow {version('pillow')}. Made by `bench/images.py --write`.\n"
    )


def files() -> dict[str, bytes]:
    """Returns files of 850 x 1,136 pixels by their kind."""
    small = np.random.default_rng(621).integers(0, 255, (71, 53, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((850, 1136), Image.Resampling.BICUBIC)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {
        "JPEG": encode(image, "JPEG", quality=90),
        "progressive JPEG": encode(image, "JPEG", quality=90, progressive=True),
        "PNG": encode(image, "PNG"),
        "PNG with transparency": encode(image.convert("RGBA"), "PNG"),
        "WebP": encode(image, "WEBP"),
        "JPEG with an sRGB profile": encode(image, "JPEG", icc_profile=srgb),
    }


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    """Returns the image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def times(body: bytes, rounds: int) -> tuple[float, float]:
    """Returns milliseconds of the bare loop and of ours."""
    if bare_loop(body) != ours(body):
        raise SystemExit("the two make different JPEGs")
    found: dict[Callable[[bytes], bytes], list[float]] = {bare_loop: [], ours: []}
    for _ in range(rounds):
        for contender, seconds in found.items():
            started = time.perf_counter()
            for _ in range(REPEATS):
                contender(body)
            seconds.append((time.perf_counter() - started) / REPEATS)
    bare, own = (statistics.median(seconds) * 1e3 for seconds in found.values())
    return bare, own


def ours(body: bytes) -> bytes:
    """What a shard holds of a file."""
    return images.fit_jpeg(body, size=SIZE, fit="pad", quality=QUALITY)


def bare_loop(body: bytes) -> bytes:
    """The same of a file in which nothing is odd."""
    with Image.open(io.BytesIO(body)) as opened:
        opened.draft("RGB", (SIZE, SIZE))
        if opened.mode == "RGBA":
            background = Image.new("RGBA", opened.size, "white")
            flat = Image.alpha_composite(background, opened).convert("RGB")
        else:
            flat = opened.convert("RGB")
    lanczos = Image.Resampling.LANCZOS
    fitted = ImageOps.pad(flat, (SIZE, SIZE), lanczos, color="white")
    return encode(fitted, "JPEG", quality=QUALITY)


if __name__ == "__main__":
    main()
