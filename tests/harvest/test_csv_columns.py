"""Columns of the CSV exports: the fast path of each equals its Polars expression."""

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.harvest import csv_columns
from pipeline.harvest.csv_columns import Column

COLUMNS = {
    f"{table}.{column.name}": column
    for table, columns in (
        ("posts", csv_columns.POSTS),
        ("tags", csv_columns.TAGS),
        ("relations", csv_columns.RELATIONS),
    )
    for column in columns
    if column.quick is not None
}

# Values that are good for one column or another, their near misses, and any text.
NEAR_MISSES = [
    "",
    " ",
    "fox",
    "fox  wolf",
    " fox ",
    "a\tb",
    "é♀ \x00",
    "s",
    "sq",
    "Q",
    "jpg",
    "jpg\n",
    "abcdefgh",
    "abcdefghi",
    "0" * 31,
    "0" * 32,
    "0" * 33,
    "a9" * 16,
    "A9" * 16,
    "g9" * 16,
    "2026-01-02",
    "2026-01-02 03:04",
    "2026-01-02 03:04:05",
    "2026-01-02 03:04:05.5",
    "2026-01-02 03:04:05.123456",
    "2026-13-02 03:04:05",
    "2026-02-30 03:04:05",
    "2026-01-02 24:00:00",
]
MD5 = st.text("0123456789abcdef", min_size=32, max_size=32)
TIMES = st.datetimes().map(lambda time: time.isoformat(" "))
TEXTS = st.one_of(
    st.sampled_from(NEAR_MISSES),
    MD5,
    TIMES,
    st.text("aé♀ \x20\x1f", max_size=9),
    st.text(),
)
GOOD = {
    "md5": st.none() | MD5,
    "created_at": TIMES,
    "ext": st.from_regex("[a-z0-9]{1,8}", fullmatch=True),
    "rating": st.sampled_from("sqe"),
}


def values_of(column: Column) -> st.SearchStrategy[list[object]]:
    """Returns lists of values: of all kinds, or good ones only."""
    if pa.types.is_boolean(column.kind):
        return st.lists(st.booleans())
    is_nullable = not column.required or column.optional_if is not None
    some = st.none() | TEXTS if is_nullable else TEXTS
    good = GOOD.get(column.name, st.text("aé♀_", min_size=1))
    return st.lists(some) | st.lists(good)


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_fast_path_equals_the_polars_expression(
    column: Column, data: st.DataObject
) -> None:
    chunks = data.draw(st.lists(values_of(column), max_size=3))
    assert_same(column, chunks)


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_fast_path_equals_the_expression_of_each_near_miss(column: Column) -> None:
    if pa.types.is_boolean(column.kind):
        pytest.skip("flags have no near misses")
    for text in NEAR_MISSES:
        assert_same(column, [[text]])


def assert_same(column: Column, chunks: list[list[object]]) -> None:
    """Compares both ways; the fast path may refuse a chunk, but never differ."""
    assert column.quick is not None
    # Each chunk starts after a value that is not part of it, as a slice does.
    padding: object = "not this"
    if pa.types.is_boolean(column.kind):
        padding = True
    arrays = [pa.array([padding, *chunk], column.kind)[1:] for chunk in chunks]
    values = pa.chunked_array(arrays, column.kind)
    frame = pl.DataFrame({column.source: pl.Series(values)})
    # is_withheld is a literal: with the source beside it, it has one value a row.
    expected = frame.with_columns(column.expression)[column.name]
    fast = column.quick(values)
    if fast is None:
        assert not is_plain(column, chunks)
        return
    fast.validate(full=True)
    found = fast.to_pylist()
    if column.name == "created_at":
        expected = expected.dt.replace_time_zone(None)
    assert found == expected.to_list()


def is_plain(column: Column, chunks: list[list[object]]) -> bool:
    """Returns whether the fast path must take these values, for speed."""
    values = [value for chunk in chunks for value in chunk]
    if column.name == "md5":
        return all(
            len(str(value)) == 32 and set(str(value)) <= set("0123456789abcdef")
            for value in values
            if value is not None
        )
    if column.name == "rating":
        return all(value in ("s", "q", "e") for value in values)
    if column.name in ("tags", "locked_tags", "is_withheld"):
        return True
    return not values


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-01-02 03:04:05", 0),
        ("2026-01-02 03:04:05.5", 500_000),
        ("2026-01-02 03:04:05.123456", 123_456),
    ],
)
def test_timestamps_have_any_number_of_decimals(text: str, microsecond: int) -> None:
    column = COLUMNS["posts.created_at"]
    value = pl.DataFrame({"created_at": [text]}).select(column.value).item()
    assert (value.hour, value.second, value.microsecond) == (3, 5, microsecond)


@given(st.lists(st.lists(st.none() | st.text("aé♀ ", max_size=12))))
@example([["fox  wolf ", None, ""], []])
def test_names_are_the_texts_between_spaces(chunks: list[list[str | None]]) -> None:
    split = COLUMNS["posts.tags"].quick
    assert split is not None
    arrays = [pa.array(["not this", *texts])[1:] for texts in chunks]
    names = split(pa.chunked_array(arrays, pa.string()))
    assert names is not None
    names.validate(full=True)
    texts = [text or "" for chunk in chunks for text in chunk]
    expected = [[name for name in text.split(" ") if name] for text in texts]
    assert names.to_pylist() == expected
