"""The plan: which pictures go into which pack, settled before the first request.

Pack boundaries depend on the md5s that are missing and on nothing else, so kills,
retries and the order of arrival leave no trace in the bytes. The plan of an unfinished
run is kept and followed to its end.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from pipeline import files
from pipeline.download.variants import ImageRequest
from pipeline.params import Download


@dataclass(frozen=True, slots=True)
class PlannedPack:
    """One pack to be: its file name and its pictures, ordered by md5."""

    name: str
    pictures: tuple[ImageRequest, ...]


def make_plan(missing: list[ImageRequest], pack_pictures: int) -> list[PlannedPack]:
    """Cuts the missing pictures, sorted by md5, into packs of a fixed count."""
    ordered = sorted(missing, key=lambda one: one.md5)
    cuts = (
        tuple(ordered[start : start + pack_pictures])
        for start in range(0, len(ordered), pack_pictures)
    )
    return [PlannedPack(_name(cut), cut) for cut in cuts]


def load_plan(
    path: Path, fingerprint: str, wanted: list[ImageRequest]
) -> list[PlannedPack] | None:
    """Returns the plan of an unfinished run for the same wish, or null."""
    if not path.exists():
        return None
    by_md5 = {one.md5: one for one in wanted}
    try:
        tree = json.loads(path.read_text())
        if tree["fingerprint"] != fingerprint:
            return None
        return [
            PlannedPack(name, tuple(by_md5[md5] for md5 in md5s))
            for name, md5s in tree["packs"]
        ]
    except (ValueError, KeyError, TypeError):
        # A damaged plan is no plan: what arrived is found again by what is missing
        return None


def save_plan(path: Path, fingerprint: str, packs: list[PlannedPack]) -> None:
    """Keeps the plan until the run has ended."""
    tree = {
        "fingerprint": fingerprint,
        "packs": [[pack.name, [one.md5 for one in pack.pictures]] for pack in packs],
    }
    files.write_text(path, json.dumps(tree))


def fingerprint(wanted: list[ImageRequest], params: Download) -> str:
    """Returns what makes two wishes the same.

    Pictures, variants, limits and the size of packs.
    """
    limits = [params.pack_pictures, params.max_bytes, params.max_pixels]
    wish = [limits, sorted((one.md5, one.variant) for one in wanted)]
    return hashlib.sha256(json.dumps(wish).encode()).hexdigest()


def _name(pictures: tuple[ImageRequest, ...]) -> str:
    digest = hashlib.sha256(
        " ".join(f"{one.md5}/{one.variant}" for one in pictures).encode()
    ).hexdigest()
    return f"pack-{digest[:16]}.parquet"
