"""What a section is, and what it is built from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.params import Params
from pipeline.report.examples import Examples
from pipeline.report.heatmaps import MappedImage
from pipeline.report.inputs import Inputs
from pipeline.report.training_batch import Batch

Values = Mapping[str, Any]
"""The names that the template of a section uses."""


class PendingBatch(Protocol):
    """A training batch that may still be being drawn."""

    def result(self) -> Batch:
        """Waits for the batch."""
        ...


@dataclass(frozen=True, slots=True)
class PageData:
    """Everything the page is made from."""

    params: Params
    inputs: Inputs
    examples: Examples
    mapped: Sequence[MappedImage]
    training_batch: PendingBatch


class Section(Protocol):
    """A module of this package. Its template is `<module name>.html.jinja`."""

    __name__: str

    TITLE: str
    """The heading."""

    LINK: str
    """The text of the link to it in the list of sections."""

    def build(self, data: PageData) -> Values:
        """Returns the values that the template shows."""
        ...
