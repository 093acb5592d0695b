"""What a section is, and what it is built from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.params import Params
from pipeline.report.examples import ExampleImage
from pipeline.report.inputs import Inputs

Values = Mapping[str, Any]
"""The names that the template of a section uses."""


@dataclass(frozen=True, slots=True)
class PageData:
    """Everything the page is made from."""

    params: Params
    inputs: Inputs
    examples: list[ExampleImage]


class Section(Protocol):
    """A module of this package. Its template is `<module name>.html.jinja`."""

    __name__: str

    TITLE: str
    """The heading."""

    LINK: str
    """The text of the link to it at the top of the page."""

    def build(self, data: PageData) -> Values:
        """Returns the values that the template shows."""
        ...
