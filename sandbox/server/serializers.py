"""The JSON shapes of the site (contract sections 2.4, 2.5 and 3).

Key order, nesting and nulls as it sends them.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from sandbox.records import CATEGORIES, Board, Post, Relation, Tag
from sandbox.server.exports import Export, descendants
from sandbox.server.variants import VIDEO, has_sample, preview_size, sample_size

Json = dict[str, Any]

VIDEO_CODECS = {"webm": "vp9", "mp4": "avc1"}
THUMBNAIL_FLAGS = ("deleted", "pending", "flagged")  # those that thumbnails show


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks: what a post shows depends on it."""

    logged_in: bool = False
    safe_mode: bool = False


def is_visible(post: Post, viewer: Viewer) -> bool:
    """Whether the viewer is given the post's file URLs.

    The three rules of section 2.5.
    """
    is_safe = post.rating == "s"
    if post.is_deleted or (viewer.safe_mode and not is_safe):
        return False
    if viewer.logged_in:
        return True
    is_for_members = not is_safe and "young" in post.tags
    return not (post.is_hidden_from_anonymous or is_for_members)


def site_time(moment: datetime | None) -> str | None:
    """ISO-8601 with milliseconds in the site's own zone, US Eastern."""
    if moment is None:
        return None
    # By hand, not by zoneinfo: slim machines have no time zone database.
    utc = moment.replace(tzinfo=UTC)
    standard = utc - timedelta(hours=5)  # what a clock there shows in winter
    offset = -4 if _is_summer_time(standard) else -5
    local = utc.astimezone(timezone(timedelta(hours=offset)))
    return local.isoformat(timespec="milliseconds")


def _is_summer_time(standard: datetime) -> bool:
    """By the rule that holds in the US since 2007."""
    starts = _sunday(standard.year, 3, 2) + timedelta(hours=2)
    ends = _sunday(standard.year, 11, 1) + timedelta(hours=1)
    return starts <= standard < ends


def _sunday(year: int, month: int, nth: int) -> datetime:
    first = datetime(year, month, 1, tzinfo=UTC)
    days_to_sunday = (6 - first.weekday()) % 7
    return first + timedelta(days=days_to_sunday, weeks=nth - 1)


def export_rows(exports: Mapping[str, Export], static_url: str) -> list[Json]:
    """The rows of the export index, ordered by name."""
    return [export_row(exports[name], static_url) for name in sorted(exports)]


def export_row(export: Export, static_url: str) -> Json:
    """One row of the export index (section 1.2)."""
    return {
        "name": export.name,
        "file_name": export.file_name,
        "file_size": len(export.body),
        "checksum": export.checksum,
        "updated_at": site_time(export.updated_at),
        "url": f"{static_url}/data/db_export/{export.file_name}",
    }


@dataclass(frozen=True, slots=True)
class Links:
    """The file URLs of one post; all None where the viewer may not have them."""

    file: str | None
    preview_jpg: str | None
    preview_webp: str | None
    sample_jpg: str | None
    sample_webp: str | None


