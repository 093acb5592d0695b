"""Section: test images with their labels and predictions."""

from pipeline.report import counts
from pipeline.report.examples import MAX_TAGS
from pipeline.report.sections.section import PageData, Values

TITLE = "Test images"
LINK = "Test images"


def build(data: PageData) -> Values:
    """Returns the example images, and how many test records there are."""
    return {
        "examples": data.examples,
        "test_records": counts.records(data.inputs).get("test", 0),
        "max_tags": MAX_TAGS,
    }
