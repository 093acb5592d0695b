"""The tables of data/images/."""

import pyarrow as pa

from pipeline.schemas.fields import field

PACK = pa.schema(
    [
        field("md5", pa.string(), "MD5 of the original file: the image's identity"),
        field(
            "post_id",
            pa.int64(),
            "the post it was fetched for, the smallest id where several hold it",
        ),
        field("variant", pa.string(), "what was fetched: original, sample or preview"),
        field("bytes", pa.large_binary(), "the file as it was served"),
        field("format", pa.string(), "jpeg, png or webp, read from the bytes"),
        field("width", pa.int32(), "pixels of these bytes"),
        field("height", pa.int32(), "pixels of these bytes"),
    ]
)
"""data/images/pack-*.parquet, ordered by md5."""

OUTCOMES = pa.schema(
    [
        field(
            "md5",
            pa.string(),
            "MD5 of the original file: the image's identity, unique",
        ),
        field(
            "variant", pa.string(), "what was asked for: original, sample or preview"
        ),
        field("outcome", pa.string(), "kept, or a value of DownloadFailure"),
        field(
            "pack", pa.string(), "file name of the pack that holds it", nullable=True
        ),
        field(
            "detail",
            pa.string(),
            "details, where the outcome is not enough",
            nullable=True,
        ),
    ]
)
"""data/images/outcomes.parquet, ordered by md5: a row per image of the sample."""

TAKEDOWNS = pa.schema(
    [
        field(
            "md5",
            pa.string(),
            "MD5 of the original file of an image that was removed, unique",
        ),
        field("post_id", pa.int64(), "the post it was fetched for"),
        field(
            "reason",
            pa.string(),
            "a value of Takedown, or the rule that forbids it now: a value of "
            "PostExclusion",
        ),
        field(
            "snapshot",
            pa.string(),
            "moment of the first snapshot that forbids it, as in the pin",
        ),
    ]
)
"""data/images/takedowns.parquet, ordered by md5.

Images that a refresh removed, as long as they stay forbidden."""
