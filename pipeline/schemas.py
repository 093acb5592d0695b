"""Every Parquet dataset, declared once: a pyarrow schema with a sentence per column.

Writers cast to these (`pipeline.parquet.write`), gates and docs are generated from them, readers may rely on them.
Identity: a post is `(post_id, change_seq)`, a picture is its `md5`. After `sample`, labels are ids into the vocabulary.
"""

from enum import StrEnum

import pyarrow as pa


class DownloadFailure(StrEnum):
    """Why a picture that was wanted is not there."""

    NOT_FOUND = "not_found"  # 404 or 410: the site does not have it
    FORBIDDEN = "forbidden"  # 401 or 403 for this one picture
    MD5_MISMATCH = "md5_mismatch"  # the bytes are another file than the export says
    NOT_A_PICTURE = "not_a_picture"  # HTML or another type where a picture was expected
    UNSUPPORTED_FORMAT = "unsupported_format"  # a picture, but not jpg, png or webp
    TRUNCATED = "truncated"  # the bytes end too soon, after all retries
    BROKEN_PICTURE = "broken_picture"  # cannot be decoded
    DECOMPRESSION_BOMB = "decompression_bomb"  # more pixels than download.max_pixels
    TOO_LARGE = "too_large"  # more bytes than download.max_bytes; an original that is listed so is not asked for
    WRONG_DIMENSIONS = (
        "wrong_dimensions"  # not the size that the export's width and height lead to
    )
    REDIRECTED = (
        "redirected"  # the answer points to another place, which is never followed
    )
    UNAVAILABLE = "unavailable"  # only temporary errors, after all retries; asked for again by the next run


class RecordRejection(StrEnum):
    """Why a sampled post is not in the manifest or the shards, besides the reasons of Refusal."""

    NEAR_DUPLICATE = "near_duplicate"  # an evaluation picture that looks like one of an earlier split
    SAME_PICTURE = "same_picture"  # another post of the sample holds the same md5


class TagExclusion(StrEnum):
    """Why a tag of the wanted categories is not in the vocabulary."""

    ALIASED = (
        "aliased"  # only another spelling: its posts count for the tag it stands for
    )
    EXCLUDED = "excluded"  # sample.exclude_tags
    POLICY = "policy"  # a name the policy refuses to select posts by
    FILE_DERIVED = "file_derived"  # says something about the file, not about the picture (contract section 6)
    TOO_FEW_POSITIVES = (
        "too_few_positives"  # fewer than min_positives among the training posts
    )
    TOO_FEW_EVALUATION_POSITIVES = "too_few_evaluation_positives"  # fewer than min_eval_positives in validation or test
    INVALID = "invalid"  # of the site's category for tags that are not to be used
    TWO_CATEGORIES = (
        "two_categories"  # the snapshot has the name twice, in different categories
    )
    NOT_LISTED = "not_listed"  # not in sample.tags_file
    OTHER_CATEGORY = (
        "other_category"  # in sample.tags_file, but of none of sample.categories
    )
    UNKNOWN = "unknown"  # in sample.tags_file, but the snapshot has no such tag
    PATTERN = "pattern"  # sample.exclude_patterns
    BEYOND_VOCABULARY_SIZE = (
        "beyond_vocabulary_size"  # rarer than the tags that were taken
    )


class PostExclusion(StrEnum):
    """Why a post of the snapshot is not a candidate. The first that holds is given, in this order."""

    DELETED = "deleted"  # deleted on the site (policy rule 1)
    WITHHELD = "withheld"  # the API gave no address for its file (rule 4)
    FORBIDDEN_YOUNG = "forbidden_young"  # rated q or e and tagged young, or a tag that implies it (rule 2)
    OPTED_OUT = "opted_out"  # the artist opted out (rule 3)
    NOT_STILL = "not_still"  # animation, video or flash (rule 5)
    RATING = "rating"  # not one of sample.ratings
    BEFORE_SINCE = "before_since"  # uploaded before harvest.since
    EXCLUDED_TAG = (
        "excluded_tag"  # has one of sample.exclude_tags, or a tag that implies it
    )
    TOO_FEW_TAGS = "too_few_tags"  # fewer than sample.min_tags
    SPANS_SPLITS = "spans_splits"  # the oldest post of its family (or another of its artists) belongs to another split


