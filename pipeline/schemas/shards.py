"""The tables of data/shards/."""

import pyarrow as pa

from pipeline.schemas.fields import field

SHARDS = pa.schema(
    [
        field("shard", pa.string(), "file name, such as train-00012-of-00064.tfrecord"),
        field("split", pa.string(), "train, validation, test or fresh"),
        field("records", pa.int64(), "number of tf.train.Examples"),
        field("bytes", pa.int64(), "size of the file"),
        field("sha256", pa.string(), "of the file, 64 lower-case hex digits"),
        field(
            "label_counts",
            pa.list_(pa.field("item", pa.int64(), nullable=False)),
            "positives per vocabulary id",
        ),
    ]
)
"""data/shards/index.parquet, ordered by shard."""
