"""Reads the API's JSON, in any of its shapes, into rows of the snapshot's tables.

Contract sections 2.4 and 3: legacy and v2 posts, basic or extended, wrapped or bare.
Unknown keys are ignored. A record that lacks a value of its row is not lost silently:
it becomes a row of schemas.SNAPSHOT_REJECTED.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Annotated, Any

import pyarrow as pa
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails

from pipeline.errors import BadAnswer
from pipeline.schemas.snapshot import POSTS as POSTS_SCHEMA
from pipeline.schemas.snapshot import RELATIONS
from pipeline.schemas.snapshot import TAGS as TAGS_SCHEMA

Row = dict[str, Any]

_Int8 = Annotated[int, Field(ge=-(2**7), lt=2**7)]
_Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
_Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_Id = Annotated[int, Field(gt=0, lt=2**63)]


def _flat(names: Any) -> Any:
    """Returns a list of names, given as a list, by category, or as one text.

    None stands for no names, also of a category. Returns any other value as it is, for
    the model to refuse.
    """
    if names is None:
        return []
    if isinstance(names, str):
        # A name ends at a space and nowhere else (contract section 6).
        return [name for name in names.split(" ") if name]
    if isinstance(names, Mapping):
        groups = [group for group in names.values() if group is not None]
        if all(isinstance(group, list) for group in groups):
            return list(chain.from_iterable(groups))
    return names


def _in_utc(moment: datetime) -> datetime:
    """Returns a moment in UTC; raises ValueError for the first and last of all days."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is no date in UTC") from error


def _encodable(text: str) -> str:
    """Returns a text; raises ValueError if it holds half a character (a surrogate)."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("is no text that a file can hold") from error
    return text


_Text = Annotated[str, AfterValidator(_encodable)]
_Names = Annotated[list[_Text], BeforeValidator(_flat)]
_MD5 = re.compile("[0-9a-f]{32}")
# Not compared with the values known today: extensions and ratings are added.
_Word = Annotated[_Text, Field(pattern=r"^[^ ]+$")]


def _either(*paths: str) -> AliasChoices:
    """Returns the places of a value in the shapes of a record.

    For example `file.md5` in the legacy shape and `files.meta.md5` in v2.
    """
    places = [AliasPath(*path.split(".")) for path in paths]
    return AliasChoices(*places)


def _md5_if_fetched(md5: str | None, info: ValidationInfo) -> str | None:
    """Returns an MD5, or None for a post whose file nobody may fetch.

    That is a deleted one, or one without a URL (policy rules 1 and 4). Raises
    ValueError for any other text, and where another post lacks it.
    """
    if md5:
        if not _MD5.fullmatch(md5):
            raise ValueError("is not 32 lower-case hexadecimal digits")
        return md5
    is_fetched = info.data.get("url") is not None and not info.data.get("is_deleted")
    if is_fetched:
        raise ValueError("is missing, and the post is neither deleted nor withheld")
    return None


_WRONG = {
    "string_pattern": "is not one word",
    "string": "is no text",
    "int": "is not a whole number",
    "float": "is no number",
    "finite": "is no number",
    "bool": "is neither true nor false",
    "datetime": "is no date with a time",
    "timezone": "has no time zone",
    "list": "is no list",
    "model": "is no object",
    "dict": "is no object",
    "greater": "is too small",
    "less": "is too large",
}
"""What is wrong with a value, by how the type of Pydantic's error begins."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Post(_Record):
    """One post of the API, in the columns of schemas.POSTS."""

    post_id: _Id = Field(validation_alias="id")
    change_seq: _Int64
    created_at: Annotated[AwareDatetime, AfterValidator(_in_utc)]
    ext: _Word = Field(validation_alias=_either("file.ext", "files.meta.ext"))
    rating: _Word
    width: _Int32 = Field(
        validation_alias=_either("file.width", "files.original.width")
    )
    height: _Int32 = Field(
        validation_alias=_either("file.height", "files.original.height")
    )
    file_size: _Int64 = Field(validation_alias=_either("file.size", "files.meta.size"))
    url: str | None = Field(validation_alias=_either("file.url", "files.original.url"))
    duration: float | None = Field(
        None, validation_alias=_either("duration", "files.meta.duration")
    )
    parent_id: _Int64 | None = Field(
        None, validation_alias=_either("relationships.parent_id")
    )
    is_deleted: bool = Field(validation_alias=_either("flags.deleted"))
    is_pending: bool = Field(validation_alias=_either("flags.pending"))
    is_flagged: bool = Field(validation_alias=_either("flags.flagged"))
    # After what its check looks at.
    md5: Annotated[str | None, AfterValidator(_md5_if_fetched)] = Field(
        None,
        validation_alias=_either("file.md5", "files.meta.md5"),
        validate_default=True,
    )
    score: _Int32 = Field(validation_alias=_either("score.total", "stats.score.total"))
    fav_count: _Int32 = Field(validation_alias=_either("fav_count", "stats.fav_count"))
    tags: _Names
    locked_tags: _Names = []

    def row(self) -> Row:
        """Returns the row of the table.

        Tags are in the order of the exports. A post without an address, unless deleted,
        is withheld.
        """
        return {
            **self.model_dump(exclude={"url"}),
            "tags": sorted(set(self.tags) - {""}),
            "is_withheld": self.url is None and not self.is_deleted,
        }


class _Tag(_Record):
    """One tag of the API, in the columns of schemas.TAGS."""

    tag_id: _Int64 = Field(validation_alias="id")
    name: _Word
    category: _Int8
    post_count: _Int64

    def row(self) -> Row:
        """Returns the row of the table."""
        return self.model_dump()