class Anomaly(StrEnum):
    """What is wrong with a snapshot and was worked around."""

    ALIAS_CYCLE = "alias_cycle"  # aliases that lead back to the name: it stands for the last name before that
    ALIAS_OF_TWO = (
        "alias_of_two"  # a name with two aliases in force: the later one holds
    )
    ALIAS_TO_NOTHING = "alias_to_nothing"  # an alias of a name that tags.parquet does not have: its posts lose the tag
    IMPLICATION_CYCLE = (
        "implication_cycle"  # tags that imply each other: each brings all of them
    )
    TWO_CATEGORIES = "two_categories"  # a name in two categories: not in the vocabulary; posts keep the older one
    MISSING_PARENT = "missing_parent"  # a parent that is not in the snapshot: it links its children all the same
    PARENT_CYCLE = "parent_cycle"  # a post that is its own ancestor: all of the cycle are one family


class Takedown(StrEnum):
    """Why a picture that was here had to go, besides the rules' values of Dropped."""

    REPLACED = "replaced"  # the post now holds another file
    EXPUNGED = "expunged"  # the post is gone from the site
    NOT_LISTED = "not_listed"  # the search no longer finds the post: deleted, expunged, or harvest.query does not match


def _field(
    name: str, kind: pa.DataType, doc: str, *, nullable: bool = False
) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


_UTC = pa.timestamp("us", tz="UTC")
_IDS = pa.list_(pa.field("item", pa.int32(), nullable=False))
_NAMES = pa.list_(pa.field("item", pa.string(), nullable=False))

POSTS = pa.schema([
    _field("post_id", pa.int64(), "id of the post, unique"),
    _field("change_seq", pa.int64(), "the site's change counter when the post last changed"),
    _field("created_at", _UTC, "upload time"),
    _field("md5", pa.string(), "MD5 of the original file, 32 lower-case hex digits"),
    _field("ext", pa.string(), "file extension of the original"),
    _field("rating", pa.string(), "s, q or e"),
    _field("width", pa.int32(), "pixels of the original"),
    _field("height", pa.int32(), "pixels of the original"),
    _field("file_size", pa.int64(), "bytes of the original"),
    _field("duration", pa.float64(), "seconds, of animated entries", nullable=True),
    _field("parent_id", pa.int64(), "parent post, which may be deleted or gone", nullable=True),
    _field("is_deleted", pa.bool_(), "deleted on the site: never fetched"),
    _field("is_pending", pa.bool_(), "not yet approved"),
    _field("is_flagged", pa.bool_(), "flagged for deletion"),
    _field("is_withheld", pa.bool_(), "the API gives no address for its file, a refusal; exports have false"),
    _field("score", pa.int32(), "up minus down votes"),
    _field("fav_count", pa.int32(), "favourites"),
    _field("tags", _NAMES, "tag names as the site gives them"),
    _field("locked_tags", _NAMES, "tags locked by moderators; may hold -tag"),
])  # fmt: skip
"""data/snapshot/posts.parquet, ordered by post_id. Uploaders, approvers and descriptions are personal and left out."""

TAGS = pa.schema([
    _field("tag_id", pa.int64(), "id of the tag, unique"),
    _field("name", pa.string(), "name, unique"),
    _field("category", pa.int8(), "index into the site's nine categories"),
    _field("post_count", pa.int64(), "the site's own count of posts, which drifts"),
])  # fmt: skip
"""data/snapshot/tags.parquet, ordered by tag_id."""

RELATIONS = pa.schema([
    _field("relation_id", pa.int64(), "id of the alias or implication, unique"),
    _field("antecedent", pa.string(), "tag name that is replaced, or that implies"),
    _field("consequent", pa.string(), "tag name it stands for, or that is implied"),
    _field("status", pa.string(), "active, processing and queued are in force; all others are kept for the record"),
])  # fmt: skip
"""data/snapshot/aliases.parquet and implications.parquet, ordered by relation_id."""

SNAPSHOT_REJECTED = pa.schema([
    _field("export", pa.string(), "posts, tags, tag_aliases or tag_implications"),
    _field("row", pa.int64(), "number of the record in the export, from 1, the header not counted"),
    _field("reason", pa.string(), "what is wrong with it"),
    _field("value", pa.string(), "the id and the offending value, shortened"),
])  # fmt: skip
"""data/snapshot/rejected.parquet: records of the exports that could not be read."""

UNKNOWN_TAGS = pa.schema([
    _field("name", pa.string(), "tag name that posts carry and tags.parquet does not list"),
    _field("posts", pa.int64(), "posts that carry it"),
])  # fmt: skip
"""data/snapshot/unknown_tags.parquet, ordered by name: posts and tags are different moments of the site."""

