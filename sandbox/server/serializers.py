"""The JSON shapes of the site (contract sections 2.4, 2.5 and 3).

Key order, nesting and nulls as it sends them.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from sandbox.board.records import CATEGORIES, Board, Post, Relation, Tag
from sandbox.server.exports import Export, descendants
from sandbox.server.variants import VIDEO, has_sample, preview_size, sample_size

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks: what a post shows depends on it."""

    logged_in: bool = False
    safe_mode: bool = False


def is_visible(post: Post, viewer: Viewer) -> bool:
    """Whether the viewer is given the post's file URLs.

    The three rules of section 2.5.
    """
    if post.is_deleted or (viewer.safe_mode and post.rating != "s"):
        return False
    return viewer.logged_in or not (
        post.is_hidden_from_anonymous or (post.rating != "s" and "young" in post.tags)
    )


def site_time(moment: datetime | None) -> str | None:
    """ISO-8601 with milliseconds in the site's own zone, US Eastern."""
    if moment is None:
        return None
    # By hand, not by zoneinfo: slim machines have no time zone database. The rule holds
    # since 2007.
    standard = moment.replace(tzinfo=UTC) - timedelta(
        hours=5
    )  # what a clock there shows without summer time
    starts = _sunday(standard.year, 3, 2) + timedelta(hours=2)
    ends = _sunday(standard.year, 11, 1) + timedelta(hours=1)
    summer = starts <= standard < ends
    zone = timezone(timedelta(hours=-4 if summer else -5))
    return (
        moment.replace(tzinfo=UTC).astimezone(zone).isoformat(timespec="milliseconds")
    )


def _sunday(year: int, month: int, nth: int) -> datetime:
    first = datetime(year, month, 1, tzinfo=UTC)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (nth - 1))


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
        links, sampled = self._links(post, viewer), has_sample(post)
        preview = preview_size(post.width, post.height)
        sample = _sample_size(post)
        return {
            "id": post.id,
            "created_at": site_time(post.created_at),
            "updated_at": site_time(post.updated_at),
            "file": {
                "width": post.width,
                "height": post.height,
                "ext": post.ext,
                "size": post.file_size,
                "md5": post.md5,
                "url": links.file,
            },
            "preview": {
                "width": preview[0],
                "height": preview[1],
                "url": links.preview_jpg,
                "alt": links.preview_webp,
            },
            "sample": {
                "has": sampled,
                "width": sample[0],
                "height": sample[1],
                "url": links.sample_jpg,
                "alt": links.sample_webp,
                "alternates": _alternates(post, links),
            },
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
        return {
            **{
                key: legacy[key]
                for key in ("id", "created_at", "updated_at", "change_seq")
            },
            "files": self._files(post, viewer),
            **{
                key: legacy[key]
                for key in ("uploader_id", "uploader_name", "approver_id")
            },
            "stats": {
                "score": legacy["score"],
                **{
                    key: legacy[key]
                    for key in ("fav_count", "is_favorited", "vote", "comment_count")
                },
                "hotness": 0.0,
            },
            "flags": legacy["flags"],
            "has": {
                "parent": post.parent_id is not None,
                "children": legacy["relationships"]["has_children"],
                "active_children": legacy["relationships"]["has_active_children"],
                "notes": False,
                "sample": legacy["sample"]["has"],
            },
            "relationships": {
                key: legacy["relationships"][key] for key in ("parent_id", "children")
            },
            **{
                key: legacy[key]
                for key in ("pools", "rating", "locked_tags", "sources", "description")
            },
            "tags": legacy["tags"]
            if mode == "extended"
            else [tag for tag in post.tags if tag in self._category],
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
        root, folder = (
            f"{self._static_url}/data",
            f"{post.md5[:2]}/{post.md5[2:4]}/{post.md5}",
        )
        sample = f"{root}/sample/{folder}" if has_sample(post) else None
        return Links(
            file=f"{root}/{folder}.{post.ext}",
            preview_jpg=f"{root}/preview/{folder}.jpg",
            preview_webp=f"{root}/preview/{folder}.webp",
            sample_jpg=sample and f"{sample}.jpg",
            sample_webp=sample and f"{sample}.webp",
        )

    def _files(self, post: Post, viewer: Viewer) -> Json:
        links, sampled = self._links(post, viewer), has_sample(post)
        preview = preview_size(post.width, post.height)
        sample = _sample_size(post)
        files: Json = {
            "meta": {
                "md5": post.md5,
                "ext": post.ext,
                "size": post.file_size,
                "duration": post.duration,
                "has_sample": sampled,
            },
            "original": {"width": post.width, "height": post.height, "url": links.file},
            "preview": {
                "width": preview[0],
                "height": preview[1],
                "jpg": links.preview_jpg,
                "webp": links.preview_webp,
            },
            # Unlike the legacy shape, this one names the original where there is no
            # sample.
            "sample": {
                "width": sample[0],
                "height": sample[1],
                "jpg": links.sample_jpg or links.file,
                "webp": links.sample_webp or links.file,
            },
        }
        if post.ext in VIDEO:
            files["video"] = _alternates(post, links)
        return files

    def _thumbnail(self, post: Post, viewer: Viewer) -> Json:
        links = self._links(post, viewer)
        width, height = preview_size(post.width, post.height)
        flags = [
            name
            for name in ("deleted", "pending", "flagged")
            if getattr(post, f"is_{name}")
        ]
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
            "flags": " ".join(flags),
            "pools": "",
            "rating": post.rating,
            "tags": " ".join(post.tags),
        }

    def _by_category(self, post: Post) -> dict[str, list[str]]:
        """All nine categories, empty ones too.

        A tag that the tags table does not know is in none of them.
        """
        groups: dict[str, list[str]] = {category: [] for category in CATEGORIES}
        for tag in post.tags:
            if tag in self._category:
                groups[self._category[tag]].append(tag)
        return groups

    def _relationships(self, post: Post) -> Json:
        children = self._children.get(post.id, [])
        return {
            "parent_id": post.parent_id,
            "has_children": bool(children),
            "has_active_children": any(not child.is_deleted for child in children),
            "children": [child.id for child in children],
        }


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
        "codec": "vp9" if post.ext == "webm" else "avc1",
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
