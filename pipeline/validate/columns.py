"""Checks of columns that several datasets share."""

from collections.abc import Iterator

from pipeline.paths import SPLITS
from pipeline.schemas.reasons import DownloadFailure, RecordRejection
from pipeline.validate.checks import Check, Severity, between, matches, one_of

MD5 = "^[0-9a-f]{32}$"
NAME = "^[^ ]+$"
"""A tag name: it ends at a space and nowhere else (contract section 6)."""

MAX_SIDE = 100_000  # pixels; the site rejects over 15,000, older posts may exceed that
ONE = 1 + 1e-9  # scikit-learn sums average precision to a little more than 1


def identity() -> Iterator[Check]:
    """Checks post_id and md5."""
    yield between("post_id", "post ids are positive", low=1)
    yield matches("md5", MD5, "md5 is 32 lower-case hex digits")


def size(severity: Severity = "critical") -> Iterator[Check]:
    """Checks width and height in pixels."""
    for side in ("width", "height"):
        description = f"images have a {side}"
        yield between(side, description, low=1, high=MAX_SIDE, severity=severity)


def label_id(labels: int) -> Check:
    """Checks label_id. labels: the number of tags in the vocabulary."""
    description = "label ids are those of the vocabulary"
    return between("label_id", description, low=0, high=labels - 1)


def label_ids(labels: int) -> Iterator[Check]:
    """Checks the list label_ids. labels: the number of tags in the vocabulary."""
    yield one_of("label_ids:ascending", [True], "label ids are ascending and unique")
    yield between("label_ids:min", "label ids start at 0", low=0)
    description = "label ids are ids of the vocabulary"
    yield between("label_ids:max", description, high=labels - 1)


def labels_and_given(labels: int) -> Iterator[Check]:
    """Checks the lists label_ids and explicit_label_ids."""
    yield from label_ids(labels)
    yield one_of(
        "explicit_label_ids:ascending", [True], "ids as given are ascending and unique"
    )
    yield between(
        "explicit_label_ids:foreign", "what is given is among the labels", high=0
    )


def split_name() -> Check:
    """Checks the name of a split."""
    return one_of("split", SPLITS, "the split is one of the four")


def rejected() -> Iterator[Check]:
    """Checks rejected.parquet of the manifest and of the shards."""
    reasons = [*DownloadFailure, *RecordRejection]
    yield from identity()
    yield split_name()
    yield one_of(
        "reason", reasons, "the reason is a value of DownloadFailure or RecordRejection"
    )
