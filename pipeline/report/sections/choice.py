"""Section: what each sampling strategy would select, and which one was chosen."""

from typing import Any

from pipeline.params.site import DEFAULT_REQUESTS_PER_SECOND
from pipeline.report.inputs import Inputs
from pipeline.report.sections.lineage import parameters
from pipeline.report.sections.section import PageData, Values

TITLE = "How the posts were chosen"
LINK = "Choice of posts"

STRATEGIES = {
    "cover": "cover: few posts that serve every tag",
    "quota": "quota: the newest, each for its rarest tag",
    "natural": "natural: posts by chance",
    "sample": "the sample, as written",
    "all_candidates": "every candidate",
}
"""Rows of strategies.parquet in words."""


def build(data: PageData) -> Values:
    """Returns the strategies, and the bound on tags per post where there is one."""
    sample = parameters(data.inputs, data.params)["sample"]
    return {
        "strategies": strategies(data.inputs),
        "tag_bound": sample.get("tag_bound"),
        # The hours of strategies.parquet are at this rate, whatever the site's is.
        "requests_per_second": DEFAULT_REQUESTS_PER_SECOND,
    }


def strategies(inputs: Inputs) -> list[dict[str, Any]]:
    """Returns the rows of strategies.parquet with `words`, ordered as STRATEGIES."""
    by_name = {row["strategy"]: row for row in inputs.strategies.to_dicts()}
    rows = []
    for name, words in STRATEGIES.items():
        if name in by_name:
            rows.append({"words": words, **by_name[name]})
    return rows
