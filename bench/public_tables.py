"""e621's public tables of tags, aliases and implications, or made-up ones.

The site publishes them every day among its database exports: tags, tag_aliases and
tag_implications, as gzip CSV. After `e6tag use e621` and `e6tag refresh`, `harvest`
fetches them into .work/harvest/exports, named by the checksums of snapshot.json
(docs/real-site.md says what comes before). Copy them under names that begin as in FILES
into ../shared/data beside the checkout, or a folder that the environment variable
E6TAG_PUBLIC_TABLES names.

Where a table is not there, one of the same shape is made up: as many rows, counts that
fall with the rank as the real ones do, as many relations in force. Benchmarks run on it
as on the real one, but what they measure is not recorded.
"""

import os
import sys
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

DATA = Path(
    os.environ.get("E6TAG_PUBLIC_TABLES")
    or Path(__file__).parents[1] / "../shared/data"
)

FILES = {
    "tags": ("tag-counts", "tags"),
    "aliases": ("tag_aliases",),
    "implications": ("tag_implications",),
}
"""How the name of each table's file begins; of several files the last by name is read.

tag-counts is a list of name, category and post_count alone."""

SEED = 621
MIN_POSTS = 20  # of a tag; rarer ones hardly ever matter to a benchmark

# Rank of a tag by frequency, and how many posts have it: e621 in April 2026. Between
# them, counts fall as a power of the rank.
RANKS = (1, 10, 100, 1_000, 10_000, 50_000, 100_000, 139_625)
POSTS = (4_156_082, 2_162_351, 438_958, 36_937, 988, 92, 33, MIN_POSTS)
# Tags by the site's number of their category, of the same list.
CATEGORIES = {
    0: 42_705,
    1: 39_133,
    2: 361,
    3: 6_556,
    4: 42_785,
    5: 7_458,
    7: 524,
    8: 103,
}
# Rows of the exports of May 2025, and shares of them.
ALIASES, IMPLICATIONS = 69_815, 58_075
STATUSES = {"active": 0.915, "deleted": 0.075, "pending": 0.01}
LISTED_ALIASES, LISTED_IMPLICATIONS = 0.68, 0.56  # both tags, or the target, are listed
# Names that parameters and the policy refer to, with their category, by rank.
NAMED = {115: ("comic", 7), 155: ("young", 0), 220: ("animated", 7)}


def tags() -> pl.DataFrame:
    """Returns name, category and post_count of the tags with MIN_POSTS or more.

    As ordered in the file; made-up ones by falling count.
    """
    path = _find("tags")
    if path is None:
        return _made_up_tags()
    # One name of the list of counts is empty.
    table = pl.read_csv(path).drop_nulls("name")
    is_frequent = pl.col("post_count") >= MIN_POSTS
    return table.filter(is_frequent).select("name", "category", "post_count")


def aliases() -> pl.DataFrame:
    """Returns id, antecedent_name, consequent_name and status, all as text."""
    return _relations("aliases")


def implications() -> pl.DataFrame:
    """Returns the same columns as `aliases`."""
    return _relations("implications")


def are_real() -> bool:
    """Returns whether every table is there."""
    return all(_find(name) is not None for name in FILES)


@cache
def _find(name: str) -> Path | None:
    """Returns the file of a table; None, and says so once, where there is none."""
    found: list[Path] = []
    for start in FILES[name]:
        found += sorted(DATA.glob(f"{start}*.csv.gz"))
    if found:
        return found[-1]
    print(
        f"bench: {DATA} has no {FILES[name][-1]}*.csv.gz: a made-up table of the same "
        "shape is used. bench/public_tables.py says where to get e621's own.",
        file=sys.stderr,
    )
    return None


def _relations(name: str) -> pl.DataFrame:
    path = _find(name)
    if path is not None:
        table = pl.read_csv(path, infer_schema=False)
    elif name == "aliases":
        table = _made_up_aliases()
    else:
        table = _made_up_implications()
    return table.select("id", "antecedent_name", "consequent_name", "status")


def _made_up_tags() -> pl.DataFrame:
    random = np.random.default_rng(SEED)
    ranks = np.arange(1, RANKS[-1] + 1)
    logarithms = np.interp(np.log(ranks), np.log(RANKS), np.log(POSTS))
    categories = np.repeat(list(CATEGORIES), list(CATEGORIES.values()))
    random.shuffle(categories)
    names = _names(ranks)
    for rank, (name, category) in NAMED.items():
        names[rank - 1] = name
        categories[rank - 1] = category
    counts = np.round(np.exp(logarithms)).astype(np.int64)
    columns = {"name": names, "category": categories, "post_count": counts}
    return pl.DataFrame(columns)


def _made_up_aliases() -> pl.DataFrame:
    """Returns other spellings of tags, most of them of listed ones."""
    random = np.random.default_rng(SEED + 1)
    spellings = [f"spelling_{number:06}" for number in range(ALIASES)]
    targets = _made_up_targets(random, ALIASES, LISTED_ALIASES)
    return _table(random, spellings, targets)


def _made_up_implications() -> pl.DataFrame:
    """Returns implications, each of a more frequent tag: there is no circle."""
    random = np.random.default_rng(SEED + 2)
    antecedents = random.integers(2, RANKS[-1] + 1, IMPLICATIONS)
    # As many tags imply one of the hundred commonest as one of all others.
    shrunk = np.exp(random.random(IMPLICATIONS) * np.log(antecedents - 1))
    consequents = np.minimum(shrunk.astype(np.int64) + 1, antecedents - 1)
    is_listed = random.random(IMPLICATIONS) < LISTED_IMPLICATIONS
    listed = np.array(_names(antecedents))
    rare = np.array([f"rare_{number:06}" for number in range(IMPLICATIONS)])
    implying = np.where(is_listed, listed, rare)
    return _table(random, implying.tolist(), _names(consequents))


def _made_up_targets(
    random: np.random.Generator, count: int, listed: float
) -> list[str]:
    """Returns names of tags, a share of them listed."""
    ranks = random.integers(1, RANKS[-1] + 1, count)
    is_rare = random.random(count) >= listed
    return _names(ranks + is_rare * RANKS[-1])


def _table(
    random: np.random.Generator, antecedents: list[str], consequents: list[str]
) -> pl.DataFrame:
    statuses = random.choice(
        list(STATUSES), len(antecedents), p=list(STATUSES.values())
    )
    columns = {
        "id": [str(number) for number in range(1, len(antecedents) + 1)],
        "antecedent_name": antecedents,
        "consequent_name": consequents,
        "status": statuses.tolist(),
    }
    return pl.DataFrame(columns)


def _names(ranks: np.ndarray) -> list[str]:
    return [f"tag_{rank:06}" for rank in ranks.tolist()]
