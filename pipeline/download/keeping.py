"""What earlier runs left: pictures that may stay stay, and nothing else does."""

from pathlib import Path

from pipeline import atomic, packs, progress
from pipeline.packs import Picture
from pipeline.params import Download
from pipeline.paths import Paths


def waiting(paths: Paths) -> Path:
    """Returns the folder where pictures wait, as <md5>.<variant>, until their pack is complete."""
    return paths.work("download") / "pictures"


def tidy(params: Download, paths: Paths, permitted: set[str]) -> None:
    """Removes damaged packs, halves of files, and every picture that is not permitted or beyond the present limits.

    permitted: md5s that the policy allows today. Only packs that hold a refused picture are rewritten. The stage's lock
    must be held.
    """
    gone = 0
    for folder in (paths.images, waiting(paths)):
        atomic.sweep(folder)
    for path in packs.files(paths.images):
        if problem := packs.verify(path):
            progress.say(f"download: {path.name} is damaged ({problem}): removed, its pictures are fetched again")
            path.unlink()
            continue
        refused = {picture.md5 for picture in packs.pictures(path) if not _may_stay(params, picture, permitted)}
        gone += len(refused)
        if refused:
            _rewrite(path, refused)
    for place in sorted(waiting(paths).glob("*")):
        if place.name.split(".")[0] not in permitted or place.stat().st_size > params.max_bytes:
            place.unlink()
    if gone:
        progress.say(f"download: {gone:,} pictures may no longer be kept and left the packs")


def _may_stay(params: Download, picture: Picture, permitted: set[str]) -> bool:
    within = len(picture.bytes) <= params.max_bytes and picture.width * picture.height <= params.max_pixels
    return within and picture.md5 in permitted


def _rewrite(path: Path, refused: set[str]) -> None:
    if all(picture.md5 in refused for picture in packs.pictures(path)):
        path.unlink()
    else:
        packs.write(path, (picture for picture in packs.pictures(path) if picture.md5 not in refused))
