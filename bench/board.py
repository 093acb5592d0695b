"""A board as large as e621 as a snapshot.

The real tags, frequencies, aliases and implications, posts made at random. Where the
real tables are not there, made-up ones of their shape: bench/public_tables.py.

    python bench/board.py FOLDER [--posts 6000000]

Writes FOLDER/{posts,tags,aliases,implications}.parquet, schemas.POSTS, TAGS and
RELATIONS, in row groups as large as `harvest` makes them from the site's export. Every
tag falls on a post with the probability that its real count gives it, scaled to 40 tags
a post in the mean, independently of all others but for implications: what a tag implies
is there too, and of that a share of LAG is missing, as on posts saved before the
implication. A share of ALIASED tags stands in an aliased spelling. Same arguments, same
rows.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import public_tables
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.policy import EFFECTIVE
from pipeline.schemas.snapshot import POSTS, RELATIONS, TAGS

TAGS_A_POST = 40  # in the mean; the site's own mean in 2026 is between 30 and 50
# Posts that a block of 16 MiB of the real export holds, at about 900 bytes each
ROW_GROUP = 18_000
# Tags more frequent than this are drawn post by post; rarer ones hardly ever fall on a
# post twice
COMMON = 0.005
LAG = 0.01  # share of implied tags that are missing
ALIASED = 0.001  # share of tags with aliases that stand in an aliased spelling
SPREAD = (
    4.0  # shape of the gamma distribution of how well posts are tagged: 40 +- 20 tags
)
CHILDREN = 0.2  # share of posts with a parent
SEED = 621
Relations = list[tuple[str, str]]


@dataclass(frozen=True)
class Frequencies:
    """How often each tag falls on a post by itself, and what it then brings along."""

    names: NDArray[np.str_]
    own: NDArray[np.float64]  # probability besides all that imply it
    implied: tuple[
        NDArray[np.int64], NDArray[np.int64]
    ]  # CSR of all that a tag implies, to any depth
    spellings: dict[
        int, list[int]
    ]  # tag -> its aliased spellings, as numbers into names


def relations(table: pl.DataFrame) -> pl.DataFrame:
    """Returns schemas.RELATIONS of one of the public tables."""
    return table.select(
        relation_id=pl.col("id").cast(pl.Int64), antecedent="antecedent_name",
        consequent="consequent_name",
        status="status",
    ).sort("relation_id")  # fmt: skip


def tags() -> pl.DataFrame:
    """Returns schemas.TAGS of the public counts."""
    return (
        public_tables.tags()
        .with_row_index("tag_id", offset=1)
        .select(
            pl.col("tag_id").cast(pl.Int64),
            "name",
            pl.col("category").cast(pl.Int8),
            "post_count",
        )
    )


def frequencies() -> Frequencies:
    """Takes the real counts apart.

    A tag's own share is what its antecedents do not already explain.
    """
    table = tags()
    names, counts = (
        table["name"].to_list(),
        table["post_count"].to_numpy().astype(float),
    )
    number = {name: i for i, name in enumerate(names)}
    share = counts / (counts.sum() / TAGS_A_POST)
    direct: list[list[int]] = [[] for _ in names]
    for antecedent, consequent in in_force(public_tables.implications()):
        if antecedent in number and consequent in number:
            direct[number[antecedent]].append(number[consequent])
    unexplained = np.zeros(len(names))
    for tag, implied_tags in enumerate(direct):
        for implied in implied_tags:
            unexplained[implied] += np.log1p(-min(share[tag], 0.99))
    own = np.clip(1 - (1 - share) / np.exp(unexplained), 0, None)
    closed = [sorted(reachable(tag, direct)) for tag in range(len(names))]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in closed])])
    spellings: dict[int, list[int]] = {}
    for antecedent, consequent in in_force(public_tables.aliases()):
        if consequent in number and antecedent not in number:
            spellings.setdefault(number[consequent], []).append(len(names))
            names.append(antecedent)
    return Frequencies(
        np.array(names),
        own,
        (starts, np.array([t for one in closed for t in one])),
        spellings,
    )


def in_force(public: pl.DataFrame) -> Relations:
    """Returns antecedent and consequent of the relations in force."""
    table = relations(public).filter(pl.col("status").is_in(sorted(EFFECTIVE)))
    return list(zip(table["antecedent"], table["consequent"], strict=True))


def reachable(tag: int, direct: list[list[int]]) -> set[int]:
    """Returns all that a tag implies, to any depth."""
    found: set[int] = set()
    frontier = set(direct[tag])
    while frontier:
        found |= frontier
        frontier = {further for one in frontier for further in direct[one]} - found
    return found - {tag}


def draw(
    known: Frequencies, rng: np.random.Generator, posts: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns (post, tag) pairs, ordered by post, of `posts` new posts."""
    weight = rng.gamma(SPREAD, 1 / SPREAD, posts)
    common = np.flatnonzero(known.own > COMMON)
    chance = -np.log1p(-known.own[common])
    pairs = [
        np.nonzero(
            rng.random((posts, len(common)), np.float32)
            < -np.expm1(-np.outer(weight, chance))
        )
    ]
    rows, columns = pairs[0][0], common[pairs[0][1]]
    rare = np.where(known.own > COMMON, 0, known.own)
    times = rng.poisson(rare * posts)
    which = np.repeat(np.arange(len(times)), times)
    # Posts by weight: a table with a post as often as it weighs, from which any entry
    # is as likely.
    table = np.repeat(np.arange(posts), rng.poisson(weight * 16))
    key = np.concatenate([rows, table[rng.integers(0, len(table), len(which))]]) << 20
    key |= np.concatenate([columns, which])
    starts, implied = known.implied
    given = key & 0xFFFFF
    lengths = starts[given + 1] - starts[given]
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    added = (np.repeat(key, lengths) & ~0xFFFFF) | implied[
        np.repeat(starts[given], lengths) + within
    ]
    added = np.unique(added)
    added = added[rng.random(len(added)) > LAG]
    key = np.unique(np.concatenate([key, added]))
    return key >> 20, respelt(known, rng, key & 0xFFFFF)


