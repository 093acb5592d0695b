"""The page in Chromium: no request, tables that are searched and sorted by keyboard."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import polars as pl
import pytest

from pipeline import parquet
from pipeline.paths import Paths
from pipeline.report.sections import tags
from pipeline.schemas.evaluation import PER_TAG
from tests.builders.browser import CHROMIUM, Page, opened_page
from tests.builders.report_inputs import make, written
from tests.report.sections import test_mining

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

ROWS = "[...document.querySelectorAll('#tags tbody tr')]"
NAMES = f"{ROWS}.map((row) => row.cells[0].textContent)"
STATUS = "#tags [role=status]"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page whose table of tags has three pages of one tag each."""
    paths = make(Paths(tmp_path_factory.mktemp("browser")))
    path = paths.evaluation / "per_tag.parquet"
    rows = parquet.read(path).with_columns(
        category=pl.Series(["general", "species", "species"]),
        train_positives=pl.Series([1_000, 20, 300]),
        average_precision=pl.Series([0.5, None, 0.25]),
    )
    parquet.write(path, rows, PER_TAG)
    queue = [test_mining.PROPOSAL | {"post_id": post_id} for post_id in (28, 9, 100)]
    test_mining.write(paths, queue, [test_mining.NOISE])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tags, "PAGE", 1)
        html = written(paths)
    target = paths.root / "index.html"
    target.write_text(html, encoding="utf-8")
    return target


@pytest.fixture
async def page(index: Path) -> AsyncIterator[Page]:
    """The page, opened from the disk."""
    async with opened_page(index.as_uri()) as opened:
        yield opened


async def test_the_page_requests_nothing_and_breaks_no_policy(
    page: Page, index: Path
) -> None:
    requests = [one for one in page.requests if not one.startswith("data:")]
    assert requests == [index.as_uri()]
    assert page.problems == []


async def test_the_table_of_tags_is_turned_searched_and_filtered(page: Page) -> None:
    assert await page.run(NAMES) == ["canine"]
    assert await page.text(STATUS) == "1 to 1 of 3 tags"
    await page.click("#tags [data-step='1']")
    assert await page.run(NAMES) == ["fox"]
    await page.click("#tags input")
    await page.call("Input.insertText", text="HAT")
    assert await page.run(NAMES) == ["hat"]
    assert await page.text(STATUS) == "1 tags"
    await page.run(
        "(() => { const list = document.querySelector('#tags select');"
        "list.value = 'general'; list.dispatchEvent(new Event('change')); })()"
    )
    assert await page.run(NAMES) == []


async def test_columns_are_sorted_by_keyboard_as_numbers(page: Page) -> None:
    head = "#tags th[data-kind]:nth-child(3)"
    await page.run(f"document.querySelector({json.dumps(head + ' button')}).focus()")
    sort = f"document.querySelector({json.dumps(head)}).getAttribute('aria-sort')"
    await page.press("Enter", 13, text="\r")
    assert await page.run(sort) == "descending"
    assert await page.run(NAMES) == ["canine"]  # 1,000 is more than 300
    await page.press("Enter", 13, text="\r")
    assert await page.run(sort) == "ascending"
    assert await page.run(NAMES) == ["fox"]


async def test_a_tag_without_a_metric_comes_last_either_way(page: Page) -> None:
    heads = "[...document.querySelectorAll('#tags th[data-kind]')]"
    button = f"{heads}[5].querySelector('button')"
    assert await page.run(f"{heads}[5].textContent") == "model"
    for expected in (["canine"], ["hat"]):
        await page.run(f"{button}.click()")
        assert await page.run(NAMES) == expected
        await page.click("#tags [data-step='1']")
        await page.click("#tags [data-step='1']")
        assert await page.run(NAMES) == ["fox"]


async def test_posts_are_sorted_by_their_number(page: Page) -> None:
    await page.click("#mining th[data-kind] button")
    cells = "[...document.querySelectorAll('#mining .data-table tbody th')]"
    posts = await page.run(f"{cells}.map((cell) => cell.textContent)")
    assert posts == ["9", "28", "100"]


async def test_the_first_stop_of_the_keyboard_skips_to_the_content(page: Page) -> None:
    await page.press("Tab", 9)
    focused = "document.activeElement"
    assert await page.run(f"{focused}.textContent") == "Skip to the content"
    assert await page.run(f"{focused}.getBoundingClientRect().top >= 0")
    await page.press("Enter", 13, text="\r")
    assert await page.run(f"{focused}.id") == "content"


@pytest.mark.parametrize("width", [390, 1440])
async def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    await page.resize(width, 900)
    assert await page.run("document.documentElement.scrollWidth") <= width
