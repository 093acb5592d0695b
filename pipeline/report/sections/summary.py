"""The top of the page: what was trained on what, and the metrics that count."""

from pipeline.metrics import catalogue
from pipeline.report import counts, lineage_text, metric_values
from pipeline.report.inputs import BESIDE
from pipeline.report.sections.section import PageData, Values


def build(data: PageData) -> Values:
    """Returns the values of the header, which is above all sections."""
    inputs = data.inputs
    return {
        "site": lineage_text.site(inputs),
        "pin": inputs.lineage["pin"],
        "pinned": lineage_text.pinned(inputs),
        "tags": inputs.vocabulary.height,
        "records": counts.records(inputs),
        "snapshot_posts": counts.snapshot_posts(inputs),
        "headline": metric_values.of_split(inputs, "test", catalogue.HEADLINE),
        "beside": metric_values.of_split(inputs, "test", BESIDE),
    }