class _Relation(_Record):
    """One alias or implication of the API, in the columns of schemas.RELATIONS."""

    relation_id: _Int64 = Field(validation_alias="id")
    antecedent: _Word = Field(validation_alias="antecedent_name")
    consequent: _Word = Field(validation_alias="consequent_name")
    status: Annotated[_Text, Field(min_length=1)]

    def row(self) -> Row:
        """Returns the row of the table."""
        return self.model_dump()


@dataclass(frozen=True, slots=True)
class RecordType:
    """The type of the records that an endpoint lists."""

    export: str  # its name among the exports
    wrapper: str  # the key in which a list of records may be wrapped
    schema: pa.Schema  # of its table
    model: type[_Post] | type[_Tag] | type[_Relation]


POSTS = RecordType("posts", "posts", POSTS_SCHEMA, _Post)
TAGS = RecordType("tags", "tags", TAGS_SCHEMA, _Tag)
ALIASES = RecordType("tag_aliases", "tag_aliases", RELATIONS, _Relation)
IMPLICATIONS = RecordType("tag_implications", "tag_implications", RELATIONS, _Relation)


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A record that cannot be read, with the values of it that can."""

    key: int | None  # its id
    version: int | None  # its change_seq, which only posts have
    rejected: Row  # schemas.SNAPSHOT_REJECTED; `row` counts from 1 within the answer


@dataclass(frozen=True, slots=True)
class ParsedPage:
    """One response: its rows and its unreadable records.

    ids and changes are of all records, also unreadable ones, for the next cursor.
    """

    rows: list[Row]
    unread: list[UnreadableRecord]
    ids: list[int]
    changes: list[int]  # change_seq, of posts
    records: int


def parse_page(answer: Any, kind: RecordType, where: str) -> ParsedPage:
    """Reads a list of records.

    Raises BadAnswer naming `where` if it is no list, or a list of thumbnails.
    """
    records = _unwrapped(answer, kind, where)
    rows, unread = [], []
    for number, record in enumerate(records, start=1):
        try:
            rows.append(kind.model.model_validate(record).row())
        except ValidationError as error:
            key, version = _number(record, "id"), _number(record, "change_seq")
            rejected = _rejected(kind, number, record, error)
            unread.append(UnreadableRecord(key, version, rejected))
    ids = _numbers(records, "id")
    changes = _numbers(records, "change_seq")
    return ParsedPage(rows, unread, ids, changes, len(records))


def parse_ids(answer: Any, kind: RecordType, where: str) -> list[int]:
    """Reads the ids of a list of records, whatever else they hold."""
    return _numbers(_unwrapped(answer, kind, where), "id")


def parse_one(answer: Any, kind: RecordType, where: str) -> ParsedPage:
    """Reads a single record, bare or wrapped, as a page of one."""
    wrapper = kind.wrapper.removesuffix("s")
    record = answer.get(wrapper, answer) if isinstance(answer, dict) else answer
    return parse_page([record], kind, where)


def _unwrapped(answer: Any, kind: RecordType, where: str) -> list[Any]:
    """Returns the records of `{"posts": [...]}` or `[...]`.

    An empty list may be wrapped where the others are not.
    """
    records = answer.get(kind.wrapper) if isinstance(answer, dict) else answer
    if not isinstance(records, list):
        raise BadAnswer(
            f"{where} answered {str(answer)[:80]!r} where a list of {kind.wrapper} was "
            "expected. What is fetched is kept. Check site.base_url; if it is right, "
            "the site changed and this version of e6tag cannot read it."
        )
    if kind is POSTS and any(map(_is_thumbnail, records)):
        raise BadAnswer(
            f"{where} answered in the thumbnails shape, which has neither change_seq "
            "nor locked tags and cannot be harvested. Remove mode=thumbnails from "
            "what stands between e6tag and the site."
        )
    return records


def _is_thumbnail(record: Any) -> bool:
    return isinstance(record, dict) and "preview_url" in record


_NUMBERS: dict[str, TypeAdapter[int]] = {
    "id": TypeAdapter(_Id),
    "change_seq": TypeAdapter(_Int64),
}


def _numbers(records: list[Any], key: str) -> list[int]:
    numbers = [_number(record, key) for record in records]
    return [number for number in numbers if number is not None]


def _number(record: Any, key: str) -> int | None:
    """Returns a number as the models read it; None if they cannot."""
    try:
        return _NUMBERS[key].validate_python(record[key])
    except (ValidationError, TypeError, KeyError):
        return None


def _what_is_wrong(error: ErrorDetails) -> str:
    """Returns it in words of our own: Pydantic's change from version to version."""
    if error["type"] == "value_error":  # raised by the validators above
        return str(error["ctx"]["error"])
    for kind, words in _WRONG.items():
        if error["type"].startswith(kind):
            return words
    return "is not what the contract says"


def _rejected(
    kind: RecordType, number: int, record: Any, error: ValidationError
) -> Row:
    given = record.get("id") if isinstance(record, dict) else None
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        reason, value = f"{place} is missing", ""
    else:
        reason = f"{place or 'record'} {_what_is_wrong(first)}"
        value = f": {first['input']!r}"
    shown = f"id {given!r}{value}"
    return {
        "export": kind.export,
        "row": number,
        "reason": reason[:200],
        # A text may hold half a character, which no file can: it is shown as \ud83d.
        "value": shown.encode(errors="backslashreplace").decode()[:200],
    }
