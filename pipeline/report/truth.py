"""What is truly in an image: known of the sandbox, which draws its images."""

from pipeline.params.site import Site
from pipeline.report.examples import Truth
from pipeline.report.inputs import Inputs
from pipeline.site import boards


def open_truth(site: Site, inputs: Inputs) -> Truth | None:
    """Returns what is true of a post's image, None where nobody knows.

    site: of params.yaml, which must name the site that the snapshot is from.
    """
    if inputs.lineage["pin"].get("site") != site.name:
        return None
    return boards.open_truth(site)