class Shapes:
    """Turns a board's records into JSON values.

    Holds what a single post does not know about itself.
    """

    def __init__(self, board: Board, static_url: str) -> None:
        self._static_url = static_url
        self._category = {tag.name: CATEGORIES[tag.category] for tag in board.tags}
        self._counts = {tag.name: tag.post_count for tag in board.tags}
        self._descendants = descendants(board.implications)
        self._children: defaultdict[int, list[Post]] = defaultdict(list)
        for post in board.posts:
            if post.parent_id is not None:
                self._children[post.parent_id].append(post)

    def legacy(self, post: Post, viewer: Viewer) -> Json:
        """The default shape of /posts.json and /posts/<id>.json."""
        links = self._links(post, viewer)
        return {
            "id": post.id,
            "created_at": site_time(post.created_at),
            "updated_at": site_time(post.updated_at),
            "file": _legacy_file(post, links),
            "preview": _legacy_preview(post, links),
            "sample": _legacy_sample(post, links),
            "score": _score(post),
            "tags": self._by_category(post),
            "locked_tags": list(post.locked_tags),
            "change_seq": post.change_seq,
            "flags": _flags(post),
            "rating": post.rating,
            "fav_count": post.fav_count,
            "sources": post.source.splitlines(),
            "pools": [],
            "relationships": self._relationships(post),
            "approver_id": post.approver_id,
            "uploader_id": post.uploader_id,
            "uploader_name": _user_name(post.uploader_id),
            "description": post.description,
            "comment_count": post.comment_count,
            "is_favorited": False,
            "vote": 0,
            "has_notes": False,
            "duration": post.duration,
        }

    def v2(self, post: Post, viewer: Viewer, mode: str) -> Json:
        """The shapes of `v2=true`: `mode` is basic, extended or thumbnails."""
        if mode == "thumbnails":
            return self._thumbnail(post, viewer)
        legacy = self.legacy(post, viewer)
        relationships = legacy["relationships"]
        return {
            **_pick(legacy, "id", "created_at", "updated_at", "change_seq"),
            "files": self._files(post, viewer),
            **_pick(legacy, "uploader_id", "uploader_name", "approver_id"),
            "stats": _stats(legacy),
            "flags": legacy["flags"],
            "has": _has(legacy),
            "relationships": _pick(relationships, "parent_id", "children"),
            **_pick(legacy, "pools", "rating", "locked_tags", "sources", "description"),
            "tags": legacy["tags"] if mode == "extended" else self._known_tags(post),
        }

    def tag(self, tag: Tag) -> Json:
        """One element of /tags.json."""
        return {
            "id": tag.id,
            "name": tag.name,
            "post_count": tag.post_count,
            "related_tags": "",
            "related_tags_updated_at": site_time(tag.updated_at),
            "category": tag.category,
            "is_locked": tag.is_locked,
            "created_at": site_time(tag.created_at),
            "updated_at": site_time(tag.updated_at),
        }

    def alias(self, relation: Relation) -> Json:
        """One element of /tag_aliases.json."""
        return {
            **_relation(relation),
            "post_count": self._counts.get(relation.consequent_name, 0),
            "approver_id": None,
        }

    def implication(self, relation: Relation) -> Json:
        """One element of /tag_implications.json."""
        names = self._descendants[relation.antecedent_name]
        return {**_relation(relation), "descendant_names": names, "approver_id": None}

    def _links(self, post: Post, viewer: Viewer) -> Links:
        if not is_visible(post, viewer):
            return Links(None, None, None, None, None)
        root = f"{self._static_url}/data"
        path = f"{post.md5[:2]}/{post.md5[2:4]}/{post.md5}"
        sample_jpg: str | None = None
        sample_webp: str | None = None
        if has_sample(post):
            sample_jpg = f"{root}/sample/{path}.jpg"
            sample_webp = f"{root}/sample/{path}.webp"
        return Links(
            file=f"{root}/{path}.{post.ext}",
            preview_jpg=f"{root}/preview/{path}.jpg",
            preview_webp=f"{root}/preview/{path}.webp",
            sample_jpg=sample_jpg,
            sample_webp=sample_webp,
        )

    def _files(self, post: Post, viewer: Viewer) -> Json:
        links = self._links(post, viewer)
        files: Json = {
            "meta": _v2_meta(post),
            "original": {"width": post.width, "height": post.height, "url": links.file},
            "preview": _v2_preview(post, links),
            "sample": _v2_sample(post, links),
        }
        if post.ext in VIDEO:
            files["video"] = _alternates(post, links)
        return files

    def _thumbnail(self, post: Post, viewer: Viewer) -> Json:
        links = self._links(post, viewer)
        width, height = preview_size(post.width, post.height)
        set_flags = [name for name in THUMBNAIL_FLAGS if getattr(post, f"is_{name}")]
        return {
            "id": post.id,
            "created_at": site_time(post.created_at),
            "md5": post.md5,
            "file_ext": post.ext,
            "width": post.width,
            "height": post.height,
            "size": post.file_size,
            "preview_url": links.preview_jpg,
            "preview_webp": links.preview_webp,
            "sample_url": links.sample_jpg or links.file,
            "file_url": links.file,
            "preview_width": width,
            "preview_height": height,
            "uploader_id": post.uploader_id,
            "uploader": _user_name(post.uploader_id),
            "score": post.up_score + post.down_score,
            "fav_count": post.fav_count,
            "is_favorited": False,
            "vote": 0,
            "comment_count": post.comment_count,
            "flags": " ".join(set_flags),
            "pools": "",
            "rating": post.rating,
            "tags": " ".join(post.tags),
        }

    def _known_tags(self, post: Post) -> list[str]:
        return [tag for tag in post.tags if tag in self._category]

    def _by_category(self, post: Post) -> dict[str, list[str]]:
        """All nine categories, empty ones too.

        A tag that the tags table does not know is in none of them.
        """
        groups: dict[str, list[str]] = {category: [] for category in CATEGORIES}
        for tag in self._known_tags(post):
            groups[self._category[tag]].append(tag)
        return groups

    def _relationships(self, post: Post) -> Json:
        children = self._children.get(post.id, [])
        active = [child for child in children if not child.is_deleted]
        return {
            "parent_id": post.parent_id,
            "has_children": bool(children),
            "has_active_children": bool(active),
            "children": [child.id for child in children],
        }


