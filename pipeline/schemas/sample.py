"""The tables of data/sample/."""

import pyarrow as pa

from pipeline.schemas.fields import LABEL_IDS, UTC, field

VOCABULARY = pa.schema(
    [
        field("label_id", pa.int32(), "0 to n-1 without gaps, the row number"),
        field("tag_id", pa.int64(), "id of the tag on the site"),
        field("name", pa.string(), "tag name, unique"),
        field("category", pa.string(), "name of the site's category"),
        field(
            "snapshot_posts",
            pa.int64(),
            "posts of the snapshot with this tag, after closure, whatever became of "
            "them",
        ),
        field("candidate_posts", pa.int64(), "those of them that may be sampled"),
        field(
            "train_positives",
            pa.int32(),
            "sampled posts with this tag in the training split",
        ),
        field(
            "validation_positives",
            pa.int32(),
            "sampled posts with this tag in the validation split",
        ),
        field(
            "test_positives",
            pa.int32(),
            "sampled posts with this tag in the test split",
        ),
    ]
)
"""data/sample/vocabulary.parquet, ordered by candidate_posts (most first), name."""

EXCLUDED_TAGS = pa.schema(
    [
        field("name", pa.string(), "tag name"),
        field("category", pa.string(), "name of the site's category"),
        field(
            "snapshot_posts",
            pa.int64(),
            "posts of the snapshot with this tag, after closure, whatever became of "
            "them",
        ),
        field("candidate_posts", pa.int64(), "those of them that may be sampled"),
        field("train_posts", pa.int64(), "those of them in the training split"),
        field("validation_posts", pa.int64(), "those of them in the validation split"),
        field("test_posts", pa.int64(), "those of them in the test split"),
        field("reason", pa.string(), "a value of TagExclusion"),
    ]
)
"""data/sample/excluded_tags.parquet, ordered by candidate_posts (most first), name."""

SAMPLED_POSTS = pa.schema(
    [
        field("post_id", pa.int64(), "id of the post, unique"),
        field("change_seq", pa.int64(), "the version of the post that was sampled"),
        field("md5", pa.string(), "MD5 of the original file, 32 lower-case hex digits"),
        field("ext", pa.string(), "file extension of the original"),
        field("rating", pa.string(), "s, q or e"),
        field("width", pa.int32(), "pixels of the original"),
        field("height", pa.int32(), "pixels of the original"),
        field("file_size", pa.int64(), "bytes of the original"),
        field("created_at", UTC, "upload time"),
        field(
            "group_id",
            pa.int64(),
            "smallest post id of its family of parents and children; never spans "
            "splits",
        ),
        field("split", pa.string(), "train, validation, test or fresh"),
        field(
            "label_ids",
            LABEL_IDS,
            "vocabulary ids after alias resolution and implication closure, ascending",
        ),
        field(
            "explicit_label_ids",
            LABEL_IDS,
            "vocabulary ids as given: aliases resolved, nothing implied, ascending",
        ),
        field(
            "tag_count",
            pa.int32(),
            "tags of all categories on the post, after closure",
        ),
        field(
            "selected_for",
            pa.int32(),
            "vocabulary id it was chosen for; null: as fill or fresh",
            nullable=True,
        ),
    ]
)
"""data/sample/posts.parquet, ordered by post_id."""

EXCLUDED_POSTS = pa.schema(
    [
        field("post_id", pa.int64(), "id of the post"),
        field("reason", pa.string(), "a value of PostExclusion"),
        field(
            "group_id",
            pa.int64(),
            "its family, where the reason is spans_splits",
            nullable=True,
        ),
    ]
)
"""data/sample/excluded_posts.parquet, ordered by post_id.

Posts of the snapshot that are not candidates."""

STRATEGIES = pa.schema(
    [
        field(
            "strategy",
            pa.string(),
            "cover, quota, natural: for the tags' needs; sample: as written; "
            "all_candidates: every candidate",
        ),
        field("is_chosen", pa.bool_(), "sample.strategy, and what was written by it"),
        field("posts", pa.int64(), "posts of train, validation and test"),
        field("hours", pa.float64(), "of download at one request a second"),
        field(
            "min_positives_reached",
            pa.int64(),
            "training positives of the tag that has fewest",
        ),
        field(
            "median_positives",
            pa.float64(),
            "training positives of the tag in the middle",
        ),
        field(
            "tags_below_target",
            pa.int64(),
            "tags that miss their positives in some split, of those the candidates "
            "could give",
        ),
        field(
            "mean_tags",
            pa.float64(),
            "tags of all categories on a post, after closure, in the mean",
        ),
        field(
            "total_variation",
            pa.float64(),
            "half the summed difference of the tags' shares in all labels: 0 to 1",
        ),
    ]
)
"""data/sample/strategies.parquet.

What each strategy would select, from the same candidates."""

MISSING_IMPLICATIONS = pa.schema(
    [
        field(
            "antecedent", pa.string(), "tag that implies, in force, aliases resolved"
        ),
        field("consequent", pa.string(), "tag that it implies in one step"),
        field("posts", pa.int64(), "posts looked at that were given the antecedent"),
        field(
            "lacking",
            pa.int64(),
            "those of them that were not given the consequent: closure adds it",
        ),
        field("share", pa.float64(), "lacking over posts"),
    ]
)
"""data/sample/missing_implications.parquet, ordered by lacking (most first).

Implied tags that are missing in the source, counted over about a million posts that
neither the policy nor their own columns exclude; of a smaller board, over all."""

ALIASES_IN_USE = pa.schema(
    [
        field("name", pa.string(), "aliased name that posts still carry"),
        field("stands_for", pa.string(), "the tag that it counts for"),
        field("posts", pa.int64(), "posts looked at that carry it"),
        field(
            "is_known",
            pa.bool_(),
            "tags.parquet has the tag it stands for; else its posts lose it",
        ),
    ]
)
"""data/sample/aliases_in_use.parquet, ordered by posts (most first).

Counted over the same posts as MISSING_IMPLICATIONS."""

CO_OCCURRENCE = pa.schema(
    [
        field("first", pa.string(), "tag of the vocabulary"),
        field("second", pa.string(), "another, rarer one"),
        field(
            "posts", pa.int64(), "posts with both, of up to 50,000 candidates looked at"
        ),
        field("expected", pa.float64(), "what chance would lead to"),
        field("lift", pa.float64(), "posts over expected"),
        field("is_implied", pa.bool_(), "one implies the other"),
    ]
)
"""data/sample/co_occurrence.parquet, ordered by lift (highest first).

The 200 highest and the 200 lowest."""

ANOMALIES = pa.schema(
    [
        field("kind", pa.string(), "a value of Anomaly"),
        field("subject", pa.string(), "tag name or post id"),
        field("detail", pa.string(), "what was seen"),
    ]
)
"""data/sample/anomalies.parquet, ordered by kind, then subject.

What is wrong with the snapshot."""
