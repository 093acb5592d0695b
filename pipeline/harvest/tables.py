"""Reads the gzip CSV exports (contract sections 1.4 and 1.5) and writes the snapshot's tables, chunk by chunk.

Columns are found by name; extra ones are ignored. A record that cannot be read is not lost silently: it is returned
as a row of schemas.SNAPSHOT_REJECTED.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipeline import atomic, parquet, schemas
from pipeline.errors import BadExport

BLOCK = (
    16 << 20
)  # bytes of CSV parsed at once; must exceed the longest record (a wiki body may have 250,000 characters)

Rejected = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: where it comes from and what a value must be."""

    name: str
    source: str
    value: pl.Expr  # over the text column `source`, null where the text is not what it must be
    required: bool = True  # a null is a reason to reject the record


def _text(name: str) -> pl.Expr:
    return pl.col(name)


def _integer(name: str, kind: type[pl.DataType] = pl.Int64) -> pl.Expr:
    return pl.col(name).cast(kind, strict=False)


def _boolean(name: str) -> pl.Expr:
    return pl.col(name).replace_strict({"t": True, "f": False}, default=None, return_dtype=pl.Boolean)


def _time(name: str) -> pl.Expr:
    # Trailing zeros of the fraction are trimmed, all of them in some rows; without a zone they are UTC.
    return pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", time_zone="UTC", strict=False)


def _matching(name: str, pattern: str) -> pl.Expr:
    return pl.when(pl.col(name).str.contains(pattern)).then(pl.col(name))


def _names(name: str) -> pl.Expr:
    # NULL and "" both mean none, and old rows hold double spaces.
    return pl.col(name).fill_null("").str.split(" ").list.filter(pl.element() != "")


POSTS = (
    Column("post_id", "id", _integer("id")),
    Column("change_seq", "change_seq", _integer("change_seq")),
    Column("created_at", "created_at", _time("created_at")),
    Column("md5", "md5", _matching("md5", "^[0-9a-f]{32}$")),
    Column("ext", "file_ext", _matching("file_ext", "^[a-z0-9]{1,8}$")),
    Column("rating", "rating", _matching("rating", "^[sqe]$")),
    Column("width", "image_width", _integer("image_width", pl.Int32)),
    Column("height", "image_height", _integer("image_height", pl.Int32)),
    Column("file_size", "file_size", _integer("file_size")),
    Column("duration", "duration", pl.col("duration").cast(pl.Float64, strict=False), required=False),
    Column("parent_id", "parent_id", _integer("parent_id"), required=False),
    Column("is_deleted", "is_deleted", _boolean("is_deleted")),
    Column("is_pending", "is_pending", _boolean("is_pending")),
    Column("is_flagged", "is_flagged", _boolean("is_flagged")),
    Column("is_withheld", "is_deleted", pl.lit(value=False)),
    Column("score", "score", _integer("score", pl.Int32)),
    Column("fav_count", "fav_count", _integer("fav_count", pl.Int32)),
    Column("tags", "tag_string", _names("tag_string")),
    Column("locked_tags", "locked_tags", _names("locked_tags")),
)

TAGS = (
    Column("tag_id", "id", _integer("id")),
    Column("name", "name", _text("name")),
    Column("category", "category", _integer("category", pl.Int8)),
    Column("post_count", "post_count", _integer("post_count")),
)

RELATIONS = (
    Column("relation_id", "id", _integer("id")),
    Column("antecedent", "antecedent_name", _text("antecedent_name")),
    Column("consequent", "consequent_name", _text("consequent_name")),
    Column("status", "status", _text("status")),
)


def write_posts(source: Path, target: Path) -> Rejected:
    """Writes posts.parquet; returns the records that could not be read."""
    return _write("posts", source, target, POSTS, schemas.POSTS)


def write_tags(source: Path, target: Path) -> Rejected:
    """Writes tags.parquet; returns the records that could not be read."""
    return _write("tags", source, target, TAGS, schemas.TAGS)


def write_relations(export: str, source: Path, target: Path) -> Rejected:
    """Writes aliases.parquet or implications.parquet; returns the records that could not be read."""
    return _write(export, source, target, RELATIONS, schemas.RELATIONS)


