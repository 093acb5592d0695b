"""Records of the API: each is read, or rejected with a reason; none is a traceback."""

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import parquet
from pipeline.errors import BadAnswer
from pipeline.harvest import api_models
from pipeline.harvest.api_models import POSTS, TAGS, RecordType
from pipeline.schemas.snapshot import SNAPSHOT_REJECTED

POST: dict[str, Any] = {
    "id": 7,
    "change_seq": 9,
    "created_at": "2020-06-01T10:00:00.000-04:00",
    "file": {
        "md5": "0" * 32,
        "ext": "png",
        "width": 3,
        "height": 4,
        "size": 5,
        "url": "http://127.0.0.1/a.png",
    },
    "rating": "s",
    "duration": None,
    "relationships": {"parent_id": None},
    "flags": {"deleted": False, "pending": False, "flagged": False},
    "score": {"total": 1},
    "fav_count": 2,
    "tags": {"general": ["fox"], "species": ["canine"]},
    "locked_tags": [],
}
TAG: dict[str, Any] = {"id": 1, "name": "fox", "category": 5, "post_count": 3}

# Half a character of UTF-16, as JSON can hold it and no file can.
TEXT = st.text(st.characters(codec=None), max_size=4) | st.just("\ud83d")
NUMBERS = st.integers(-(2**70), 2**70) | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
    ),
    max_leaves=6,
)


def places(record: Any) -> list[tuple[Any, ...]]:
    """Returns the path of every value of a record."""
    found: list[tuple[Any, ...]] = []
    if isinstance(record, dict):
        for key, value in record.items():
            found.append((key,))
            found += [(key, *rest) for rest in places(value)]
    return found


def with_value(record: dict[str, Any], path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(record)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def store(folder: Path, page: api_models.ParsedPage, kind: RecordType) -> None:
    """Writes what was read and what was rejected, as the harvest does."""
    parquet.write(folder / "rows", page.rows, kind.schema)
    rejected = [one.rejected for one in page.unread]
    parquet.write(folder / "rejected", rejected, SNAPSHOT_REJECTED)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([(POST, POSTS), (TAG, TAGS)]), st.data())
def test_every_record_is_read_or_rejected_with_a_reason(
    tmp_path_factory: pytest.TempPathFactory,
    sound: tuple[dict[str, Any], RecordType],
    data: st.DataObject,
) -> None:
    record, kind = sound
    path = data.draw(st.sampled_from(places(record)))
    odd = with_value(record, path, data.draw(JSON))
    page = api_models.parse_page([odd, record], kind, "here")
    assert len(page.rows) + len(page.unread) == 2
    assert all(one.rejected["reason"] for one in page.unread)
    store(tmp_path_factory.getbasetemp(), page, kind)


@settings(deadline=None, max_examples=200)
@given(JSON)
def test_what_is_no_record_is_rejected_or_refused(record: Any) -> None:
    for answer in (record, [record], {"posts": [record]}):
        with suppress(BadAnswer):
            page = api_models.parse_page(answer, POSTS, "here")
            assert not page.rows
            assert len(page.unread) == page.records


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        pytest.param(
            ("tags",), {"general": 3}, "tags is no list", id="a category is a number"
        ),
        pytest.param(
            ("tags",),
            ["\ud83d"],
            "tags.0 is no text that a file can hold",
            id="half a character",
        ),
        pytest.param(
            ("created_at",),
            "0001-01-01T00:00:00+14:00",
            "created_at is no date in UTC",
            id="year 0",
        ),
        pytest.param(("file", "md5"), None, "file.md5 is missing, and", id="no md5"),
        pytest.param(("file", "md5"), "", "file.md5 is missing, and", id="empty md5"),
        pytest.param(
            ("file", "md5"),
            "A" * 32,
            "file.md5 is not 32 lower-case",
            id="malformed md5",
        ),
        pytest.param(("id",), "7b", "id is not a whole number", id="no number"),
        pytest.param(("id",), -1, "id is too small", id="below 1"),
        pytest.param(("file", "size"), 2**63, "file.size is too large", id="beyond"),
        pytest.param(("file",), [], "file.ext is missing", id="a list"),
        pytest.param(("flags", "deleted"), 3, "flags.deleted is neither", id="no flag"),
        pytest.param(("rating",), "a b", "rating is not one word", id="two words"),
        pytest.param(("created_at",), "now", "created_at is no date", id="no date"),
        pytest.param(
            ("created_at",), "2020-01-01T00:00", "created_at has no time", id="no zone"
        ),
        pytest.param(("id",), "\ud83d", "id is no text", id="half a character as id"),
    ],
)
def test_what_cannot_be_kept_is_named(
    tmp_path: Path, path: tuple[str, ...], value: Any, reason: str
) -> None:
    page = api_models.parse_page([with_value(POST, path, value)], POSTS, "here")
    (unread,) = page.unread
    assert unread.rejected["reason"].startswith(reason)
    assert "nput should" not in unread.rejected["reason"]  # Pydantic's words
    store(tmp_path, page, POSTS)


NOT_FETCHED = [
    pytest.param(("flags", "deleted"), True, "is_deleted", id="deleted"),
    pytest.param(("file", "url"), None, "is_withheld", id="withheld"),
]


@pytest.mark.parametrize(("path", "value", "flag"), NOT_FETCHED)
@pytest.mark.parametrize("md5", [None, ""])
def test_post_whose_file_nobody_may_fetch_needs_no_md5(
    tmp_path: Path, path: tuple[str, ...], value: Any, flag: str, md5: str | None
) -> None:
    record = with_value(POST, path, value)
    lacking = copy.deepcopy(record)
    del lacking["file"]["md5"]
    answer = [with_value(record, ("file", "md5"), md5), lacking]
    page = api_models.parse_page(answer, POSTS, "here")
    assert [(row["md5"], row[flag]) for row in page.rows] == [(None, True)] * 2
    store(tmp_path, page, POSTS)


@pytest.mark.parametrize(("path", "value", "flag"), NOT_FETCHED)
def test_malformed_md5_is_rejected_of_every_post(
    path: tuple[str, ...], value: Any, flag: str
) -> None:
    record = with_value(with_value(POST, path, value), ("file", "md5"), "0" * 31)
    (unread,) = api_models.parse_page([record], POSTS, "here").unread
    assert unread.rejected["reason"].startswith("file.md5 is not 32"), flag


def test_a_category_that_is_null_holds_no_tags() -> None:
    record = with_value(POST, ("tags", "invalid"), None)
    (row,) = api_models.parse_page([record], POSTS, "here").rows
    assert row["tags"] == ["canine", "fox"]


@given(
    st.text(
        st.characters(exclude_characters=" ", exclude_categories=["Cs"]), min_size=1
    )
)
def test_a_name_ends_at_a_space_and_nowhere_else(name: str) -> None:
    post = with_value(POST, ("tags",), f"fox {name}  canine")
    (row,) = api_models.parse_page([post], POSTS, "here").rows
    assert row["tags"] == sorted({"fox", name, "canine"})
    tag = json.loads(json.dumps(TAG | {"name": name}))
    (row,) = api_models.parse_page([tag], TAGS, "here").rows
    assert row["name"] == name
