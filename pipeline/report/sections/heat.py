"""Section: where in test images a tag was seen."""

from pipeline.report.sections.section import PageData, Values

TITLE = "Where a tag was seen"
LINK = "Heat maps"

KINDS = {
    "correct": "given and predicted",
    "missed": "given, missed",
    "wrong": "predicted, not given",
}
"""What became of a tag, in words."""


def build(data: PageData) -> Values:
    """Returns the images with their heat maps."""
    return {"mapped": data.mapped, "kinds": KINDS}