def _legacy_file(post: Post, links: Links) -> Json:
    return {
        "width": post.width,
        "height": post.height,
        "ext": post.ext,
        "size": post.file_size,
        "md5": post.md5,
        "url": links.file,
    }


def _legacy_preview(post: Post, links: Links) -> Json:
    width, height = preview_size(post.width, post.height)
    return {
        "width": width,
        "height": height,
        "url": links.preview_jpg,
        "alt": links.preview_webp,
    }


def _legacy_sample(post: Post, links: Links) -> Json:
    width, height = _sample_size(post)
    return {
        "has": has_sample(post),
        "width": width,
        "height": height,
        "url": links.sample_jpg,
        "alt": links.sample_webp,
        "alternates": _alternates(post, links),
    }


def _v2_meta(post: Post) -> Json:
    return {
        "md5": post.md5,
        "ext": post.ext,
        "size": post.file_size,
        "duration": post.duration,
        "has_sample": has_sample(post),
    }


def _v2_preview(post: Post, links: Links) -> Json:
    width, height = preview_size(post.width, post.height)
    return {
        "width": width,
        "height": height,
        "jpg": links.preview_jpg,
        "webp": links.preview_webp,
    }


def _v2_sample(post: Post, links: Links) -> Json:
    """Unlike the legacy shape, names the original where there is no sample."""
    width, height = _sample_size(post)
    return {
        "width": width,
        "height": height,
        "jpg": links.sample_jpg or links.file,
        "webp": links.sample_webp or links.file,
    }


def _stats(legacy: Json) -> Json:
    return {
        **_pick(legacy, "score", "fav_count", "is_favorited", "vote", "comment_count"),
        "hotness": 0.0,
    }


def _has(legacy: Json) -> Json:
    relationships = legacy["relationships"]
    return {
        "parent": relationships["parent_id"] is not None,
        "children": relationships["has_children"],
        "active_children": relationships["has_active_children"],
        "notes": False,
        "sample": legacy["sample"]["has"],
    }


def _pick(shape: Json, *keys: str) -> Json:
    """These keys of the shape, in this order."""
    return {key: shape[key] for key in keys}


def _sample_size(post: Post) -> tuple[int, int]:
    """Returns the size of the sample; of the original where there is none."""
    if has_sample(post):
        return sample_size(post.width, post.height)
    return post.width, post.height


def _alternates(post: Post, links: Links) -> Json:
    """Empty but for videos, of which the sandbox keeps the original only."""
    if post.ext not in VIDEO:
        return {}
    original: Mapping[str, Any] = {
        "codec": VIDEO_CODECS[post.ext],
        "fps": 30.0,
        "size": post.file_size,
        "width": post.width,
        "height": post.height,
        "url": links.file,
    }
    return {"has": False, "original": original, "variants": {}, "samples": {}}


def _score(post: Post) -> Json:
    return {
        "up": post.up_score,
        "down": post.down_score,
        "total": post.up_score + post.down_score,
    }


def _flags(post: Post) -> Json:
    return {
        "pending": post.is_pending,
        "flagged": post.is_flagged,
        "note_locked": post.is_note_locked,
        "status_locked": post.is_status_locked,
        "rating_locked": post.is_rating_locked,
        "deleted": post.is_deleted,
    }


def _relation(relation: Relation) -> Json:
    return {
        "id": relation.id,
        "antecedent_name": relation.antecedent_name,
        "reason": relation.reason,
        "creator_id": relation.creator_id,
        "created_at": site_time(relation.created_at),
        "forum_post_id": None,
        "updated_at": site_time(relation.updated_at),
        "forum_topic_id": None,
        "consequent_name": relation.consequent_name,
        "status": relation.status,
    }


def _user_name(uploader_id: int) -> str:
    return f"user_{uploader_id}"
