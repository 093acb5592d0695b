"""What the schemas share: a field with its description, and common types."""

import pyarrow as pa


def field(
    name: str, kind: pa.DataType, doc: str, *, nullable: bool = False
) -> pa.Field:
    """Returns a field whose metadata holds its description."""
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


UTC = pa.timestamp("us", tz="UTC")
"""A moment, in microseconds."""

LABEL_IDS = pa.list_(pa.field("item", pa.int32(), nullable=False))
"""Ids into the vocabulary."""

TAG_NAMES = pa.list_(pa.field("item", pa.string(), nullable=False))
"""Names of tags."""
