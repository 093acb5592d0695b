"""Section: how near the test images are to the training images."""

from pipeline.report import data_quality, plots
from pipeline.report.sections.section import PageData, Values

TITLE = "Could the test have leaked?"
LINK = "Leakage"


def build(data: PageData) -> Values:
    """Returns the medians and shares, and the plot of the distances."""
    near = data_quality.NEAR
    return {
        "leakage": data_quality.leakage(data.inputs),
        "near": near,
        "plot": plots.leakage(data.inputs.leakage, near),
    }
