"""Section: posts that the rules of the policy keep out."""

from pipeline.report import counts
from pipeline.report.inputs import Inputs
from pipeline.report.sections.section import PageData, Values
from pipeline.schemas.reasons import PostExclusion

TITLE = "What the rules kept out"
LINK = "Rules"

RULES = {
    PostExclusion.DELETED: 1,
    PostExclusion.FORBIDDEN_YOUNG: 2,
    PostExclusion.OPTED_OUT: 3,
    PostExclusion.WITHHELD: 4,
    PostExclusion.NOT_STILL: 5,
}
"""Rules of pipeline/policy.py that exclude posts.

The other reasons are choices in params.yaml.
"""


def build(data: PageData) -> Values:
    """Returns the rules and the version of the policy."""
    return {
        "rules": rules(data.inputs),
        "policy_version": data.inputs.lineage["policy_version"],
    }


def rules(inputs: Inputs) -> list[tuple[int, str, int]]:
    """Returns number, sentence and excluded posts of each rule."""
    excluded = counts.excluded_posts(inputs)
    rows = []
    for reason, number in RULES.items():
        rows.append((number, reason.sentence, excluded.get(reason, 0)))
    return rows
