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
from typing import Any

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
# Shape of the gamma distribution of how well posts are tagged: 40 +- 20 tags
SPREAD = 4.0
CHILDREN = 0.2  # share of posts with a parent
# Shares of posts
EXTENSIONS = {"png": 0.5, "jpg": 0.42, "webp": 0.01, "gif": 0.03, "webm": 0.04}
RATINGS = {"s": 0.25, "q": 0.2, "e": 0.55}
SEED = 621
Relations = list[tuple[str, str]]
Implied = tuple[NDArray[np.int64], NDArray[np.int64]]
TAG_BITS = 20  # of a key: a post, shifted left by so many bits, and a tag
TAG_MASK = (1 << TAG_BITS) - 1


@dataclass(frozen=True)
class Frequencies:
    """How often each tag falls on a post by itself, and what it then brings along."""

    names: NDArray[np.str_]
    own: NDArray[np.float64]  # probability besides all that imply it
    implied: Implied  # CSR of all that a tag implies, to any depth
    # tag -> its aliased spellings, as numbers into names
    spellings: dict[int, list[int]]


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
    names = table["name"].to_list()
    counts = table["post_count"].to_numpy().astype(float)
    share = counts / (counts.sum() / TAGS_A_POST)
    number = {name: i for i, name in enumerate(names)}
    direct = direct_implications(number)
    own = own_share(share, direct)
    implied = all_implied(direct)
    spellings: dict[int, list[int]] = {}
    for antecedent, consequent in in_force(public_tables.aliases()):
        if consequent in number and antecedent not in number:
            spellings.setdefault(number[consequent], []).append(len(names))
            names.append(antecedent)
    return Frequencies(np.array(names), own, implied, spellings)


def direct_implications(number: dict[str, int]) -> list[list[int]]:
    """Returns what each tag implies at once. number: of each tag by its name."""
    direct: list[list[int]] = [[] for _ in number]
    for antecedent, consequent in in_force(public_tables.implications()):
        if antecedent in number and consequent in number:
            direct[number[antecedent]].append(number[consequent])
    return direct


def own_share(
    share: NDArray[np.float64], direct: list[list[int]]
) -> NDArray[np.float64]:
    """Returns the probability of each tag besides all that imply it."""
    unexplained = np.zeros(len(share))
    for tag, implied_tags in enumerate(direct):
        for implied in implied_tags:
            unexplained[implied] += np.log1p(-min(share[tag], 0.99))
    return np.clip(1 - (1 - share) / np.exp(unexplained), 0, None)


def all_implied(direct: list[list[int]]) -> Implied:
    """Returns all that each tag implies, to any depth."""
    starts = [0]
    implied: list[int] = []
    for tag in range(len(direct)):
        implied += sorted(reachable(tag, direct))
        starts.append(len(implied))
    return np.array(starts), np.array(implied)


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
    common = common_keys(known, rng, weight)
    rare = rare_keys(known, rng, weight)
    own = np.concatenate([common, rare])
    added = implied_keys(known, own)
    added = added[rng.random(len(added)) > LAG]
    keys = np.unique(np.concatenate([own, added]))
    return keys >> TAG_BITS, respelt(known, rng, keys & TAG_MASK)


