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
            "given_ids",
            LABEL_IDS,
            "vocabulary ids as given: aliases resolved, nothing implied, ascending",
        ),
        field("pack", pa.string(), "file name of the pack that holds the picture"),
        field("variant", pa.string(), "original, sample or preview"),
        field("format", pa.string(), "jpeg, png or webp"),
        field("width", pa.int32(), "pixels of the stored picture"),
        field("height", pa.int32(), "pixels of the stored picture"),
        field("bytes", pa.int64(), "size of the stored picture"),
        field(
            "phash",
            pa.uint64(),
            "perceptual hash: DCT of the 32 x 32 grey picture, 64 bits",
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
            "test pictures whose nearest training picture is that far",
        ),
        field(
            "random",
            pa.int64(),
            "test pictures that are that far from a training picture drawn at random",
        ),
    ]
)
"""data/manifest/leakage.parquet, ordered by distance.

Of at most 2,000 test images."""
