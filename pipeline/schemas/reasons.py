"""Why a tag, post, image or record is left out.

Each reason is an enum member with the sentence that explains it.
"""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A reason as a table has it, with the sentence that explains it."""

    sentence: str

    def __new__(cls, value: str, sentence: str = "") -> Self:
        """Makes a member whose value is `value`.

        Every member has a sentence. It has a default only so that type checkers accept
        a lookup by value alone, such as `Takedown("replaced")`.
        """
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member


KEPT = "kept"
"""The outcome of an image that is in a pack, beside the values of DownloadFailure."""


class DownloadFailure(Reason):
    """Why an image of the sample is not in the packs."""

    NOT_FOUND = "not_found", "404 or 410: the site does not have it"
    FORBIDDEN = "forbidden", "401 or 403 for this one image"
    MD5_MISMATCH = "md5_mismatch", "the bytes are another file than the export lists"
    NOT_AN_IMAGE = "not_an_image", "HTML or another type where an image was expected"
    UNSUPPORTED_FORMAT = "unsupported_format", "an image, but not jpg, png or webp"
    TRUNCATED = "truncated", "the bytes end too soon, after all retries"
    BROKEN_IMAGE = "broken_image", "cannot be decoded"
    DECOMPRESSION_BOMB = "decompression_bomb", "more pixels than download.max_pixels"
    TOO_LARGE = (
        "too_large",
        "more bytes than download.max_bytes; such an original is not requested",
    )
    WRONG_DIMENSIONS = (
        "wrong_dimensions",
        "not the size that follows from the width and height in the export",
    )
    REDIRECTED = (
        "redirected",
        "the response redirects to another URL, which is never followed",
    )
    UNAVAILABLE = (
        "unavailable",
        "only temporary errors, after all retries; requested again by the next run",
    )


class RecordRejection(Reason):
    """Why a sampled post is not in the manifest or the shards.

    The reasons of DownloadFailure come on top.
    """

    NEAR_DUPLICATE = (
        "near_duplicate",
        "an evaluation image that looks like one of an earlier split",
    )
    SAME_IMAGE = "same_image", "another post of the sample holds the same md5"
    NEARLY_EMPTY = (
        "nearly_empty",
        "far longer than wide, or nothing but background",
    )
    FORBIDDEN_BY_OVERLAY = (
        "forbidden_by_overlay",
        "data/overlay.csv adds a tag by which the policy forbids the post",
    )


class OverlayOutcome(Reason):
    """What became of a row of data/overlay.csv.

    The first that applies is given, in this order; APPLIED where none does.
    """

    MALFORMED = (
        "malformed",
        "no post_id, no tag, an action other than add and remove, or too many cells",
    )
    EXCLUDED_POST = (
        "excluded_post",
        "the post is no candidate: the detail is a value of PostExclusion",
    )
    UNKNOWN_POST = "unknown_post", "the snapshot has no such post"
    NOT_SAMPLED = "not_sampled", "a candidate that is not in the sample"
    REJECTED_POST = (
        "rejected_post",
        "a sampled post without a record: rejected.parquet says why",
    )
    FORBIDS_POST = (
        "forbids_post",
        "a tag by which the policy forbids the post: its record is rejected",
    )
    UNKNOWN_TAG = "unknown_tag", "the snapshot has no such tag"
    OUTSIDE_VOCABULARY = "outside_vocabulary", "a tag that is not learnt"
    CONTRADICTION = (
        "contradiction",
        "another row says the opposite, or the tag is implied by one that stays",
    )
    REPEATED = "repeated", "an earlier row says the same"
    UNCHANGED = "unchanged", "the record's labels were so already"
    APPLIED = "applied", "the record's labels were corrected"


class TagExclusion(Reason):
    """Why a tag of the wanted categories is not in the vocabulary."""

    ALIASED = (
        "aliased",
        "only another spelling: its posts count for the tag that it is an alias of",
    )
    EXCLUDED = "excluded", "sample.exclude_tags"
    POLICY = "policy", "a name that the policy does not select posts by"
    FILE_DERIVED = (
        "file_derived",
        "describes the file, not the image (contract section 6)",
    )
    TOO_FEW_POSITIVES = (
        "too_few_positives",
        "fewer than min_positives among the training posts",
    )
    TOO_FEW_EVALUATION_POSITIVES = (
        "too_few_evaluation_positives",
        "fewer than min_eval_positives in validation or test",
    )
    LACKS_RESERVE = (
        "lacks_reserve",
        "enough positives, but not the sample.reserve beyond them for lost images",
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
    """Why a post of the snapshot is not a candidate.

    The first reason that applies is given, in this order.
    """

    DELETED = "deleted", "deleted on the site (policy rule 1)"
    WITHHELD = "withheld", "the API gave no URL for its file (rule 4)"
    FORBIDDEN_YOUNG = (
        "forbidden_young",
        "rated q or e and tagged young, or a tag that implies it (rule 2)",
    )
    OPTED_OUT = "opted_out", "the artist opted out (rule 3)"
    NOT_STILL = "not_still", "animation, video or flash (rule 5)"
    RATING = "rating", "not one of sample.ratings"
    BEFORE_SINCE = "before_since", "uploaded before sample.since"
    EXCLUDED_TAG = (
        "excluded_tag",
        "has one of sample.exclude_tags, or a tag that implies it",
    )
    TOO_FEW_TAGS = "too_few_tags", "fewer than sample.min_tags"
    SPANS_SPLITS = (
        "spans_splits",
        "its family's oldest post, or another of its artists, is in another split",
    )


class Anomaly(Reason):
    """What is wrong with a snapshot, and how it is resolved."""

    ALIAS_CYCLE = (
        "alias_cycle",
        "aliases that lead back to the name: the last name before that is used",
    )
    ALIAS_OF_TWO = (
        "alias_of_two",
        "a name with two aliases in force: the later one is used",
    )
    ALIAS_TO_NOTHING = (
        "alias_to_nothing",
        "an alias of a name that tags.parquet does not have: its posts lose the tag",
    )
    IMPLICATION_CYCLE = (
        "implication_cycle",
        "tags that imply each other: a post with one gets all of them",
    )
    TWO_CATEGORIES = (
        "two_categories",
        "a name in two categories: not in the vocabulary; posts keep the older one",
    )
    MISSING_PARENT = (
        "missing_parent",
        "a parent that is not in the snapshot: its children are still one family",
    )
    PARENT_CYCLE = (
        "parent_cycle",
        "a post that is its own ancestor: all of the cycle are one family",
    )


class Takedown(Reason):
    """Why an image was removed from the packs, besides the rules of PostExclusion."""

    REPLACED = "replaced", "the post now holds another file"
    EXPUNGED = "expunged", "the post is gone from the site"
    NOT_LISTED = (
        "not_listed",
        "the search no longer finds the post: deleted, expunged, or another query",
    )