def common_keys(
    known: Frequencies, rng: np.random.Generator, weight: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Returns keys of posts with common tags; such a tag is drawn for each post."""
    tags = np.flatnonzero(known.own > COMMON)
    chance = -np.log1p(-known.own[tags])
    drawn = rng.random((len(weight), len(tags)), np.float32)
    posts, columns = np.nonzero(drawn < -np.expm1(-np.outer(weight, chance)))
    return (posts << TAG_BITS) | tags[columns]


def rare_keys(
    known: Frequencies, rng: np.random.Generator, weight: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Returns keys of posts with rare tags; a post is drawn for each such tag."""
    rare = np.where(known.own > COMMON, 0, known.own)
    times = rng.poisson(rare * len(weight))
    tags = np.repeat(np.arange(len(times)), times)
    # Posts by weight: a table with a post as often as it weighs, from which any entry
    # is as likely.
    table = np.repeat(np.arange(len(weight)), rng.poisson(weight * 16))
    posts = table[rng.integers(0, len(table), len(tags))]
    return (posts << TAG_BITS) | tags


def implied_keys(known: Frequencies, keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns keys of the same posts with what their tags imply, each once."""
    starts, implied = known.implied
    given = keys & TAG_MASK
    lengths = starts[given + 1] - starts[given]
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    tags = implied[np.repeat(starts[given], lengths) + within]
    posts = np.repeat(keys, lengths) & ~TAG_MASK
    return np.unique(posts | tags)


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
    ids = np.arange(first, first + posts)
    start = np.datetime64("2007-02-10T00:00:00", "us")
    digests = rng.integers(0, 256, (posts, 16), np.uint8)
    parents = np.maximum(1, ids - rng.integers(1, 2_000, posts))
    # Columns are drawn in this order.
    columns: dict[str, Any] = {
        "post_id": ids,
        "change_seq": ids + 10_000_000,
        "created_at": start + ids * np.timedelta64(97_000_000, "us"),
        "md5": [digest.tobytes().hex() for digest in digests],
        **image_columns(rng, posts),
        "duration": pa.nulls(posts, pa.float64()),
        "parent_id": pa.array(parents, mask=rng.random(posts) >= CHILDREN),
        **state_columns(rng, posts),
        "tags": tag_lists(known, posts, rows, which),
        "locked_tags": empty_lists(posts),
    }
    return as_posts(columns)


def as_posts(columns: dict[str, Any]) -> pa.Table:
    """Returns columns, in the order of schemas.POSTS, with its types."""
    arrays = []
    for values, field in zip(columns.values(), POSTS, strict=True):
        array = values if isinstance(values, pa.Array) else pa.array(values)
        arrays.append(array.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=POSTS)


def image_columns(rng: np.random.Generator, posts: int) -> dict[str, NDArray[Any]]:
    """Returns the columns from ext to file_size."""
    return {
        "ext": rng.choice(list(EXTENSIONS), posts, p=list(EXTENSIONS.values())),
        "rating": rng.choice(list(RATINGS), posts, p=list(RATINGS.values())),
        "width": rng.integers(300, 4_000, posts),
        "height": rng.integers(300, 4_000, posts),
        "file_size": rng.integers(20_000, 8_000_000, posts),
    }


def state_columns(rng: np.random.Generator, posts: int) -> dict[str, NDArray[Any]]:
    """Returns the columns from is_deleted to fav_count."""
    nothing = np.zeros(posts, bool)
    return {
        "is_deleted": rng.random(posts) < 0.08,
        "is_pending": nothing,
        "is_flagged": nothing,
        "is_withheld": nothing,
        "score": rng.integers(-5, 900, posts),
        "fav_count": rng.integers(0, 900, posts),
    }


def tag_lists(
    known: Frequencies,
    posts: int,
    rows: NDArray[np.int64],
    which: NDArray[np.int64],
) -> pa.ListArray:
    """Returns the names of the tags of each post, of (post, tag) pairs."""
    offsets = np.searchsorted(rows, np.arange(posts + 1)).astype(np.int32)
    numbers = pa.array(which.astype(np.int32))
    names = pa.DictionaryArray.from_arrays(numbers, pa.array(known.names.tolist()))
    return pa.ListArray.from_arrays(pa.array(offsets), names.cast(pa.string()))


def empty_lists(posts: int) -> pa.ListArray:
    """Returns a list without tags of each post."""
    offsets = pa.array(np.zeros(posts + 1, np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array([], pa.string()))


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
    known = frequencies()
    rng = np.random.default_rng(SEED)
    posts_path = folder / "posts.parquet"
    with pq.ParquetWriter(posts_path, POSTS, compression="zstd") as writer:
        for first in range(1, posts + 1, ROW_GROUP):
            count = min(ROW_GROUP, posts + 1 - first)
            writer.write_table(table(known, rng, first, count))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--posts", type=int, default=6_000_000)
    arguments = parser.parse_args()
    write(arguments.folder, arguments.posts)
