"""Exports as large as the site's, with the real frequencies of its tags.

Each tag is on a post with the probability that its real count gives it, scaled so that
a post has 40 tags in the mean, and independently of all others. Text fields have the
lengths and the awkward characters of the real ones: newlines, CRLF, quotes and commas.
Same arguments, same rows, on every machine. Where the real counts are not there,
made-up ones of their shape: bench/public_tables.py.
"""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import public_tables
import pyarrow as pa
import pyarrow.compute as pc

TAGS_A_POST = 40  # in the mean; the site's own mean in 2026 is between 30 and 50
SEED = 621
CHUNK = 50_000  # posts made at once; bounds memory, and is part of the seed
# Tags more frequent than this are drawn post by post; rarer ones hardly ever fall on a
# post twice
_COMMON = 0.005

_WORDS = np.array(
    [
        "commission for a friend, see my page",
        "Posted using PostyBirb",
        "the full comic is here:\n\nhttps://example.com/p/",
        '"Oh no," she said',
        "patreon reward\r\nsecond line",
        "h2.Title\n\n* one\n* two",
        (
            "[quote]a long text about how this drawing came to be, which nobody reads, "
            "and that goes on[/quote]"
        ),
    ]
)


def read_counts() -> pl.DataFrame:
    """Returns the real tags ordered by name (code points).

    Name, category, post_count.
    """
    return public_tables.tags().sort("name")


def write_tags(path: Path, posts: int) -> None:
    """Writes tags.csv.gz for so many posts, counts in the proportion of the real."""
    counts = read_counts().with_row_index("id", offset=1)
    share = _share(counts["post_count"].to_numpy())
    table = counts.with_columns(
        post_count=pl.Series(np.round(share * posts).astype(np.int64)),
        created_at=pl.lit("2012-01-02 03:04:05.67"),
        updated_at=pl.lit("2026-01-02 03:04:05.678901"),
        is_locked=pl.lit("f"),
    )
    with gzip.GzipFile(path, "wb", compresslevel=6, mtime=0) as file:
        file.write(table.write_csv().encode())


def write_posts(path: Path, posts: int) -> None:
    """Writes posts.csv.gz: the 32 columns of the site's export.

    About 700 bytes a post, 220 compressed.

    The first n posts of a larger export are those of a smaller one, up to a multiple of
    50,000.
    """
    counts = read_counts()
    names = pa.array(counts["name"].to_list())
    share = _share(counts["post_count"].to_numpy())
    with gzip.GzipFile(path, "wb", compresslevel=6, mtime=0) as file:
        for start in range(0, posts, CHUNK):
            size = min(CHUNK, posts - start)
            random = np.random.default_rng([SEED, start])
            table = _rows(start, size, _tag_strings(share, names, size, random), random)
            file.write(table.write_csv(include_header=start == 0).encode())


def _share(post_count: np.ndarray) -> np.ndarray:
    """Returns each tag's probability to be on a post."""
    return post_count * (TAGS_A_POST / post_count.sum())


def _tag_strings(
    share: np.ndarray, names: pa.Array, posts: int, random: np.random.Generator
) -> pl.Series:
    """Returns a tag_string per post: names sorted by code point, joined by spaces."""
    common = np.flatnonzero(share > _COMMON)
    rare = np.where(share > _COMMON, 0.0, share)
    drawn = [
        np.flatnonzero(random.random(posts, dtype=np.float32) < share[tag])
        for tag in common
    ]
    pairs = random.poisson(rare.sum() * posts)
    post = np.concatenate([*drawn, random.integers(posts, size=pairs)])
    tag = np.concatenate(
        [
            np.repeat(common, [len(one) for one in drawn]),
            random.choice(len(share), pairs, p=rare / rare.sum()),
        ]
    )
    post, tag = np.divmod(np.unique(post * len(share) + tag), len(share))
    offsets = np.searchsorted(post, np.arange(posts + 1)).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), names.take(pa.array(tag)))
    return pl.Series(pc.binary_join(lists, " "))


def _rows(
    start: int, posts: int, tags: pl.Series, random: np.random.Generator
) -> pl.DataFrame:
    ids = pl.int_range(start + 1, start + posts + 1, eager=True)
    hexes = random.bytes(16 * posts).hex()
    md5 = pl.Series([hexes[at : at + 32] for at in range(0, len(hexes), 32)])

    def integers(low: int, high: int) -> pl.Series:
        return pl.Series(random.integers(low, high, posts))

    def sometimes(share: float, values: pl.Series) -> pl.Series:
        return pl.select(
            pl.when(pl.Series(random.random(posts) < share)).then(values)
        ).to_series()

    def chosen(values: list[str], weights: list[float]) -> pl.Series:
        return pl.Series(np.array(values)[random.choice(len(values), posts, p=weights)])

    seconds = 1_170_000_000 + (start + np.arange(posts)) * 90
    time = pl.Series(seconds * 1_000_000 + random.integers(0, 1_000_000, posts)).cast(
        pl.Datetime("us")
    )
    stamp = (
        time.dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
        .str.strip_chars_end("0")
        .str.strip_chars_end(".")
    )
    address = pl.select(
        pl.format("https://www.example.com/view/{}/", integers(1, 60_000_000))
        + pl.when(pl.Series(random.random(posts) < 0.6))
        .then(
            pl.format(
                "\nhttps://d.example.net/art/name/{}/{}.jpg",
                integers(1, 9_000_000_000),
                md5.str.head(12),
            )
        )
        .otherwise(pl.lit(""))
    ).to_series()
    words = pl.Series(_WORDS[random.integers(len(_WORDS), size=posts)])
    up = integers(0, 900)
    down = -integers(0, 30)
    flag = chosen(["t", "f"], [0.02, 0.98])
    return pl.DataFrame(
        {
            "id": ids,
            "uploader_id": integers(1, 900_000),
            "created_at": stamp,
            "md5": md5,
            "source": address,
            "rating": chosen(["s", "q", "e"], [0.3, 0.2, 0.5]),
            "image_width": integers(300, 4_000),
            "image_height": integers(300, 4_000),
            "tag_string": tags,
            "locked_tags": sometimes(
                0.02, chosen(["-comic", "conditional_dnp"], [0.5, 0.5])
            ),
            "fav_count": integers(0, 2_000),
            "file_ext": chosen(["jpg", "png", "gif", "webm"], [0.5, 0.42, 0.04, 0.04]),
            "parent_id": sometimes(0.12, ids - 1),
            "change_seq": ids * 9,
            "approver_id": sometimes(0.5, integers(1, 900_000)),
            "file_size": integers(20_000, 9_000_000),
            "comment_count": integers(0, 12),
            "description": pl.select(
                pl.when(pl.Series(random.random(posts) < 0.4))
                .then(words)
                .otherwise(pl.lit(""))
            ),
            "duration": sometimes(
                0.04, pl.Series(np.round(random.random(posts) * 90, 2))
            ),
            "updated_at": stamp,
            "is_deleted": chosen(["t", "f"], [0.12, 0.88]),
            "is_pending": flag,
            "is_flagged": flag,
            "score": up + down,
            "up_score": up,
            "down_score": down,
            "is_rating_locked": flag,
            "is_status_locked": flag,
            "is_note_locked": flag,
            "bg_color": sometimes(0.3, md5.str.head(6)),
            "last_noted_at": sometimes(0.05, stamp),
            "last_commented_at": sometimes(0.3, stamp),
        }
    )
