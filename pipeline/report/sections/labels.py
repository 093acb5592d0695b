"""Section: labels that may be missing, and anomalies of the snapshot."""

from pipeline.report import data_quality
from pipeline.report.sections.section import PageData, Values

TITLE = "What the labels may lack"
LINK = "Labels"


def build(data: PageData) -> Values:
    """Returns missing implications, aliases in use, tag pairs and anomalies."""
    inputs = data.inputs
    return {
        "missing": data_quality.missing_implications(inputs),
        "aliases": data_quality.aliases_in_use(inputs),
        "pairs": data_quality.pairs(inputs),
        "anomalies": data_quality.anomalies(inputs),
    }
