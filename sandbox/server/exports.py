"""The site's bulk exports, as PostgreSQL's COPY writes CSV with a header, in gzip.

See contract sections 1.4 and 1.5.

Guarantees  the bytes depend on the board alone: same board, same checksums, on every
            machine.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sandbox.records import Board, Post, Relation, Tag

COLUMNS = {
    "artists": "id,name,other_names,group_name,linked_user_id,is_active,is_locked,"
    "creator_id,created_at,updated_at,"
    "active_urls,inactive_urls",
    "bulk_update_requests": "id,user_id,forum_topic_id,forum_post_id,script,status,"
    "approver_id,title,created_at,"
    "updated_at,down_votes,meh_votes,up_votes",
    "pools": "id,name,created_at,updated_at,creator_id,description,is_active,category,"
    "post_ids",
    "post_replacements": "id,post_id,creator_id,approver_id,file_ext,file_size,"
    "image_height,image_width,md5,source,"
    "file_name,status,reason,created_at,updated_at",
    "post_versions": "id,post_id,version,tags,added_tags,removed_tags,locked_tags,"
    "added_locked_tags,"
    "removed_locked_tags,rating,rating_changed,parent_id,parent_changed,source,"
    "source_changed,description,"
    "description_changed,updater_id,updated_at,reason",
    "posts": "id,uploader_id,created_at,md5,source,rating,image_width,image_height,"
    "tag_string,locked_tags,fav_count,"
    "file_ext,parent_id,change_seq,approver_id,file_size,comment_count,description,"
    "duration,updated_at,is_deleted,"
    "is_pending,is_flagged,score,up_score,down_score,is_rating_locked,is_status_locked,"
    "is_note_locked,bg_color,"
    "last_noted_at,last_commented_at",
    "tag_aliases": "id,antecedent_name,consequent_name,created_at,status,forum_post_id,"
    "forum_topic_id,reason,"
    "updated_at,creator_id,approver_id,post_count,down_votes,meh_votes,up_votes",
    "tag_implications": "id,antecedent_name,consequent_name,created_at,status,"
    "forum_post_id,forum_topic_id,reason,"
    "updated_at,approver_id,creator_id,descendant_names,down_votes,meh_votes,up_votes",
    "tags": "id,name,category,post_count,created_at,updated_at,is_locked",
    "wiki_pages": "id,created_at,updated_at,title,body,creator_id,updater_id,"
    "is_locked,parent",
}
"""Header row of each export, in the order of the index.

No board has rows for those that are not in `ROWS`.
"""

BLOCK = 65_535  # bytes; the most that an uncompressed block of deflate holds


@dataclass(frozen=True, slots=True)
class Export:
    """One finished export: gzip `body`, its SHA-256 `checksum`, `updated_at` in UTC."""

    name: str
    body: bytes
    checksum: str
    updated_at: datetime

    @property
    def file_name(self) -> str:
        """As in the export's URL."""
        return f"{self.name}.csv.gz"


def build_exports(board: Board) -> dict[str, Export]:
    """All exports by name.

    The site makes them one after another: each is stamped 20 s after the one before.
    """
    exports = {}
    for place, (name, header) in enumerate(COLUMNS.items()):
        rows = ROWS[name](board) if name in ROWS else ()
        text = "\n".join([header, *rows, ""])
        body = stored_gzip(text.encode())
        checksum = hashlib.sha256(body).hexdigest()
        stamp = board.now + timedelta(seconds=20 * place, milliseconds=244)
        exports[name] = Export(name, body, checksum, stamp)
    return exports


def post_rows(board: Board) -> Iterator[str]:
    """CSV rows of every post, deleted ones included.

    The exports do not show which posts are hidden from anonymous users.
    """
    return map(_post_row, board.posts)


def tag_rows(board: Board) -> Iterator[str]:
    """CSV rows of every tag, unused ones included."""
    return map(_tag_row, board.tags)


def alias_rows(board: Board) -> Iterator[str]:
    """CSV rows of the aliases of every status."""
    counts = {tag.name: tag.post_count for tag in board.tags}
    for alias in board.aliases:
        posts = counts.get(alias.consequent_name, 0)
        yield f"{_relation_start(alias)},{alias.creator_id},,{posts},0,0,0"


def implication_rows(board: Board) -> Iterator[str]:
    """CSV rows of the implications of every status.

    `creator_id` comes after `approver_id` here, unlike in aliases.
    """
    closure = descendants(board.implications)
    for implication in board.implications:
        names = _text(_array(closure[implication.antecedent_name]))
        yield f"{_relation_start(implication)},,{implication.creator_id},{names},0,0,0"


