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
            "score from which the tag applies: best F1 on validation, drawn towards "
            "the best one of all tags",
        ),
        field(
            "f1",
            pa.float64(),
            "F1 at the threshold; null where no test image has the tag",
            nullable=True,
        ),
        field(
            "baseline_f1",
            pa.float64(),
            "F1 of always predicting the tag: 2p / (1 + p)",
            nullable=True,
        ),
        field(
            "precision",
            pa.float64(),
            "precision at the threshold; null where the tag is never predicted",
            nullable=True,
        ),
        field(
            "recall",
            pa.float64(),
            "recall at the threshold; null where no test image has the tag",
            nullable=True,
        ),
        field("accuracy", pa.float64(), "accuracy at the threshold"),
        field(
            "baseline_accuracy",
            pa.float64(),
            "accuracy of never predicting the tag, or always if that is better",
        ),
        field(
            "calibration_error",
            pa.float64(),
            "expected calibration error of the tag's scores; null without test images",
            nullable=True,
        ),
        field(
            "mean_uncertainty",
            pa.float64(),
            "mean standard deviation of the network's logit on test; null where the "
            "model has no label noise",
            nullable=True,
        ),
        field(
            "confused_with",
            pa.list_(pa.field("item", pa.string(), nullable=False)),
            "up to 3 tags that are predicted wrongly where this one is missed, most "
            "often first, beyond what chance gives",
        ),
    ]
)
"""data/evaluation/per_tag.parquet, ordered by label_id."""

SLICES = pa.schema(
    [
        field("split", pa.string(), "test or fresh"),
        field(
            "slice",
            pa.string(),
            "what the parts differ in: tag_frequency, category (of tags), rating, "
            "year, aspect_ratio, size, near_black (of images)",
        ),
        field("value", pa.string(), "name of the part, for people"),
        field("position", pa.int32(), "order of the part within its slice, from 0"),
        field("records", pa.int64(), "images of the part"),
        field("tags", pa.int32(), "tags of the part that can be ranked on its images"),
        field("positives", pa.int64(), "pairs of image and tag that are true"),
        field("macro_map", pa.float64(), "macro mAP of the part", nullable=True),
        field(
            "macro_map_baseline",
            pa.float64(),
            "macro mAP of a model that scores all images alike",
            nullable=True,
        ),
        field(
            "macro_map_low",
            pa.float64(),
            "lower end of the 95 % interval over images",
            nullable=True,
        ),
        field("macro_map_high", pa.float64(), "its upper end", nullable=True),
        field("macro_auc", pa.float64(), "macro AUC of the part", nullable=True),
        field("micro_f1", pa.float64(), "micro F1 at the thresholds", nullable=True),
        field(
            "micro_f1_baseline",
            pa.float64(),
            "micro F1 of the same commonest tags for every image",
            nullable=True,
        ),
        field(
            "absent", pa.string(), "why there is no ranking, for people", nullable=True
        ),
    ]
)
"""data/evaluation/slices.parquet, ordered by split (test first), slice, position."""

CURVES = pa.schema(
    [
        field(
            "curve",
            pa.string(),
            "roc_micro, pr_micro, roc_baseline_micro, pr_baseline_micro, calibration "
            "or calibration_before (of the scores as the network gives them)",
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
            "calibrated score per vocabulary id, 0 to 1",
        ),
        field(
            "uncertainty",
            pa.list_(pa.field("item", pa.float32(), nullable=False)),
            "standard deviation of the network's logit, before calibration, per "
            "vocabulary id; null where the model has no label noise",
            nullable=True,
        ),
    ]
)
"""data/evaluation/predictions.parquet, ordered by split, then post_id."""