def _write(export: str, source: Path, target: Path, columns: tuple[Column, ...], schema: pa.Schema) -> Rejected:
    key = columns[0].name
    rejected: Rejected = []
    last, ordered = None, True
    with atomic.writing(target) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for chunk in _chunks(export, source, columns, rejected):
            ids = chunk[key]
            if len(ids) == 0:
                continue
            ordered = ordered and (last is None or ids[0] > last) and bool((ids.diff().drop_nulls() > 0).all())
            last = ids[-1]
            writer.write_table(parquet.cast(chunk, schema))
    if not ordered:
        _put_in_order(export, target, key, schema, rejected)
    return rejected


def _put_in_order(export: str, path: Path, key: str, schema: pa.Schema, rejected: Rejected) -> None:
    """Sorts a table whose export was not ordered by id; of records with one id the last is kept, as on the site."""
    table = parquet.read(path)
    newest = table.unique(subset=key, keep="last", maintain_order=True).sort(key)
    doubled = table.height - newest.height
    if doubled:
        repeated = table.filter(pl.col(key).is_duplicated())[key].unique().sort()
        rejected += [
            {"export": export, "row": 0, "reason": "id given more than once", "value": str(i)} for i in repeated
        ]
    parquet.write(path, newest, schema)


def _chunks(export: str, source: Path, columns: tuple[Column, ...], rejected: Rejected) -> Iterator[pl.DataFrame]:
    """Yields the good records of a gzip CSV as typed tables, appending the others to `rejected`."""
    row = 0
    for text in _text_chunks(export, source, columns, rejected):
        numbered = text.with_row_index("row", offset=row + 1)
        row += text.height
        typed = numbered.select("row", *(column.value.alias(column.name) for column in columns))
        wrong = [column for column in columns if column.required]
        reason = pl.coalesce(
            pl.when(pl.col(column.name).is_null()).then(pl.lit(f"{column.source} is missing or not valid"))
            for column in wrong
        )
        typed = typed.with_columns(reason=reason)
        for bad in typed.filter(pl.col("reason").is_not_null()).select("row", "reason").iter_rows():
            record = numbered.row(bad[0] - numbered["row"][0], named=True)
            source_column = bad[1].split(" ", 1)[0]
            value = f"id {record['id']}: {record[source_column]!r}"[:200]
            rejected.append({"export": export, "row": bad[0], "reason": bad[1], "value": value})
        yield typed.filter(pl.col("reason").is_null()).drop("row", "reason")


def _text_chunks(export: str, source: Path, columns: tuple[Column, ...], rejected: Rejected) -> Iterator[pl.DataFrame]:
    """Yields the wanted columns as text: NULL is null, "" is empty."""

    def skip(bad: pa_csv.InvalidRow) -> str:
        reason = f"{bad.actual_columns} columns instead of {bad.expected_columns}"
        rejected.append(
            {"export": export, "row": (bad.number or 1) - 1, "reason": reason, "value": (bad.text or "")[:200]}
        )
        return "skip"

    names = _header(export, source)
    wanted = list(dict.fromkeys(column.source for column in columns))
    missing = [name for name in wanted if name not in names]
    if missing:
        raise BadExport(
            f"the export {export} has no column {', '.join(missing)} (it has {', '.join(names)}). "
            "Nothing was written. The site changed its exports: this version of e6tag cannot read them."
        )
    try:
        reader = pa_csv.open_csv(
            pa.input_stream(str(source), compression="gzip"),
            read_options=pa_csv.ReadOptions(block_size=BLOCK, use_threads=False),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            convert_options=pa_csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        for batch in reader:
            yield pl.from_arrow(batch)  # type: ignore[misc]
    except (pa.ArrowInvalid, OSError) as error:
        raise BadExport(
            f"the export {export} cannot be read: {' '.join(str(error).split())[:200]}. Nothing was written. "
            "Run e6tag refresh when the site has made a new one."
        ) from error


def _header(export: str, source: Path) -> list[str]:
    """Returns the column names of a gzip CSV."""
    import csv
    import gzip
    import zlib

    try:
        with gzip.open(source, "rt", encoding="utf-8", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadExport(
            f"the export {export} is not gzip CSV: {error}. Nothing was written. Run e6tag refresh."
        ) from error
