"""Exports as large as the site's, with the real frequencies of its tags.

Each tag is on a post with the probability that its real count gives it, scaled so that
a post has 40 tags in the mean, and independently of all others. Text fields have the
lengths and the awkward characters of the real ones: newlines, CRLF, quotes and commas.
Same arguments, same rows, on every machine. Where the real counts are not there,
made-up ones of their shape: bench/public_tables.py.
"""

import gzip
from dataclasses import dataclass
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
    post_count = np.round(share * posts).astype(np.int64)
    table = counts.with_columns(
        post_count=pl.Series(post_count),
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
            tags = _tag_strings(share, names, size, random)
            ids = pl.int_range(start + 1, start + size + 1, eager=True)
            table = _rows(ids, tags, _Draw(random, size))
            text = table.write_csv(include_header=start == 0)
            file.write(text.encode())


def _share(post_count: np.ndarray) -> np.ndarray:
    """Returns each tag's probability to be on a post."""
    return post_count * (TAGS_A_POST / post_count.sum())


def _tag_strings(
    share: np.ndarray, names: pa.Array, posts: int, random: np.random.Generator
) -> pl.Series:
    """Returns a tag_string per post: names sorted by code point, joined by spaces."""
    pairs = _common_pairs(share, posts, random)
    pairs.append(_rare_pairs(share, posts, random))
    post, tag = np.divmod(np.unique(np.concatenate(pairs)), len(share))
    offsets = np.searchsorted(post, np.arange(posts + 1)).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), names.take(pa.array(tag)))
    return pl.Series(pc.binary_join(lists, " "))


def _common_pairs(
    share: np.ndarray, posts: int, random: np.random.Generator
) -> list[np.ndarray]:
    """Returns post * number of tags + tag, of the posts with each common tag."""
    pairs = []
    for tag in np.flatnonzero(share > _COMMON):
        has_tag = random.random(posts, dtype=np.float32) < share[tag]
        pairs.append(np.flatnonzero(has_tag) * len(share) + tag)
    return pairs


def _rare_pairs(
    share: np.ndarray, posts: int, random: np.random.Generator
) -> np.ndarray:
    """Returns the same of rare tags, some of them twice."""
    rare = np.where(share > _COMMON, 0.0, share)
    count = random.poisson(rare.sum() * posts)
    post = random.integers(posts, size=count)
    tag = random.choice(len(share), count, p=rare / rare.sum())
    return post * len(share) + tag


@dataclass(frozen=True, slots=True)
class _Draw:
    """Draws a column: a value for each of the posts."""

    random: np.random.Generator
    posts: int

    def integers(self, low: int, high: int) -> pl.Series:
        return pl.Series(self.random.integers(low, high, self.posts))

    def choice(self, values: list[str], weights: list[float]) -> pl.Series:
        places = self.random.choice(len(values), self.posts, p=weights)
        return pl.Series(np.array(values)[places])

    def flags(self, share: float) -> pl.Series:
        """Returns "t" for a share of the posts, "f" for the others."""
        return self.choice(["t", "f"], [share, 1 - share])

    def sometimes(
        self, share: float, values: pl.Series, otherwise: str | None = None
    ) -> pl.Series:
        """Returns the values of a share of the posts, the rest replaced."""
        has_value = pl.Series(self.random.random(self.posts) < share)
        column = pl.when(has_value).then(values).otherwise(pl.lit(otherwise))
        return pl.select(column).to_series()


def _rows(ids: pl.Series, tags: pl.Series, draw: _Draw) -> pl.DataFrame:
    """Returns posts with these ids and tags. Columns are drawn in this order."""
    md5 = _md5s(draw)
    stamp = _timestamps(ids, draw)
    source = _sources(md5, draw)
    text = _texts(draw)
    up_score = draw.integers(0, 900)
    down_score = -draw.integers(0, 30)
    flag = draw.flags(0.02)
    columns = {
        "id": ids,
        "uploader_id": draw.integers(1, 900_000),
        "created_at": stamp,
        "md5": md5,
        "source": source,
        "rating": draw.choice(["s", "q", "e"], [0.3, 0.2, 0.5]),
        "image_width": draw.integers(300, 4_000),
        "image_height": draw.integers(300, 4_000),
        "tag_string": tags,
        "locked_tags": _locked_tags(draw),
        **_details(ids, text, draw),
        "updated_at": stamp,
        "is_deleted": draw.flags(0.12),
        "is_pending": flag,
        "is_flagged": flag,
        "score": up_score + down_score,
        "up_score": up_score,
        "down_score": down_score,
        "is_rating_locked": flag,
        "is_status_locked": flag,
        "is_note_locked": flag,
        "bg_color": draw.sometimes(0.3, md5.str.head(6)),
        "last_noted_at": draw.sometimes(0.05, stamp),
        "last_commented_at": draw.sometimes(0.3, stamp),
    }
    return pl.DataFrame(columns)


def _md5s(draw: _Draw) -> pl.Series:
    hexes = draw.random.bytes(16 * draw.posts).hex()
    md5s = [hexes[at : at + 32] for at in range(0, len(hexes), 32)]
    return pl.Series(md5s)


def _timestamps(ids: pl.Series, draw: _Draw) -> pl.Series:
    """Returns a time every 90 seconds, written without zeros at its end."""
    seconds = 1_170_000_000 + (ids.to_numpy() - 1) * 90
    microseconds = draw.random.integers(0, 1_000_000, draw.posts)
    times = pl.Series(seconds * 1_000_000 + microseconds).cast(pl.Datetime("us"))
    texts = times.dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
    return texts.str.strip_chars_end("0").str.strip_chars_end(".")


def _sources(md5: pl.Series, draw: _Draw) -> pl.Series:
    """Returns an address or two of each post, in lines."""
    page = pl.format("https://www.example.com/view/{}/", draw.integers(1, 60_000_000))
    has_file = pl.Series(draw.random.random(draw.posts) < 0.6)
    number = draw.integers(1, 9_000_000_000)
    name = md5.str.head(12)
    file = pl.format("\nhttps://d.example.net/art/name/{}/{}.jpg", number, name)
    second = pl.when(has_file).then(file).otherwise(pl.lit(""))
    return pl.select(page + second).to_series()


def _texts(draw: _Draw) -> pl.Series:
    places = draw.random.integers(len(_WORDS), size=draw.posts)
    return pl.Series(_WORDS[places])


def _locked_tags(draw: _Draw) -> pl.Series:
    values = draw.choice(["-comic", "conditional_dnp"], [0.5, 0.5])
    return draw.sometimes(0.02, values)


def _details(ids: pl.Series, text: pl.Series, draw: _Draw) -> dict[str, pl.Series]:
    """Returns the columns from fav_count to duration."""
    return {
        "fav_count": draw.integers(0, 2_000),
        "file_ext": draw.choice(["jpg", "png", "gif", "webm"], [0.5, 0.42, 0.04, 0.04]),
        "parent_id": draw.sometimes(0.12, ids - 1),
        "change_seq": ids * 9,
        "approver_id": draw.sometimes(0.5, draw.integers(1, 900_000)),
        "file_size": draw.integers(20_000, 9_000_000),
        "comment_count": draw.integers(0, 12),
        "description": draw.sometimes(0.4, text, otherwise=""),
        "duration": _durations(draw),
    }


def _durations(draw: _Draw) -> pl.Series:
    seconds = np.round(draw.random.random(draw.posts) * 90, 2)
    return draw.sometimes(0.04, pl.Series(seconds))