def respelt(
    known: Frequencies, rng: np.random.Generator, which: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Returns the tags, a few of them in an aliased spelling."""
    for place in np.flatnonzero(rng.random(len(which)) < ALIASED).tolist():
        if others := known.spellings.get(int(which[place])):
            which[place] = others[int(rng.integers(len(others)))]
    return which


def table(
    known: Frequencies, rng: np.random.Generator, first: int, posts: int
) -> pa.Table:
    """Returns schemas.POSTS for posts first, first + 1, ..."""
    rows, which = draw(known, rng, posts)
    offsets = np.searchsorted(rows, np.arange(posts + 1)).astype(np.int32)
    names = pa.DictionaryArray.from_arrays(
        pa.array(which.astype(np.int32)), pa.array(known.names.tolist())
    )
    ids = np.arange(first, first + posts)
    start = np.datetime64("2007-02-10T00:00:00", "us")
    hexes = [
        value.tobytes().hex() for value in rng.integers(0, 256, (posts, 16), np.uint8)
    ]
    parents = np.maximum(1, ids - rng.integers(1, 2_000, posts))
    columns = {
        "post_id": ids,
        "change_seq": ids + 10_000_000,
        "created_at": start + ids * np.timedelta64(97_000_000, "us"),
        "md5": hexes,
        "ext": rng.choice(
            ["png", "jpg", "webp", "gif", "webm"],
            posts,
            p=[0.5, 0.42, 0.01, 0.03, 0.04],
        ),
        "rating": rng.choice(["s", "q", "e"], posts, p=[0.25, 0.2, 0.55]),
        "width": rng.integers(300, 4_000, posts),
        "height": rng.integers(300, 4_000, posts),
        "file_size": rng.integers(20_000, 8_000_000, posts),
        "duration": pa.nulls(posts, pa.float64()),
        "parent_id": pa.array(parents, mask=rng.random(posts) >= CHILDREN),
        "is_deleted": rng.random(posts) < 0.08,
        "is_pending": np.zeros(posts, bool),
        "is_flagged": np.zeros(posts, bool),
        "is_withheld": np.zeros(posts, bool),
        "score": rng.integers(-5, 900, posts),
        "fav_count": rng.integers(0, 900, posts),
        "tags": pa.ListArray.from_arrays(pa.array(offsets), names.cast(pa.string())),
        "locked_tags": pa.ListArray.from_arrays(
            pa.array(np.zeros(posts + 1, np.int32)), pa.array([], pa.string())
        ),
    }
    arrays = [
        pa.array(value) if isinstance(value, (np.ndarray, list)) else value
        for value in columns.values()
    ]
    return pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, POSTS, strict=True)],
        schema=POSTS,
    )


def write(folder: Path, posts: int) -> None:
    """Writes the four tables of a snapshot."""
    from pipeline import parquet

    folder.mkdir(parents=True, exist_ok=True)
    parquet.write(folder / "tags.parquet", tags(), TAGS)
    parquet.write(
        folder / "aliases.parquet",
        relations(public_tables.aliases()),
        RELATIONS,
    )
    parquet.write(
        folder / "implications.parquet",
        relations(public_tables.implications()),
        RELATIONS,
    )
    known, rng = frequencies(), np.random.default_rng(SEED)
    with pq.ParquetWriter(
        folder / "posts.parquet", POSTS, compression="zstd"
    ) as writer:
        for first in range(1, posts + 1, ROW_GROUP):
            writer.write_table(
                table(known, rng, first, min(ROW_GROUP, posts + 1 - first))
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--posts", type=int, default=6_000_000)
    arguments = parser.parse_args()
    write(arguments.folder, arguments.posts)
