"""Puts the header and the sections together into one HTML file.

The page requests nothing from any host.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import templates
from pipeline.report.formats import FILTERS
from pipeline.report.sections import (
    ablation,
    augmented,
    choice,
    evaluation,
    gates,
    heat,
    images,
    labels,
    leakage,
    lineage,
    mining,
    politeness,
    resources,
    rules,
    sample,
    sizes,
    slices,
    summary,
    tags,
    takedowns,
    training,
)
from pipeline.report.sections.section import PageData, Section

if TYPE_CHECKING:
    import jinja2

GROUPS: dict[str, tuple[Section, ...]] = {
    "Run": (gates, resources),
    "Data": (sample, choice, sizes, labels, leakage),
    "Model": (augmented, training, evaluation, slices, tags, ablation),
    "Images": (images, heat, mining),
    "Origin": (lineage, rules, takedowns, politeness),
}
"""The sections of the page, in order, under the headings of the list of sections."""

SECTIONS = tuple(section for group in GROUPS.values() for section in group)

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class RenderedSection:
    """A section as the layout places it. `name` is its anchor."""

    name: str
    title: str
    link: str
    html: str


@dataclass(frozen=True, slots=True)
class Group:
    """Sections under one heading of the list of sections."""

    title: str
    sections: list[RenderedSection]


def page(data: PageData) -> str:
    """Returns index.html."""
    layout = _environment().get_template("layout.html.jinja")
    rendered = {}
    # Last the section that waits for the training batch.
    for section in sorted(SECTIONS, key=lambda section: section is augmented):
        rendered[module_name(section)] = render_section(section, data)
    groups = []
    for title, sections in GROUPS.items():
        names = [module_name(section) for section in sections]
        groups.append(Group(title, [rendered[name] for name in names]))
    return layout.render(
        summary.build(data),
        groups=groups,
        script=_read("page.js"),
        style=_read("style.css"),
    )


@cache
def _environment() -> "jinja2.Environment":
    """Returns the templates; parsed once where a process makes several pages."""
    environment = templates.environment(_HERE)
    environment.filters |= FILTERS
    return environment


def render_section(section: Section, data: PageData) -> RenderedSection:
    """Returns one section of the page."""
    name = module_name(section)
    template = _environment().get_template(f"sections/{name}.html.jinja")
    html = template.render(section.build(data))
    return RenderedSection(name, section.TITLE, section.LINK, html)


def module_name(section: Section) -> str:
    """Returns the last part of a section module's name."""
    return section.__name__.rpartition(".")[2]


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
