"""The columns of the CSV exports: where each value comes from and what it must be.

Contract sections 1.4 and 1.5. The first column of each table is its key.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import polars as pl
import pyarrow as pa

from pipeline.harvest import csv_fast_paths as fast_paths


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    name: its name in the table; source: the column of the export.
    kind: the type with which the parser reads the source. If one value of the export
    does not fit, the whole export is read as texts. The parser accepts blanks around a
    number and hexadecimal numbers, which PostgreSQL never prints. Columns with one
    source have one kind.
    value: an expression over the source, null where the value is not valid; None takes
    the source as it is.
    quick: the same for chunks in which all values are valid; it returns None for other
    chunks. It uses no expression, because Polars would wake its threads.
    required: a null is a reason to reject the record.
    optional_if: a flag among the sources; in records in which it is true, the source of
    a required column may be empty, and the value is null.
    """

    name: str
    source: str
    kind: pa.DataType = pa.string()  # noqa: RUF009
    value: pl.Expr | None = None
    quick: Callable[[pa.ChunkedArray], pa.ChunkedArray | None] | None = None
    required: bool = True
    optional_if: str | None = None

    @property
    def expression(self) -> pl.Expr:
        """The value as a Polars expression, named as the column."""
        value = pl.col(self.source) if self.value is None else self.value
        return value.alias(self.name)


def _matching(source: str, pattern: str) -> pl.Expr:
    """Returns the texts that match a pattern as a whole, null for the others."""
    text = pl.col(source)
    return pl.when(text.str.contains(f"^(?:{pattern})$")).then(text)


def _md5(name: str, source: str, *, optional_if: str) -> Column:
    value = _matching(source, f"[0-9a-f]{{{fast_paths.MD5_LENGTH}}}")
    quick = fast_paths.check_md5
    return Column(name, source, value=value, quick=quick, optional_if=optional_if)


def _name(name: str, source: str) -> Column:
    # A name ends at a space and nowhere else: old rows break the site's other rules
    # (contract section 6).
    value = _matching(source, "[^ ]+")
    return Column(name, source, value=value, quick=fast_paths.check_names)


def _one_of_few(name: str, source: str, pattern: str) -> Column:
    """Returns a column with few distinct values, so that only those are matched."""
    quick = partial(fast_paths.check_values, re.compile(pattern))
    return Column(name, source, value=_matching(source, pattern), quick=quick)


def _names(name: str, source: str) -> Column:
    # NULL and "" both mean none, and old rows hold double spaces.
    value = pl.col(source).fill_null("").str.extract_all("[^ ]+")
    quick = fast_paths.split_names
    return Column(name, source, value=value, quick=quick, required=False)


def _time(name: str, source: str) -> Column:
    # Trailing zeros of the fraction are trimmed, all of them in some rows. Times
    # without a zone are UTC.
    value = pl.col(source).str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f", time_unit="us", time_zone="UTC", strict=False
    )
    return Column(name, source, value=value, quick=fast_paths.parse_times)


def _always_false(name: str, source: str) -> Column:
    value = pl.lit(value=False)
    return Column(name, source, pa.bool_(), value=value, quick=fast_paths.all_false)


POSTS = (
    Column("post_id", "id", pa.int64()),
    Column("change_seq", "change_seq", pa.int64()),
    _time("created_at", "created_at"),
    # Nobody fetches the file of a deleted post, so that it needs no MD5.
    _md5("md5", "md5", optional_if="is_deleted"),
    # Not compared with those known today: extensions and ratings are added.
    _one_of_few("ext", "file_ext", "[^ ]+"),
    _one_of_few("rating", "rating", "[^ ]+"),
    Column("width", "image_width", pa.int32()),
    Column("height", "image_height", pa.int32()),
    Column("file_size", "file_size", pa.int64()),
    Column("duration", "duration", pa.float64(), required=False),
    Column("parent_id", "parent_id", pa.int64(), required=False),
    Column("is_deleted", "is_deleted", pa.bool_()),
    Column("is_pending", "is_pending", pa.bool_()),
    Column("is_flagged", "is_flagged", pa.bool_()),
    _always_false("is_withheld", "is_deleted"),
    Column("score", "score", pa.int32()),
    Column("fav_count", "fav_count", pa.int32()),
    _names("tags", "tag_string"),
    _names("locked_tags", "locked_tags"),
)

TAGS = (
    Column("tag_id", "id", pa.int64()),
    _name("name", "name"),
    Column("category", "category", pa.int8()),
    Column("post_count", "post_count", pa.int64()),
)

RELATIONS = (
    Column("relation_id", "id", pa.int64()),
    _name("antecedent", "antecedent_name"),
    _name("consequent", "consequent_name"),
    Column("status", "status"),
)
