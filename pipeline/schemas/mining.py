"""The tables of data/mining/."""

from typing import Literal, get_args

import pyarrow as pa

from pipeline.schemas.fields import field

ProposalKind = Literal["missing", "wrong", "rare"]
PROPOSAL_KINDS: tuple[str, ...] = get_args(ProposalKind)
"""missing: a label to add; wrong: one to remove; rare: a tag that is not learnt, to
add."""

PROPOSALS = pa.schema(
    [
        field("post_id", pa.int64(), "id of the post"),
        field("md5", pa.string(), "MD5 of the original file"),
        field("split", pa.string(), "split of its record"),
        field("tag", pa.string(), "tag name, once per post"),
        field(
            "label_id",
            pa.int32(),
            "vocabulary id; null: a tag outside the vocabulary",
            nullable=True,
        ),
        field("kind", pa.string(), "missing, wrong or rare"),
        field(
            "probability",
            pa.float64(),
            "that the tag is true of the image though the post lacks it (missing, "
            "rare), or untrue though the post has it (wrong)",
        ),
        field(
            "score",
            pa.float64(),
            "of the network, which has seen the labels of training records; null: a "
            "tag outside the vocabulary",
            nullable=True,
        ),
        field(
            "uncertainty",
            pa.float64(),
            "standard deviation of the network's logit; null where it has none",
            nullable=True,
        ),
        field(
            "lift",
            pa.float64(),
            "the highest lift of the tag with another label of the post: how many "
            "times as often as by chance both are together; null: none together often "
            "enough",
            nullable=True,
        ),
        field(
            "url",
            pa.string(),
            "page of the post; null where the site is on this machine",
            nullable=True,
        ),
    ]
)
"""data/mining/proposals.parquet, ordered by probability (highest first), post_id, tag.

data/mining/proposals.csv has the same rows, and the column `action`: add or remove, as
data/overlay.csv has it."""

LABEL_NOISE = pa.schema(
    [
        field("label_id", pa.int32(), "vocabulary id"),
        field("name", pa.string(), "tag name"),
        field("positives", pa.int64(), "records with the label, of all splits"),
        field(
            "missing_share",
            pa.float64(),
            "of the records that the tag is true of, the share that lack the label",
            nullable=True,
        ),
        field(
            "missing_low",
            pa.float64(),
            "lower end of its 95 % interval",
            nullable=True,
        ),
        field(
            "missing_high",
            pa.float64(),
            "upper end of its 95 % interval",
            nullable=True,
        ),
        field(
            "wrong_share",
            pa.float64(),
            "of the records with the label, the share that the tag is untrue of",
            nullable=True,
        ),
        field(
            "absent",
            pa.string(),
            "why there is no estimate; null where there is one",
            nullable=True,
        ),
    ]
)
"""data/mining/label_noise.parquet, ordered by label_id: estimates, not counts."""
