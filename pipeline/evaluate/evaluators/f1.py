"""F1 with three kinds of thresholds.

A threshold per tag, as published; one for all tags, where precision equals recall on
validation (the break-even point); and 0.35 for all tags, as most clients use.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.evaluate.case import Case, Finding
from pipeline.metrics import prior, thresholded
from pipeline.metrics.prior import Prior


def evaluate(case: Case) -> Iterator[Finding]:
    """Yields macro and micro F1 of each kind of threshold."""
    blind_macro, informed_macro = _macro(case.blind), _macro(case.informed)
    blind_micro = prior.best_micro_f1(case.blind)
    informed_micro = prior.best_micro_f1(case.informed)
    kinds = {"": case.own, "_break_even": case.break_even, "_flat": case.flat}
    for kind, counts in kinds.items():
        macro = thresholded.macro_f1(counts)
        yield Finding(f"macro_f1{kind}", macro, blind_macro, informed_macro)
        micro = thresholded.micro_f1(counts)
        yield Finding(f"micro_f1{kind}", micro, blind_micro, informed_micro)


def _macro(model: Prior) -> float | None:
    """Returns the mean over the tags of a prior's best F1."""
    positives, images = model.positives(), model.images
    best = []
    for tag in np.flatnonzero(positives.sum(axis=0)):
        ranked = prior.ranked(model.scores[:, tag], positives[:, tag], images)
        best.append(ranked.best_f1)
    return float(np.mean(best)) if best else None
