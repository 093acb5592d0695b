"""Puts the header and the sections together into one HTML file.

The page requests nothing from any host.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import templates
from pipeline.params import Params
from pipeline.report.examples import ExampleImage
from pipeline.report.formats import FILTERS
from pipeline.report.inputs import Inputs
from pipeline.report.sections import (
    choice,
    evaluation,
    gates,
    images,
    labels,
    leakage,
    lineage,
    politeness,
    rules,
    sample,
    summary,
    tags,
    takedowns,
    training,
)
from pipeline.report.sections.section import PageData, Section

if TYPE_CHECKING:
    import jinja2

SECTIONS: tuple[Section, ...] = (
    gates,
    sample,
    choice,
    labels,
    leakage,
    training,
    evaluation,
    tags,
    images,
    lineage,
    rules,
    takedowns,
    politeness,
)
"""The sections of the page, in order."""

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class RenderedSection:
    """A section as the layout places it. `name` is its anchor."""

    name: str
    title: str
    link: str
    html: str


def page(params: Params, inputs: Inputs, examples: list[ExampleImage]) -> str:
    """Returns index.html."""
    data = PageData(params, inputs, examples)
    environment = templates.environment(_HERE)
    environment.filters |= FILTERS
    layout = environment.get_template("layout.html.jinja")
    return layout.render(
        summary.build(data),
        sections=[_render(environment, section, data) for section in SECTIONS],
        script=_read("sort.js"),
        style=_read("style.css"),
    )


def _render(
    environment: "jinja2.Environment", section: Section, data: PageData
) -> RenderedSection:
    name = module_name(section)
    template = environment.get_template(f"sections/{name}.html.jinja")
    html = template.render(section.build(data))
    return RenderedSection(name, section.TITLE, section.LINK, html)


def module_name(section: Section) -> str:
    """Returns the last part of a section module's name."""
    return section.__name__.rpartition(".")[2]


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