ROWS: dict[str, Callable[[Board], Iterable[str]]] = {
    "posts": post_rows,
    "tags": tag_rows,
    "tag_aliases": alias_rows,
    "tag_implications": implication_rows,
}


def descendants(implications: Iterable[Relation]) -> dict[str, list[str]]:
    """Returns, per antecedent, all tags that it implies to any depth, sorted."""
    direct: dict[str, set[str]] = {}
    for relation in implications:
        consequents = direct.setdefault(relation.antecedent_name, set())
        if relation.status == "active":
            consequents.add(relation.consequent_name)
    return {name: sorted(_reachable(name, direct)) for name in direct}


def _reachable(name: str, direct: Mapping[str, set[str]]) -> set[str]:
    """All that follow from a name; the name itself only where it is in a circle."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        news = direct.get(waiting.pop(), set()) - reached
        reached |= news
        waiting += news
    return reached


def stored_gzip(data: bytes) -> bytes:
    """Returns a gzip file of uncompressed blocks, without name and time in its header.

    Written by hand, because the output of a deflate compressor differs between zlib,
    zlib-ng and their versions: the shipped pin holds the checksums of these files, and
    must hold on every machine.
    """
    parts: list[bytes | memoryview] = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    view = memoryview(data)
    for start in range(0, max(1, len(data)), BLOCK):
        end = start + BLOCK
        block = view[start:end]
        is_last = end >= len(data)
        parts.append(struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF))
        parts.append(block)
    parts.append(struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF))
    return b"".join(parts)


def _post_row(post: Post) -> str:
    locked_tags = " ".join(post.locked_tags) or None
    columns = (
        str(post.id),
        str(post.uploader_id),
        _time(post.created_at),
        post.md5,
        _text(post.source),
        post.rating,
        str(post.width),
        str(post.height),
        _text(" ".join(post.tags)),
        _text(locked_tags),
        str(post.fav_count),
        post.ext,
        _number(post.parent_id),
        str(post.change_seq),
        _number(post.approver_id),
        str(post.file_size),
        str(post.comment_count),
        _text(post.description),
        _number(post.duration),
        _time(post.updated_at),
        _flag(post.is_deleted),
        _flag(post.is_pending),
        _flag(post.is_flagged),
        str(post.up_score + post.down_score),
        str(post.up_score),
        str(post.down_score),
        _flag(post.is_rating_locked),
        _flag(post.is_status_locked),
        _flag(post.is_note_locked),
        _text(post.bg_color),
        "",  # last_noted_at
        "",  # last_commented_at
    )
    return ",".join(columns)


def _tag_row(tag: Tag) -> str:
    columns = (
        str(tag.id),
        _text(tag.name),
        str(tag.category),
        str(tag.post_count),
        _time(tag.created_at),
        _time(tag.updated_at),
        _flag(tag.is_locked),
    )
    return ",".join(columns)


def _relation_start(relation: Relation) -> str:
    """The nine columns that aliases and implications share."""
    columns = (
        str(relation.id),
        _text(relation.antecedent_name),
        _text(relation.consequent_name),
        _time(relation.created_at),
        _text(relation.status),
        "",  # forum_post_id
        "",  # forum_topic_id
        _text(relation.reason),
        _time(relation.updated_at),
    )
    return ",".join(columns)


def _text(value: str | None) -> str:
    """NULL is an empty field, an empty string is `""`; quotes only where needed."""
    if value is None:
        return ""
    if not value or "," in value or '"' in value or "\n" in value or "\r" in value:
        doubled = value.replace('"', '""')
        return f'"{doubled}"'
    return value


def _array(names: Iterable[str]) -> str:
    """PostgreSQL's text form of an array: `{a,"b c"}`."""
    return "{" + ",".join(map(_array_element, names)) + "}"


def _array_element(name: str) -> str:
    if not _needs_quotes(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _needs_quotes(name: str) -> bool:
    """Whether an element of an array would be read as something else without them."""
    if not name or name.upper() == "NULL":
        return True
    return any(char in '{},"\\' or char.isspace() for char in name)


def _time(moment: datetime | None) -> str:
    """UTC without a zone, trailing zeros of the fraction trimmed."""
    if moment is None:
        return ""
    text = moment.replace(tzinfo=None).isoformat(" ")
    if moment.microsecond:
        return text.rstrip("0")
    return text


def _number(value: float | None) -> str:
    return "" if value is None else str(value)


def _flag(value: bool) -> str:
    return "t" if value else "f"