VOCABULARY = pa.schema([
    _field("label_id", pa.int32(), "0 to n-1 without gaps, the row number"),
    _field("tag_id", pa.int64(), "id of the tag on the site"),
    _field("name", pa.string(), "tag name, unique"),
    _field("category", pa.string(), "name of the site's category"),
    _field("snapshot_posts", pa.int64(), "posts of the snapshot with this tag, after closure, whatever became of them"),
    _field("candidate_posts", pa.int64(), "those of them that may be sampled"),
    _field("train_positives", pa.int32(), "sampled posts with this tag in the training split"),
    _field("validation_positives", pa.int32(), "sampled posts with this tag in the validation split"),
    _field("test_positives", pa.int32(), "sampled posts with this tag in the test split"),
])  # fmt: skip
"""data/sample/vocabulary.parquet, ordered by candidate_posts (most first), then name."""

LEFT_OUT = pa.schema([
    _field("name", pa.string(), "tag name"),
    _field("category", pa.string(), "name of the site's category"),
    _field("snapshot_posts", pa.int64(), "posts of the snapshot with this tag, after closure, whatever became of them"),
    _field("candidate_posts", pa.int64(), "those of them that may be sampled"),
    _field("train_posts", pa.int64(), "those of them in the training split"),
    _field("validation_posts", pa.int64(), "those of them in the validation split"),
    _field("test_posts", pa.int64(), "those of them in the test split"),
    _field("reason", pa.string(), "a value of LeftOut"),
])  # fmt: skip
"""data/sample/left_out.parquet, ordered by candidate_posts (most first), then name."""

SAMPLED_POSTS = pa.schema([
    _field("post_id", pa.int64(), "id of the post, unique"),
    _field("change_seq", pa.int64(), "the version of the post that was sampled"),
    _field("md5", pa.string(), "MD5 of the original file, 32 lower-case hex digits"),
    _field("ext", pa.string(), "file extension of the original"),
    _field("rating", pa.string(), "s, q or e"),
    _field("width", pa.int32(), "pixels of the original"),
    _field("height", pa.int32(), "pixels of the original"),
    _field("file_size", pa.int64(), "bytes of the original"),
    _field("created_at", _UTC, "upload time"),
    _field("group_id", pa.int64(), "smallest post id of its family of parents and children; never spans splits"),
    _field("split", pa.string(), "train, validation, test or fresh"),
    _field("label_ids", _IDS, "vocabulary ids after alias resolution and implication closure, ascending"),
    _field("given_ids", _IDS, "vocabulary ids as given: aliases resolved, nothing implied, ascending"),
    _field("candidate_tags", pa.int32(), "tags of all categories on the post, after closure"),
    _field("taken_for", pa.int32(), "vocabulary id it was chosen for; null: as fill or fresh", nullable=True),
])  # fmt: skip
"""data/sample/posts.parquet, ordered by post_id."""

DROPPED = pa.schema([
    _field("post_id", pa.int64(), "id of the post"),
    _field("reason", pa.string(), "a value of Dropped"),
    _field("group_id", pa.int64(), "its family, where the reason is spans_splits", nullable=True),
])  # fmt: skip
"""data/sample/dropped.parquet: posts of the snapshot that are not candidates, ordered by post_id."""

STRATEGIES = pa.schema([
    _field("strategy", pa.string(), "cover, quota, natural: for the tags' needs; sample: as written; board: all"),
    _field("is_chosen", pa.bool_(), "sample.strategy, and what was written by it"),
    _field("posts", pa.int64(), "posts of train, validation and test"),
    _field("hours", pa.float64(), "of download at one request a second"),
    _field("least_positives", pa.int64(), "training positives of the tag that has fewest"),
    _field("median_positives", pa.float64(), "training positives of the tag in the middle"),
    _field("short_tags", pa.int64(), "tags that miss their positives in some split, of those the board could give"),
    _field("mean_tags", pa.float64(), "tags of all categories on a post, after closure, in the mean"),
    _field("total_variation", pa.float64(), "half the summed difference of the tags' shares in all labels: 0 to 1"),
])  # fmt: skip
"""data/sample/strategies.parquet: what each strategy would take, from the same candidates."""

