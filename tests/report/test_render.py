"""The page as a whole: one valid file that requests nothing."""

import itertools
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from pipeline.paths import Paths
from pipeline.report import render
from pipeline.schemas.evaluation import PER_TAG
from tests.builders.project import ROOT
from tests.builders.report_inputs import make, written
from tests.builders.tables import set_value


def test_the_page_requests_nothing_from_any_host(html: str) -> None:
    assert not re.search(r"https?://", html)
    addresses = re.findall(r'(?:src|href|action|data|poster|srcset)="([^"]*)"', html)
    allowed = ("#", "data:image/jpeg;base64,", "gates/")
    assert [one for one in addresses if not one.startswith(allowed)] == []
    assert not re.search(r"@import|<link|<iframe|<object|fetch\(|XMLHttpRequest", html)
    assert [
        one for one in re.findall(r"url\(([^)]*)\)", html) if not one.startswith("#")
    ] == []


def test_same_inputs_give_the_same_bytes(
    html: str, good: Paths, tmp_path: Path
) -> None:
    assert written(make(Paths(tmp_path / "elsewhere"))) == html == written(good)
    assert str(good.root) not in html


def test_names_are_escaped(project: Paths) -> None:
    name = '<img src="x">&_"bébé"'
    set_value(
        project.evaluation / "per_tag.parquet",
        PER_TAG,
        "label_id",
        1,
        name=name,
    )
    html = written(project)
    assert "<img src=x" not in html.replace('"', "")
    assert "&lt;img src=&#34;x&#34;&gt;&amp;_&#34;bébé&#34;" in html


def test_the_page_is_well_formed(html: str) -> None:
    checker = Balanced()
    checker.feed(html)
    assert (checker.open, checker.wrong) == ([], [])
    assert [name for name, times in Counter(checker.ids).items() if times > 1] == []
    targets = {href[1:] for href in checker.links if href.startswith("#")}
    assert targets <= set(checker.ids)


def test_every_image_and_plot_has_a_text_in_its_place(html: str) -> None:
    images = re.findall(r"<img [^>]*>", html)
    assert images
    assert [one[-60:] for one in images if not re.search(r' alt="[^"]+"', one)] == []
    assert [one[:60] for one in images if "width=" not in one] == []
    plots = re.findall(r"<svg [^>]*>", html)
    assert plots
    assert [one for one in plots if not re.search(r' aria-label="[^"]+"', one)] == []


def test_headings_follow_each_other_without_a_gap(html: str) -> None:
    levels = [int(level) for level in re.findall(r"<h(\d)[ >]", html)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    steps = [after - before for before, after in itertools.pairwise(levels)]
    assert max(steps) == 1


def test_what_scrolls_can_be_reached_by_the_keyboard_and_has_a_name(
    html: str,
) -> None:
    scrolling = re.findall(r'<div class="scroll[^>]*>', html)
    assert len(scrolling) > 15
    for one in scrolling:
        assert 'tabindex="0"' in one
        assert re.search(r'role="group" aria-label="[^"]+"', one), one


class Balanced(HTMLParser):
    """Remembers elements that are not closed, ids and links."""

    VOID = frozenset({"meta", "img", "br", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opens an element."""
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if "href" in given else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Closes an element, which must be the last that was opened."""
        if self.open.pop() != tag:
            self.wrong.append(tag)


def test_every_section_is_linked_and_has_its_heading(html: str) -> None:
    for section in render.SECTIONS:
        name = render.module_name(section)
        assert f'<a href="#{name}">{section.LINK}</a>' in html
        assert f'<section id="{name}">\n<h2>{section.TITLE}</h2>' in html


def test_every_section_module_is_listed_and_has_a_template() -> None:
    folder = ROOT / "pipeline/report/sections"
    modules = {path.stem for path in folder.glob("*.py")}
    listed = {render.module_name(section) for section in render.SECTIONS}
    assert listed == modules - {"__init__", "section", "summary"}
    templates = {path.name for path in folder.glob("*.jinja")}
    assert templates == {f"{name}.html.jinja" for name in {*listed, "summary"}}
