"""The tables of data/evaluation/."""

import pyarrow as pa

from pipeline.schemas.fields import LABEL_IDS, field

PER_TAG = pa.schema(
    [
        field("label_id", pa.int32(), "vocabulary id"),
        field("name", pa.string(), "tag name"),
        field("category", pa.string(), "name of the site's category"),
        field(
            "train_positives",
            pa.int64(),
            "records with this tag in the training shards",
        ),
        field("test_positives", pa.int64(), "records with this tag in the test shards"),
        field("prevalence", pa.float64(), "share of test records with this tag"),
        field(
            "auc",
            pa.float64(),
            "area under the ROC curve; image-blind baseline 0.5",
            nullable=True,
        ),
        field(
            "average_precision",
            pa.float64(),
            "area under the precision-recall curve",
            nullable=True,
        ),
        field(
            "baseline_average_precision",
            pa.float64(),
            "of a constant score: the prevalence",
            nullable=True,
        ),
        field(
            "threshold",
            pa.float64(),
            "score from which the tag applies: best F1 on validation",
        ),
        field("f1", pa.float64(), "F1 at the threshold"),
        field("baseline_f1", pa.float64(), "F1 of saying the tag always: 2p / (1 + p)"),
        field("precision", pa.float64(), "precision at the threshold"),
        field("recall", pa.float64(), "recall at the threshold"),
        field("accuracy", pa.float64(), "accuracy at the threshold"),
        field(
            "baseline_accuracy",
            pa.float64(),
            "accuracy of never saying the tag, or always if that is better",
        ),
    ]
)
"""data/evaluation/per_tag.parquet, ordered by label_id."""

CURVES = pa.schema(
    [
        field(
            "curve",
            pa.string(),
            "roc_micro, pr_micro, roc_baseline_micro, pr_baseline_micro or calibration",
        ),
        field("x", pa.float64(), "false positive rate, recall, or mean score"),
        field(
            "y", pa.float64(), "true positive rate, precision, or share of positives"
        ),
    ]
)
"""data/evaluation/curves.parquet."""

PREDICTIONS = pa.schema(
    [
        field("post_id", pa.int64(), "id of the post"),
        field("md5", pa.string(), "MD5 of the original file"),
        field("split", pa.string(), "validation, test or fresh"),
        field("label_ids", LABEL_IDS, "labels of the record, ascending"),
        field(
            "scores",
            pa.list_(pa.field("item", pa.float32(), nullable=False)),
            "score per vocabulary id, 0 to 1",
        ),
    ]
)
"""data/evaluation/predictions.parquet, ordered by split, then post_id."""
