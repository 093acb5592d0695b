"""The tables of data/manifest/."""

import pyarrow as pa

from pipeline.schemas.fields import LABEL_IDS, UTC, field

MANIFEST = pa.schema(
    [
        field("post_id", pa.int64(), "id of the post, unique over all splits"),
        field("change_seq", pa.int64(), "the version of the post that was sampled"),
        field("md5", pa.string(), "MD5 of the original file, unique over all splits"),
        field("rating", pa.string(), "s, q or e"),
        field("created_at", UTC, "upload time"),
        field(
            "group_id", pa.int64(), "family of parents and children; never spans splits"
        ),
        field(
            "split",
            pa.string(),
            "train, validation, test or fresh: the name of the file",
        ),
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
        field("pack", pa.string(), "file name of the pack that holds the image"),
        field("variant", pa.string(), "original, sample or preview"),
        field("format", pa.string(), "jpeg, png or webp"),
        field("width", pa.int32(), "pixels of the stored image"),
        field("height", pa.int32(), "pixels of the stored image"),
        field("bytes", pa.int64(), "size of the stored image"),
        field(
            "phash",
            pa.uint64(),
            "perceptual hash: DCT of the 32 x 32 grey image, 64 bits",
        ),
    ]
)
"""data/manifest/{train,validation,test,fresh}.parquet, ordered by post_id."""

REJECTED = pa.schema(
    [
        field("post_id", pa.int64(), "id of the post"),
        field("md5", pa.string(), "MD5 of the original file"),
        field("split", pa.string(), "the split it would have been in"),
        field("reason", pa.string(), "a value of DownloadFailure or RecordRejection"),
        field(
            "detail",
            pa.string(),
            "what was seen, such as the post it duplicates",
            nullable=True,
        ),
    ]
)
"""data/manifest/rejected.parquet and data/shards/rejected.parquet, by post_id."""

OVERLAY = pa.schema(
    [
        field("row", pa.int64(), "line of data/overlay.csv, the header being 1"),
        field("post_id", pa.int64(), "id of the post, if it is one", nullable=True),
        field("tag", pa.string(), "tag name as written"),
        field("action", pa.string(), "add or remove, as written"),
        field("outcome", pa.string(), "a value of OverlayOutcome"),
        field(
            "label_id",
            pa.int32(),
            "vocabulary id of the tag, aliases resolved; null where the row was "
            "refused before, or the tag has none",
            nullable=True,
        ),
        field(
            "detail",
            pa.string(),
            "what was seen, such as the tag that implies it",
            nullable=True,
        ),
    ]
)
"""data/manifest/overlay.parquet: a row per row of data/overlay.csv, in its order."""

LEAKAGE = pa.schema(
    [
        field(
            "distance",
            pa.int8(),
            "bits in which two perceptual hashes differ, 0 to 64, unique",
        ),
        field(
            "nearest",
            pa.int64(),
            "test images whose nearest training image is that far",
        ),
        field(
            "random",
            pa.int64(),
            "test images that are that far from a training image drawn at random",
        ),
    ]
)
"""data/manifest/leakage.parquet, ordered by distance.

Of at most 2,000 test images."""