LACKING_IMPLIED = pa.schema([
    _field("antecedent", pa.string(), "tag that implies, in force, aliases resolved"),
    _field("consequent", pa.string(), "tag that it implies in one step"),
    _field("posts", pa.int64(), "posts looked at that were given the antecedent"),
    _field("lacking", pa.int64(), "those of them that were not given the consequent: closure adds it"),
    _field("share", pa.float64(), "lacking over posts"),
])  # fmt: skip
"""data/sample/lacking_implied.parquet, ordered by lacking (most first): implied tags missing in the source.

Looked at are posts that neither the policy nor their own columns drop, a million or more of them."""

ALIASED_SPELLINGS = pa.schema([
    _field("name", pa.string(), "aliased name that posts still carry"),
    _field("stands_for", pa.string(), "the tag that it counts for"),
    _field("posts", pa.int64(), "posts looked at that carry it"),
    _field("is_known", pa.bool_(), "tags.parquet has the tag it stands for; else its posts lose it"),
])  # fmt: skip
"""data/sample/aliased_spellings.parquet, ordered by posts (most first). Looked at are those of LACKING_IMPLIED."""

CO_OCCURRENCE = pa.schema([
    _field("first", pa.string(), "tag of the vocabulary"),
    _field("second", pa.string(), "another, rarer one"),
    _field("posts", pa.int64(), "posts with both, of up to 50,000 candidates looked at"),
    _field("expected", pa.float64(), "what chance would lead to"),
    _field("lift", pa.float64(), "posts over expected"),
    _field("is_implied", pa.bool_(), "one implies the other"),
])  # fmt: skip
"""data/sample/co_occurrence.parquet, ordered by lift (highest first): the 200 highest and the 200 lowest."""

ODDITIES = pa.schema([
    _field("kind", pa.string(), "a value of Oddity"),
    _field("subject", pa.string(), "tag name or post id"),
    _field("detail", pa.string(), "what was seen"),
])  # fmt: skip
"""data/sample/oddities.parquet, ordered by kind, then subject: what was wrong with the snapshot."""

PACK = pa.schema([
    _field("md5", pa.string(), "MD5 of the original file: the picture's identity"),
    _field("post_id", pa.int64(), "the post it was fetched for, the smallest id where several hold it"),
    _field("variant", pa.string(), "what was fetched: original, sample or preview"),
    _field("bytes", pa.large_binary(), "the file as it was served"),
    _field("format", pa.string(), "jpeg, png or webp, read from the bytes"),
    _field("width", pa.int32(), "pixels of these bytes"),
    _field("height", pa.int32(), "pixels of these bytes"),
])  # fmt: skip
"""data/images/pack-*.parquet, ordered by md5."""

OUTCOMES = pa.schema([
    _field("md5", pa.string(), "MD5 of the original file: the picture's identity, unique"),
    _field("variant", pa.string(), "what was asked for: original, sample or preview"),
    _field("outcome", pa.string(), "kept, or a value of Refusal"),
    _field("pack", pa.string(), "file name of the pack that holds it", nullable=True),
    _field("detail", pa.string(), "what was seen, where the outcome alone does not tell", nullable=True),
])  # fmt: skip
"""data/images/outcomes.parquet: one row per picture wanted, ordered by md5."""

TAKEDOWNS = pa.schema([
    _field("md5", pa.string(), "MD5 of the original file of a picture that was here and left, unique"),
    _field("post_id", pa.int64(), "the post it was fetched for"),
    _field("reason", pa.string(), "a value of Takedown, or the rule that forbids it now: a value of Dropped"),
    _field("snapshot", pa.string(), "when the snapshot was made that no longer permits it, as the pin has it"),
])  # fmt: skip
"""data/images/takedowns.parquet, ordered by md5: pictures that a refresh removed, as long as they stay forbidden."""

MANIFEST = pa.schema([
    _field("post_id", pa.int64(), "id of the post, unique over all splits"),
    _field("change_seq", pa.int64(), "the version of the post that was sampled"),
    _field("md5", pa.string(), "MD5 of the original file, unique over all splits"),
    _field("rating", pa.string(), "s, q or e"),
    _field("created_at", _UTC, "upload time"),
    _field("group_id", pa.int64(), "family of parents and children; never spans splits"),
    _field("split", pa.string(), "train, validation, test or fresh: the name of the file"),
    _field("label_ids", _IDS, "vocabulary ids after alias resolution and implication closure, ascending"),
    _field("given_ids", _IDS, "vocabulary ids as given: aliases resolved, nothing implied, ascending"),
    _field("pack", pa.string(), "file name of the pack that holds the picture"),
    _field("variant", pa.string(), "original, sample or preview"),
    _field("format", pa.string(), "jpeg, png or webp"),
    _field("width", pa.int32(), "pixels of the stored picture"),
    _field("height", pa.int32(), "pixels of the stored picture"),
    _field("bytes", pa.int64(), "size of the stored picture"),
    _field("phash", pa.uint64(), "perceptual hash: DCT of the 32 x 32 grey picture, 64 bits"),
])  # fmt: skip
"""data/manifest/{train,validation,test,fresh}.parquet, ordered by post_id."""

