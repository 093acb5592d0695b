"""Section: a sortable table of every tag."""

from pipeline.report.sections.section import PageData, Values

TITLE = "Every tag"
LINK = "Tags"


def build(data: PageData) -> Values:
    """Returns the rows of per_tag.parquet."""
    return {"per_tag": data.inputs.per_tag.to_dicts()}
