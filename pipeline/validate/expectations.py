"""What every dataset must be, as Great Expectations suites: a gate's rules, declared once beside `schemas.py`.

Reads       nothing: suites are functions of the parameters and of the size of the vocabulary
Writes      nothing
Guarantees  every expectation says in words what must hold (`description`) and whether a failure stops the line
            (`severity` critical) or is only noted (warning). What a schema rules out is not said again: columns, types
            and missing values are judged once per file, by the suite `files`.

Three kinds of tables are judged. `rows` suites go over a Parquet file chunk by chunk; a column written `label_ids:max`
is a fact about a list column, computed while reading (`validate/rows.py`). `findings` is one row with a column per rule
that takes more than one row or file to see: the number of rows that break it, so that 0 is expected. All other tables
are small measurements, such as one row per tag or per shard (`validate/tables.py`, `validate/products.py`).

This module imports Great Expectations (5 s): only the gates import it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from typing import get_args

from great_expectations.expectations.expectation import Expectation

from pipeline import policy
from pipeline.params import CategoryName, Params
from pipeline.paths import SPLITS
from pipeline.schemas.evaluation import PER_TAG
from pipeline.schemas.reasons import (
    Anomaly,
    DownloadFailure,
    PostExclusion,
    RecordRejection,
    TagExclusion,
)
from pipeline.validate.rules import (
    between,
    columns_equal,
    greater_than,
    matches,
    no_violations,
    one_of,
)
from pipeline.validate.tables import STRATEGIES

Suites = dict[str, list[Expectation]]
"""Expectations by the name of the table they judge."""

MD5 = "^[0-9a-f]{32}$"
SHA256 = "^[0-9a-f]{64}$"
NAME = r"^\S+$"
STATUS = "^(?:active|pending|deleted|retired|queued|processing|error: .*)$"
SHARD = r"^(?:train|validation|test|fresh)-\d{5}-of-\d{5}\.tfrecord$"
MAX_UNREADABLE = 0.01  # share of the exports' records; above it the exports are not what they were, not merely untidy
MAX_SIDE = (
    100_000  # pixels; the site refuses more than 15,000, older posts may exceed that
)
DISTANCES = 65  # rows of leakage.parquet: hashes have 64 bits
ONE = 1 + 1e-9  # scikit-learn sums average precision to a little more than 1
MAX_REJECTED = 0.10  # share of the sampled posts; above it a manifest is no longer the sample that was asked for


def rows(dataset: str, params: Params, labels: int) -> Suites:
    """Returns the row-local rules per Parquet file (by stem). labels: tags in the vocabulary."""
    return _ROWS[dataset](params, labels)


def profile(dataset: str, params: Params) -> Suites:
    """Returns the global rules per measured table."""
    return _PROFILES[dataset](params)


def files() -> list[Expectation]:
    """Returns what is judged before anything is read: every file is there and what `schemas.py` declares."""
    return [
        one_of(
            "state",
            ["as declared"],
            "every file is there, readable, and of the declared columns and types",
        )
    ]


def _identity() -> list[Expectation]:
    return [
        between("post_id", "post ids are positive", low=1),
        matches("md5", MD5, "md5 is 32 lower-case hex digits"),
    ]


def _size() -> list[Expectation]:
    return [
        between(side, f"pictures have a {side}", low=1, high=MAX_SIDE)
        for side in ("width", "height")
    ]


def _labels(labels: int) -> list[Expectation]:
    return [
        one_of("label_ids:ascending", [True], "label ids are ascending and unique"),
        between("label_ids:min", "label ids start at 0", low=0),
        between(
            "label_ids:max", "label ids are ids of the vocabulary", high=labels - 1
        ),
    ]


def _given(labels: int) -> list[Expectation]:
    return [
        *_labels(labels),
        one_of("given_ids:ascending", [True], "ids as given are ascending and unique"),
        between("given_ids:foreign", "what is given is among the labels", high=0),
    ]


def _rejected() -> list[Expectation]:
    return [
        *_identity(),
        one_of("split", SPLITS, "the split is one of the four"),
        one_of(
            "reason",
            [*DownloadFailure, *RecordRejection],
            "the reason is a value of Refusal or Rejection",
        ),
    ]


# --- snapshot ---------------------------------------------------------------------------------------------------------


def _snapshot_rows(params: Params, labels: int) -> Suites:  # noqa: ARG001 - one signature for all datasets
    posts = [
        *_identity(),
        between("change_seq", "change counters are not negative", low=0),
        matches("ext", "^[a-z0-9]{1,8}$", "the extension is a short lower-case word"),
        one_of("rating", ["s", "q", "e"], "the rating is s, q or e"),
        between(
            "width", "pictures have a width", low=1, high=MAX_SIDE, severity="warning"
        ),
        between(
            "height", "pictures have a height", low=1, high=MAX_SIDE, severity="warning"
        ),
        between("file_size", "files are not empty", low=1, severity="warning"),
        between("duration", "durations are not negative", low=0, severity="warning"),
        between("tags:blank", "no tag name is empty or holds white space", high=0),
        one_of("tags:unique", [True], "a post names each tag once", severity="warning"),
        between(
            "locked_tags:blank",
            "no locked tag name is empty or holds white space",
            high=0,
        ),
    ]
    tags = [
        between("tag_id", "tag ids are positive", low=1),
        matches("name", NAME, "tag names are not empty and hold no white space"),
        between(
            "category",
            "categories are the site's nine",
            low=0,
            high=len(get_args(CategoryName)) - 1,
        ),
    ]
    relations = [
        between("relation_id", "ids are positive", low=1),
        matches("antecedent", NAME, "the antecedent is a tag name"),
        matches("consequent", NAME, "the consequent is a tag name"),
        matches(
            "status",
            STATUS,
            "the status is one that the site documents",
            severity="warning",
        ),
    ]
    rejected = [
        one_of(
            "export",
            ["posts", "tags", "tag_aliases", "tag_implications"],
            "the export is one of the four",
        ),
        between(
            "row", "rows are numbered from 1; 0 stands for the export as a whole", low=0
        ),
        matches("reason", r"\S", "every rejected record has a reason"),
    ]
    unknown = [
        matches("name", NAME, "tag names are not empty and hold no white space"),
        between("posts", "an unknown tag is on a post", low=1),
    ]
    return {
        "posts": posts,
        "tags": tags,
        "aliases": relations,
        "implications": list(relations),
        "rejected": rejected,
        "unknown_tags": unknown,
    }


def _snapshot_profile(params: Params) -> Suites:  # noqa: ARG001
    findings = [
        no_violations("post_id_twice", "post ids are unique"),
        no_violations("md5_twice", "an md5 belongs to one post", severity="warning"),
        no_violations("tag_id_twice", "tag ids are unique"),
        no_violations("tag_name_twice", "tag names are unique"),
        no_violations("alias_id_twice", "alias ids are unique"),
        no_violations("implication_id_twice", "implication ids are unique"),
        no_violations("posts_out_of_order", "posts are ordered by post_id"),
        no_violations("alias_to_itself", "no tag in force is an alias of itself"),
        no_violations(
            "alias_of_two",
            "a tag in force is an alias of one tag only",
            severity="warning",
        ),
        no_violations(
            "implication_in_a_circle",
            "implications in force lead to no circle",
            severity="warning",
        ),
        # The exports are made one after another (contract section 1.3): a few unknown tags are normal.
        no_violations(
            "unknown_tag", "every tag on a post is in tags.parquet", severity="warning"
        ),
        no_violations(
            "unknown_tags_differ",
            "unknown_tags.parquet names the tags of posts that tags.parquet lacks, and no others",
        ),
    ]
    figures = [
        between("posts", "there are posts", low=1),
        between(
            "visible_posts",
            "there are posts that are neither deleted nor withheld (policy rules 1, 4)",
            low=1,
        ),
        between("tags", "there are tags", low=1),
        between(
            "unreadable_share",
            f"at most {MAX_UNREADABLE:.0%} of the records were unreadable",
            high=MAX_UNREADABLE,
        ),
        between(
            "unreadable",
            "every record of the exports could be read",
            high=0,
            severity="warning",
        ),
    ]
    return {"findings": findings, "figures": figures}


# --- sample -----------------------------------------------------------------------------------------------------------


def _sample_rows(params: Params, labels: int) -> Suites:
    sample = params.sample
    since = datetime.combine(params.harvest.since, time(), UTC)
    promise = "raise sample.reserve or lower sample.vocabulary_size"
    vocabulary = [
        between(
            "label_id", "label ids are those of the vocabulary", low=0, high=labels - 1
        ),
        matches("name", NAME, "tag names are not empty and hold no white space"),
        one_of(
            "category",
            sample.categories,
            "tags are of the categories that sample.categories asks for",
        ),
        between(
            "train_positives",
            f"every tag has its training positives; else {promise}",
            low=sample.min_positives,
        ),
        between(
            "validation_positives",
            f"and its validation positives; else {promise}",
            low=sample.min_eval_positives,
        ),
        between(
            "test_positives",
            f"and its test positives; else {promise}",
            low=sample.min_eval_positives,
        ),
    ]
    posts = [
        *_identity(),
        one_of(
            "ext", sorted(policy.STILL_FORMATS), "only still pictures (policy rule 5)"
        ),
        one_of(
            "rating",
            sample.ratings,
            "only ratings that sample.ratings names (policy rule 7)",
        ),
        *_size(),
        between("file_size", "files are not empty", low=1),
        between("created_at", "no post is older than harvest.since", low=since),
        one_of("split", SPLITS, "the split is one of the four"),
        between(
            "candidate_tags",
            "every post has at least sample.min_tags tags",
            low=sample.min_tags,
        ),
        between(
            "taken_for",
            "what a post was taken for is a tag of the vocabulary",
            low=0,
            high=labels - 1,
        ),
        *_given(labels),
    ]
    left_out = [
        one_of("reason", list(TagExclusion), "the reason is a value of LeftOut"),
        matches("name", NAME, "tag names are not empty"),
    ]
    dropped = [
        one_of("reason", list(PostExclusion), "the reason is a value of Dropped")
    ]
    tables = {
        "vocabulary": vocabulary,
        "posts": posts,
        "left_out": left_out,
        "dropped": dropped,
    }
    return {**tables, "strategies": _strategies(), **_noise()}


def _strategies() -> list[Expectation]:
    return [
        one_of(
            "strategy",
            STRATEGIES,
            "the row is a strategy's, the sample's or the board's",
        ),
        between("posts", "posts are counted", low=0),
        between("least_positives", "positives are counted", low=0),
        between("short_tags", "tags that miss their positives are counted", low=0),
        between(
            "total_variation",
            "a distance between shares is from 0 to 1",
            low=0,
            high=ONE,
        ),
    ]


def _noise() -> Suites:
    """Returns the rules of the tables that say what labels are worth."""
    lacking = [
        matches("antecedent", NAME, "the antecedent is a tag name"),
        matches("consequent", NAME, "the consequent is a tag name"),
        between("posts", "implications are listed that posts use", low=1),
        between("share", "what lacks is a share", low=0, high=1),
    ]
    spellings = [
        matches("name", NAME, "the spelling is a tag name"),
        matches("stands_for", NAME, "what it stands for is a tag name"),
        between("posts", "spellings are listed that posts use", low=1),
    ]
    pairs = [
        between("posts", "posts with both tags are counted", low=0),
        between("expected", "chance leads to no fewer than none", low=0),
        between("lift", "lift is not negative", low=0),
    ]
    oddities = [
        one_of("kind", list(Anomaly), "the kind is a value of Oddity"),
        matches("subject", r"\S", "every oddity names its tag or post"),
        matches("detail", r"\S", "and says what was seen"),
    ]
    return {
        "lacking_implied": lacking,
        "aliased_spellings": spellings,
        "co_occurrence": pairs,
        "oddities": oddities,
    }


def _sample_profile(params: Params) -> Suites:
    findings = [
        no_violations("deleted_post", "no deleted post is sampled (policy rule 1)"),
        no_violations(
            "withheld_post",
            "no post is sampled whose file the site does not give (policy rule 4)",
        ),
        no_violations(
            "vanished_post",
            "no post is sampled that the snapshot lacks (policy rule 1)",
        ),
        no_violations(
            "replaced_post",
            "every post is sampled as the snapshot has it, md5 and all (policy rule 1)",
        ),
        no_violations(
            "forbidden_young",
            "no q or e post is sampled whose tags lead to young (policy rule 2)",
        ),
        no_violations(
            "opted_out", "no post of an artist who opted out is sampled (policy rule 3)"
        ),
        no_violations(
            "moving_picture", "no animation, video or flash is sampled (policy rule 5)"
        ),
        no_violations(
            "policy_tag",
            "no tag is in the vocabulary that the policy refuses to select by",
        ),
        no_violations(
            "excluded_tag", "no tag of sample.exclude_tags is in the vocabulary"
        ),
        no_violations("post_id_twice", "a post is sampled once"),
        no_violations(
            "md5_in_two_splits", "no picture (md5) is in two splits", severity="warning"
        ),
        no_violations(
            "group_in_two_splits", "no family of parents and children spans splits"
        ),
        no_violations(
            "parted_family", "a post and its sampled parent have one group_id"
        ),
        no_violations("sampled_and_dropped", "no post is both sampled and dropped"),
        no_violations(
            "label_id_not_row", "label ids are the row numbers of the vocabulary"
        ),
        no_violations(
            "tag_twice", "a tag is in the vocabulary once, and not also left out"
        ),
        no_violations(
            "tag_unknown",
            "every tag of the vocabulary is in the snapshot, in its category",
        ),
        no_violations(
            "labels_differ",
            "labels are what the post's tags, aliases and implications lead to, worked out anew",
        ),
        no_violations(
            "given_ids_differ",
            "ids as given are what the post's tags and aliases lead to, worked out anew",
        ),
        no_violations(
            "fresh_too_old",
            "posts of the fresh split are not older than manifest.fresh_after",
        ),
        no_violations(
            "excluded_post",
            "no post is sampled that has a tag of sample.exclude_tags, or one that leads to it",
        ),
        no_violations(
            "taken_for_no_label", "a post was taken for one of its own labels"
        ),
        no_violations(
            "artist_in_two_splits",
            "with manifest.group_by_artist, no artist's posts are in two of the judged splits",
        ),
        no_violations(
            "strategy_missing",
            "every strategy is compared once, and sample.strategy is marked as the chosen one",
        ),
        no_violations(
            "pair_unknown", "pairs that go together are two tags of the vocabulary"
        ),
    ]
    figures = [
        between(
            "tags",
            "there are 2 to sample.vocabulary_size tags",
            low=2,
            high=params.sample.vocabulary_size,
        ),
        between("train", "there are training posts", low=1),
        between("validation", "there are validation posts", low=1),
        between("test", "there are test posts", low=1),
    ]
    tags = [
        columns_equal(
            f"{split}_positives",
            f"counted_{split}",
            f"{split} positives are what the posts hold",
        )
        for split in ("train", "validation", "test")
    ]
    chosen = [
        columns_equal(
            name,
            f"counted_{name}",
            f"{words} are what strategies.parquet says of the sample",
        )
        for name, words in (
            ("posts", "the posts that were written"),
            ("least_positives", "the training positives of the tag that has fewest"),
            ("median_positives", "the training positives of the tag in the middle"),
        )
    ]
    return {"findings": findings, "figures": figures, "tags": tags, "chosen": chosen}


# --- manifest ---------------------------------------------------------------------------------------------------------


def _manifest_rows(params: Params, labels: int) -> Suites:
    def split(name: str) -> list[Expectation]:
        return [
            *_identity(),
            one_of(
                "rating",
                params.sample.ratings,
                "only ratings that sample.ratings names (policy rule 7)",
            ),
            one_of("split", [name], "the split is that of the file"),
            matches("pack", r"^pack-.+\.parquet$", "the pack is named"),
            one_of(
                "variant",
                ["original", "sample", "preview"],
                "the variant is one of the three",
            ),
            one_of(
                "format", ["jpeg", "png", "webp"], "only still pictures (policy rule 5)"
            ),
            *_size(),
            between(
                "bytes",
                "pictures are within download.max_bytes",
                low=1,
                high=params.download.max_bytes,
            ),
            *_given(labels),
        ]

    leakage = [
        between(
            "distance", "two hashes differ in 0 to 64 bits", low=0, high=DISTANCES - 1
        ),
        between("nearest", "test pictures are counted", low=0),
        between("random", "test pictures are counted", low=0),
    ]
    return {
        **{name: split(name) for name in SPLITS},
        "rejected": _rejected(),
        "leakage": leakage,
    }


def _manifest_profile(params: Params) -> Suites:
    sample = params.sample
    kept = (
        "after rejects every tag still has its {} positives; else raise sample.reserve"
    )
    few = sample.min_eval_positives
    findings = [
        no_violations(
            "not_in_sample",
            "every record is a sampled post, so that what the policy refused is not here",
        ),
        no_violations(
            "differs_from_sample",
            "md5, change, rating, split, group and labels are those of the sample",
        ),
        no_violations(
            "lost_post", "every sampled post is in a split or rejected with a reason"
        ),
        no_violations("kept_and_rejected", "no post is both in a split and rejected"),
        no_violations("post_id_twice", "a post is in the manifest once"),
        no_violations("md5_in_two_splits", "no picture (md5) is in two splits"),
        no_violations("md5_twice", "a picture (md5) is in the manifest once"),
        no_violations(
            "group_in_two_splits", "no family of parents and children spans splits"
        ),
        # Only noted: flat drawings on plain grounds share hashes by the dozen; `manifest` compares thumbnails as well.
        no_violations(
            "same_hash_in_two_splits",
            "pictures of two splits have different perceptual hashes",
            severity="warning",
        ),
        no_violations("out_of_order", "records are ordered by post_id"),
        no_violations(
            "taken_down",
            "no record is of a picture that was taken down (policy rule 1)",
        ),
        no_violations(
            "pack_taken_down",
            "no pack holds a picture that was taken down (policy rule 1)",
        ),
        no_violations(
            "pack_forbidden",
            "every picture in the packs is one that the snapshot permits today (policy rules 1 to 5)",
        ),
    ]
    figures = [
        between("train", "there are training records", low=1),
        between("validation", "there are validation records", low=1),
        between("test", "there are test records", low=1),
        between(
            "rejected_share",
            f"at most {MAX_REJECTED:.0%} were rejected",
            high=MAX_REJECTED,
            severity="warning",
        ),
    ]
    tags = [
        between("train_positives", kept.format("training"), low=sample.min_positives),
        # Only noted: near-duplicate evaluation pictures are rejected, and more so the more there are on a board.
        between(
            "validation_positives",
            kept.format("validation"),
            low=few,
            severity="warning",
        ),
        between("test_positives", kept.format("test"), low=few, severity="warning"),
    ]
    lineage = [
        one_of(
            "lineage", ["complete"], "every file carries the lineage, the same in all"
        )
    ]
    distances = [
        between(
            "distances",
            "every distance from 0 to 64 bits has its row, once",
            low=DISTANCES,
            high=DISTANCES,
        ),
        between("nearest", "test pictures were compared with training pictures", low=1),
        columns_equal(
            "nearest", "random", "each has a nearest and a random training picture"
        ),
    ]
    return {
        "findings": findings,
        "figures": figures,
        "tags": tags,
        "lineage": lineage,
        "distances": distances,
    }


# --- shards -----------------------------------------------------------------------------------------------------------


def _shards_rows(params: Params, labels: int) -> Suites:  # noqa: ARG001
    index = [
        matches("shard", SHARD, "shards are named by split and number"),
        one_of("split", SPLITS, "the split is one of the four"),
        between("records", "record counts are not negative", low=0),
        matches("sha256", SHA256, "sha256 is 64 lower-case hex digits"),
        between(
            "label_counts:length",
            "there is a count per tag of the vocabulary",
            low=labels,
            high=labels,
        ),
        between("label_counts:min", "counts are not negative", low=0),
    ]
    return {"index": index, "rejected": _rejected()}


def _shards_profile(params: Params) -> Suites:  # noqa: ARG001
    findings = [
        no_violations("unlisted_shard", "every shard on disk is in the index"),
        no_violations(
            "not_in_manifest",
            "no record is left of a post that the manifest no longer has (policy rule 1)",
        ),
        no_violations(
            "lost_record",
            "every record of the manifest is in a shard or rejected with a reason",
        ),
        no_violations("record_twice", "a record is in one shard, once"),
    ]
    shards = [
        columns_equal(
            "sha256",
            "sha256_on_disk",
            "the file has the checksum of the index; else delete it and run dvc repro",
        ),
        columns_equal("bytes", "bytes_on_disk", "the file has the size of the index"),
        columns_equal(
            "records",
            "records_on_disk",
            "the file holds as many whole records as the index says",
        ),
        columns_equal(
            "split", "split_of_name", "the split is that of the shard's name"
        ),
    ]
    splits = [
        columns_equal(
            "records_and_rejected",
            "manifest_records",
            "records and rejects add up to the manifest",
        )
    ]
    tags = [
        columns_equal(
            split,
            f"manifest_{split}",
            f"{split} label counts are those of the manifest less rejects",
        )
        for split in ("train", "validation", "test")
    ]
    return {"findings": findings, "shards": shards, "splits": splits, "tags": tags}


# --- evaluation -------------------------------------------------------------------------------------------------------


def _evaluation_rows(params: Params, labels: int) -> Suites:  # noqa: ARG001
    shares = [
        name
        for name in PER_TAG.names[PER_TAG.names.index("prevalence") :]
        if name != "threshold"
    ]
    per_tag = [
        between(
            "label_id", "label ids are those of the vocabulary", low=0, high=labels - 1
        ),
        # Accuracy is not compared: at the threshold of the best F1 it is often below that of never saying a rare tag.
        *(between(name, f"{name} is a share", low=0, high=ONE) for name in shares),
        between(
            "auc",
            "the tag is ranked better than by chance",
            low=0.5,
            severity="warning",
        ),
        greater_than(
            "f1",
            "baseline_f1",
            "the tag's F1 beats saying it always",
            severity="warning",
        ),
    ]
    predictions = [
        matches("md5", MD5, "md5 is 32 lower-case hex digits"),
        one_of("split", SPLITS[1:], "predictions are of held-out splits only"),
        *_labels(labels),
        between(
            "scores:length",
            "there is a score per tag of the vocabulary",
            low=labels,
            high=labels,
        ),
        between("scores:min", "scores are not below 0", low=0),
        between("scores:max", "scores are not above 1", high=1),
        between("scores:undefined", "every score is a number", high=0),
    ]
    curves = [
        between("x", "x is a share", low=0, high=1),
        between("y", "y is a share", low=0, high=1),
    ]
    return {"per_tag": per_tag, "predictions": predictions, "curves": curves}


def _evaluation_profile(params: Params) -> Suites:  # noqa: ARG001
    findings = [
        no_violations(
            "tag_missing",
            "per_tag has one row per tag of the vocabulary, by label id and name",
        ),
        no_violations("prediction_twice", "a post is predicted once"),
        no_violations(
            "not_in_sample",
            "predicted posts are of the sample, in the same split, with the same labels",
        ),
        no_violations(
            "metric_undefined", "every metric on test and its baseline are numbers"
        ),
        no_violations(
            "auc_differs",
            "the AUC of each tag is what the predictions give, worked out anew",
        ),
    ]
    figures = [
        between("test_records", "there are test predictions", low=1),
        between(
            "headline_metrics",
            "macro AUC, mAP and F1 on test are there, each with its baseline",
            low=3,
            high=3,
        ),
        between(
            "macro_auc_gap",
            "the macro AUC reported is the mean over the tags",
            high=1e-6,
        ),
    ]
    metrics = [
        between("value", "metrics are shares", low=0, high=ONE),
        between("baseline", "baselines are shares", low=0, high=ONE),
    ]
    headline = [
        greater_than(
            "value",
            "baseline",
            "the macro metrics on test beat the image-blind baseline",
        )
    ]
    others = [
        greater_than(
            "value",
            "baseline",
            "all other metrics beat the image-blind baseline",
            severity="warning",
        )
    ]
    return {
        "findings": findings,
        "figures": figures,
        "metrics": metrics,
        "headline": headline,
        "others": others,
    }


# --- bundle -----------------------------------------------------------------------------------------------------------


def _bundle_rows(params: Params, labels: int) -> Suites:  # noqa: ARG001
    return {}


def _bundle_profile(params: Params) -> Suites:  # noqa: ARG001
    findings = [
        no_violations("picture", "no file is a picture or holds one (policy rule 8)"),
        no_violations(
            "unexpected_file", "there are no files that a bundle does not need"
        ),
        no_violations(
            "tag_differs", "selected_tags.csv is the vocabulary, in its order"
        ),
        no_violations(
            "threshold_missing",
            "thresholds.csv has a threshold from 0 to 1 per tag, in the same order",
        ),
        no_violations(
            "lineage_missing",
            "lineage.json names pin, policy version, parameters and model",
        ),
        no_violations(
            "model_differs", "model.onnx is the file whose checksum lineage.json gives"
        ),
    ]
    return {"findings": findings}


# --- which is which ---------------------------------------------------------------------------------------------------

_ROWS: Mapping[str, Callable[[Params, int], Suites]] = {
    "snapshot": _snapshot_rows,
    "sample": _sample_rows,
    "manifest": _manifest_rows,
    "shards": _shards_rows,
    "evaluation": _evaluation_rows,
    "bundle": _bundle_rows,
}
_PROFILES: Mapping[str, Callable[[Params], Suites]] = {
    "snapshot": _snapshot_profile,
    "sample": _sample_profile,
    "manifest": _manifest_profile,
    "shards": _shards_profile,
    "evaluation": _evaluation_profile,
    "bundle": _bundle_profile,
}
