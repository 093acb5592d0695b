"""The original files of a split's images: a sample of them, read from the packs."""

from collections.abc import Iterator

from pipeline import packs, parquet
from pipeline.paths import Paths

READ_AT_ONCE = 64  # files; bounds the memory of those who decode them side by side


def choose(md5s: list[str], limit: int) -> list[int]:
    """Returns the places of a sample of the images, in the order of the sample."""
    places = range(len(md5s))
    return sorted(places, key=lambda place: packs.sampling_key(md5s[place]))[:limit]


def read(
    paths: Paths, split: str, md5s: list[str]
) -> Iterator[tuple[list[int], list[bytes]]]:
    """Yields places in `md5s` and the files there, a few at once, pack by pack."""
    manifest = paths.manifest / f"{split}.parquet"
    pack_of = dict(parquet.read(manifest, columns=["md5", "pack"]).iter_rows())
    reader = packs.PackReader(paths.images)
    places = sorted(range(len(md5s)), key=lambda place: pack_of[md5s[place]])
    for start in range(0, len(places), READ_AT_ONCE):
        some = places[start : start + READ_AT_ONCE]
        yield some, [reader.bytes(pack_of[md5s[place]], md5s[place]) for place in some]
