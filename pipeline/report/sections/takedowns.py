"""Section: images removed because a later snapshot does not permit them."""

from pipeline.report import counts
from pipeline.report.inputs import Inputs
from pipeline.report.sections.section import PageData, Values
from pipeline.schemas.reasons import PostExclusion, Takedown

TITLE = "Taken down"
LINK = "Takedowns"


def build(data: PageData) -> Values:
    """Returns the takedowns that are still in force."""
    return {"takedowns": takedowns(data.inputs)}


def takedowns(inputs: Inputs) -> list[tuple[str, str, int]]:
    """Returns snapshot, reason as a sentence, and number of images."""
    rows = []
    for snapshot, reason, images in inputs.takedowns.rows():
        rows.append((snapshot, _sentence(reason), images))
    return rows


def _sentence(value: str) -> str:
    reasons: list[PostExclusion | Takedown] = [*PostExclusion, *Takedown]
    for reason in reasons:
        if reason == value:
            return reason.sentence
    return counts.humanize(value)
