"""The tables of data/snapshot/."""

import pyarrow as pa

from pipeline.schemas.fields import TAG_NAMES, UTC, field

POSTS = pa.schema(
    [
        field("post_id", pa.int64(), "id of the post, unique"),
        field(
            "change_seq",
            pa.int64(),
            "the site's change counter when the post last changed",
        ),
        field("created_at", UTC, "upload time"),
        field(
            "md5",
            pa.string(),
            "MD5 of the original file, 32 lower-case hex digits; only a deleted or "
            "withheld post may lack it",
            nullable=True,
        ),
        field("ext", pa.string(), "file extension of the original"),
        field("rating", pa.string(), "s, q or e; another one is never sampled"),
        field("width", pa.int32(), "pixels of the original"),
        field("height", pa.int32(), "pixels of the original"),
        field("file_size", pa.int64(), "bytes of the original"),
        field("duration", pa.float64(), "seconds, of animated entries", nullable=True),
        field(
            "parent_id",
            pa.int64(),
            "parent post, which may be deleted or gone",
            nullable=True,
        ),
        field("is_deleted", pa.bool_(), "deleted on the site: never fetched"),
        field("is_pending", pa.bool_(), "not yet approved"),
        field("is_flagged", pa.bool_(), "flagged for deletion"),
        field(
            "is_withheld",
            pa.bool_(),
            "the API gives no address for its file, a refusal; exports have false",
        ),
        field("score", pa.int32(), "up minus down votes"),
        field("fav_count", pa.int32(), "favourites"),
        field("tags", TAG_NAMES, "tag names as the site gives them"),
        field("locked_tags", TAG_NAMES, "tags locked by moderators; may hold -tag"),
    ]
)
"""data/snapshot/posts.parquet, ordered by post_id.

Uploaders, approvers and descriptions are personal and left out."""

TAGS = pa.schema(
    [
        field("tag_id", pa.int64(), "id of the tag, unique"),
        field("name", pa.string(), "name, unique"),
        field("category", pa.int8(), "index into the site's nine categories"),
        field("post_count", pa.int64(), "the site's own count of posts, which drifts"),
    ]
)
"""data/snapshot/tags.parquet, ordered by tag_id."""

RELATIONS = pa.schema(
    [
        field("relation_id", pa.int64(), "id of the alias or implication, unique"),
        field("antecedent", pa.string(), "tag name that is replaced, or that implies"),
        field("consequent", pa.string(), "tag name it stands for, or that is implied"),
        field(
            "status",
            pa.string(),
            "active, processing and queued are in force; all others are kept for the "
            "record",
        ),
    ]
)
"""data/snapshot/aliases.parquet and implications.parquet, ordered by relation_id."""

SNAPSHOT_REJECTED = pa.schema(
    [
        field("export", pa.string(), "posts, tags, tag_aliases or tag_implications"),
        field(
            "row",
            pa.int64(),
            "number of the record in the export, from 1, the header not counted",
        ),
        field("reason", pa.string(), "what is wrong with it"),
        field("value", pa.string(), "the id and the offending value, shortened"),
    ]
)
"""data/snapshot/rejected.parquet: records of the exports that are unreadable."""

UNKNOWN_TAGS = pa.schema(
    [
        field(
            "name",
            pa.string(),
            "tag name that posts carry and tags.parquet does not list",
        ),
        field("posts", pa.int64(), "posts that carry it"),
    ]
)
"""data/snapshot/unknown_tags.parquet, ordered by name.

There are some because posts and tags are exported at different moments."""
