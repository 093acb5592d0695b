"""Accuracy: the share of pairs of image and tag that are predicted correctly.

With four of a hundred tags on an image, predicting nothing is 96 % accurate: only the
difference from the baseline says anything.
"""

from collections.abc import Iterator

from pipeline.evaluate.case import Case, Finding
from pipeline.metrics import prior, thresholded


def evaluate(case: Case) -> Iterator[Finding]:
    """Yields the accuracy, at a threshold per tag."""
    found = thresholded.accuracy(case.own)
    if found.value is None:
        yield Finding("accuracy", found, None, None)
        return
    blind, informed = prior.accuracy(case.blind), prior.accuracy(case.informed)
    yield Finding("accuracy", found, blind, informed)