REJECTED = pa.schema([
    _field("post_id", pa.int64(), "id of the post"),
    _field("md5", pa.string(), "MD5 of the original file"),
    _field("split", pa.string(), "the split it would have been in"),
    _field("reason", pa.string(), "a value of Refusal or Rejection"),
    _field("detail", pa.string(), "what was seen, such as the post it duplicates", nullable=True),
])  # fmt: skip
"""data/manifest/rejected.parquet and data/shards/rejected.parquet, ordered by post_id."""

LEAKAGE = pa.schema([
    _field("distance", pa.int8(), "bits in which two perceptual hashes differ, 0 to 64, unique"),
    _field("nearest", pa.int64(), "test pictures whose nearest training picture is that far"),
    _field("random", pa.int64(), "test pictures that are that far from a training picture drawn at random"),
])  # fmt: skip
"""data/manifest/leakage.parquet, ordered by distance: of at most 2,000 test pictures."""

SHARDS = pa.schema([
    _field("shard", pa.string(), "file name, such as train-00012-of-00064.tfrecord"),
    _field("split", pa.string(), "train, validation, test or fresh"),
    _field("records", pa.int64(), "number of tf.train.Examples"),
    _field("bytes", pa.int64(), "size of the file"),
    _field("sha256", pa.string(), "of the file, 64 lower-case hex digits"),
    _field("label_counts", pa.list_(pa.field("item", pa.int64(), nullable=False)), "positives per vocabulary id"),
])  # fmt: skip
"""data/shards/index.parquet, ordered by shard."""

PER_TAG = pa.schema([
    _field("label_id", pa.int32(), "vocabulary id"),
    _field("name", pa.string(), "tag name"),
    _field("category", pa.string(), "name of the site's category"),
    _field("train_positives", pa.int64(), "records with this tag in the training shards"),
    _field("test_positives", pa.int64(), "records with this tag in the test shards"),
    _field("prevalence", pa.float64(), "share of test records with this tag"),
    _field("auc", pa.float64(), "area under the ROC curve; image-blind baseline 0.5", nullable=True),
    _field("average_precision", pa.float64(), "area under the precision-recall curve", nullable=True),
    _field("baseline_average_precision", pa.float64(), "of a constant score: the prevalence", nullable=True),
    _field("threshold", pa.float64(), "score from which the tag is said: best F1 on validation"),
    _field("f1", pa.float64(), "F1 at the threshold"),
    _field("baseline_f1", pa.float64(), "F1 of saying the tag always: 2p / (1 + p)"),
    _field("precision", pa.float64(), "precision at the threshold"),
    _field("recall", pa.float64(), "recall at the threshold"),
    _field("accuracy", pa.float64(), "accuracy at the threshold"),
    _field("baseline_accuracy", pa.float64(), "accuracy of never saying the tag, or always if that is better"),
])  # fmt: skip
"""data/evaluation/per_tag.parquet, ordered by label_id."""

CURVES = pa.schema([
    _field("curve", pa.string(), "roc_micro, pr_micro, roc_baseline_micro, pr_baseline_micro or calibration"),
    _field("x", pa.float64(), "false positive rate, recall, or mean score"),
    _field("y", pa.float64(), "true positive rate, precision, or share of positives"),
])  # fmt: skip
"""data/evaluation/curves.parquet."""

PREDICTIONS = pa.schema([
    _field("post_id", pa.int64(), "id of the post"),
    _field("md5", pa.string(), "MD5 of the original file"),
    _field("split", pa.string(), "validation, test or fresh"),
    _field("label_ids", _IDS, "labels of the record, ascending"),
    _field("scores", pa.list_(pa.field("item", pa.float32(), nullable=False)), "score per vocabulary id, 0 to 1"),
])  # fmt: skip
"""data/evaluation/predictions.parquet, ordered by split, then post_id."""
