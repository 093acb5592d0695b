"""Why a tag, post, image or record is left out: each reason is an enum member that carries its sentence."""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A reason as it stands in a table, with the sentence that explains it."""

    sentence: str

    def __new__(cls, value: str, sentence: str = "") -> Self:
        """Makes a member whose value is `value`."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member


class DownloadFailure(Reason):
    """Why a picture that was wanted is not there."""

    NOT_FOUND = "not_found", "404 or 410: the site does not have it"
    FORBIDDEN = "forbidden", "401 or 403 for this one picture"
    MD5_MISMATCH = "md5_mismatch", "the bytes are another file than the export lists"
    NOT_A_PICTURE = "not_a_picture", "HTML or another type where a picture was expected"
    UNSUPPORTED_FORMAT = "unsupported_format", "a picture, but not jpg, png or webp"
    TRUNCATED = "truncated", "the bytes end too soon, after all retries"
    BROKEN_PICTURE = "broken_picture", "cannot be decoded"
    DECOMPRESSION_BOMB = "decompression_bomb", "more pixels than download.max_pixels"
    TOO_LARGE = (
        "too_large",
        "more bytes than download.max_bytes; an original that is listed so is not asked for",
    )
    WRONG_DIMENSIONS = (
        "wrong_dimensions",
        "not the size that the export's width and height lead to",
    )
    REDIRECTED = (
        "redirected",
        "the answer points to another place, which is never followed",
    )
    UNAVAILABLE = (
        "unavailable",
        "only temporary errors, after all retries; asked for again by the next run",
    )


class RecordRejection(Reason):
    """Why a sampled post is not in the manifest or the shards, besides the reasons of DownloadFailure."""

    NEAR_DUPLICATE = (
        "near_duplicate",
        "an evaluation picture that looks like one of an earlier split",
    )
    SAME_PICTURE = "same_picture", "another post of the sample holds the same md5"


class TagExclusion(Reason):
    """Why a tag of the wanted categories is not in the vocabulary."""

    ALIASED = (
        "aliased",
        "only another spelling: its posts count for the tag it stands for",
    )
    EXCLUDED = "excluded", "sample.exclude_tags"
    POLICY = "policy", "a name the policy refuses to select posts by"
    FILE_DERIVED = (
        "file_derived",
        "says something about the file, not about the picture (contract section 6)",
    )
    TOO_FEW_POSITIVES = (
        "too_few_positives",
        "fewer than min_positives among the training posts",
    )
    TOO_FEW_EVALUATION_POSITIVES = (
        "too_few_evaluation_positives",
        "fewer than min_eval_positives in validation or test",
    )
    INVALID = "invalid", "of the site's category for tags that are not to be used"
    TWO_CATEGORIES = (
        "two_categories",
        "the snapshot has the name twice, in different categories",
    )
    NOT_LISTED = "not_listed", "not in sample.tags_file"
    OTHER_CATEGORY = (
        "other_category",
        "in sample.tags_file, but of none of sample.categories",
    )
    UNKNOWN = "unknown", "in sample.tags_file, but the snapshot has no such tag"
    PATTERN = "pattern", "sample.exclude_patterns"
    BEYOND_VOCABULARY_SIZE = (
        "beyond_vocabulary_size",
        "rarer than the tags that were taken",
    )


class PostExclusion(Reason):
    """Why a post of the snapshot is not a candidate. The first that holds is given, in this order."""

    DELETED = "deleted", "deleted on the site (policy rule 1)"
    WITHHELD = "withheld", "the API gave no address for its file (rule 4)"
    FORBIDDEN_YOUNG = (
        "forbidden_young",
        "rated q or e and tagged young, or a tag that implies it (rule 2)",
    )
    OPTED_OUT = "opted_out", "the artist opted out (rule 3)"
    NOT_STILL = "not_still", "animation, video or flash (rule 5)"
    RATING = "rating", "not one of sample.ratings"
    BEFORE_SINCE = "before_since", "uploaded before harvest.since"
    EXCLUDED_TAG = (
        "excluded_tag",
        "has one of sample.exclude_tags, or a tag that implies it",
    )
    TOO_FEW_TAGS = "too_few_tags", "fewer than sample.min_tags"
    SPANS_SPLITS = (
        "spans_splits",
        "the oldest post of its family (or another of its artists) belongs to another split",
    )


class Anomaly(Reason):
    """What is wrong with a snapshot and was worked around."""

    ALIAS_CYCLE = (
        "alias_cycle",
        "aliases that lead back to the name: it stands for the last name before that",
    )
    ALIAS_OF_TWO = (
        "alias_of_two",
        "a name with two aliases in force: the later one holds",
    )
    ALIAS_TO_NOTHING = (
        "alias_to_nothing",
        "an alias of a name that tags.parquet does not have: its posts lose the tag",
    )
    IMPLICATION_CYCLE = (
        "implication_cycle",
        "tags that imply each other: each brings all of them",
    )
    TWO_CATEGORIES = (
        "two_categories",
        "a name in two categories: not in the vocabulary; posts keep the older one",
    )
    MISSING_PARENT = (
        "missing_parent",
        "a parent that is not in the snapshot: it links its children all the same",
    )
    PARENT_CYCLE = (
        "parent_cycle",
        "a post that is its own ancestor: all of the cycle are one family",
    )


class Takedown(Reason):
    """Why a picture that was here had to go, besides the rules' values of PostExclusion."""

    REPLACED = "replaced", "the post now holds another file"
    EXPUNGED = "expunged", "the post is gone from the site"
    NOT_LISTED = (
        "not_listed",
        "the search no longer finds the post: deleted, expunged, or harvest.query does not match",
    )
