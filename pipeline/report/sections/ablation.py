"""Section: what each choice of `train` is worth, as `e6tag ablation` measured it."""

from pipeline import ablation_results
from pipeline.ablation import BASELINE
from pipeline.report import lineage_text
from pipeline.report.sections.section import PageData, Values

TITLE = "What each choice is worth"
LINK = "Ablation"


def build(data: PageData) -> Values:
    """Returns the runs of the baseline, and the differences by level."""
    inputs = data.inputs
    results = inputs.ablation
    sums = ablation_results.shards_digest(inputs.shards["sha256"])
    runs = {result.run for result in results}
    return {
        "site": lineage_text.site(inputs),
        "runs": len(runs),
        "baseline": [row for row in results if row.factor == BASELINE],
        "differences": ablation_results.differences(results),
        "on_other_shards": any(result.shards != sums for result in results),
    }
