"""The page in a real browser: drop an image, see its tag."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.builders import toy_images
from tests.builders.browser import CHROMIUM, Page, opened_page
from tests.builders.tag_server import Server, serving
from tests.builders.toy_images import BLUE, RED

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


@pytest.fixture
async def page(server: Server) -> AsyncIterator[Page]:
    async with opened_page(server.url) as opened:
        yield opened


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """Wide, so that the network sees it between bars of white."""
    path = tmp_path / "red.png"
    path.write_bytes(toy_images.image(RED, size=(320, 200)))
    return path


@pytest.fixture
def blue(tmp_path: Path) -> Path:
    return toy_images.write(tmp_path / "blue.jpg", BLUE)


READ = "document.querySelectorAll('.image:not([aria-busy])').length"


def tag(name: str) -> str:
    return f'.tag[data-tag="{name}"]'


async def tags(page: Page) -> list[str]:
    return await page.run(
        "[...document.querySelectorAll('.tag')].map((one) => one.dataset.tag)"
    )


async def test_dropped_image_shows_its_tag_and_nothing_leaves_the_machine(
    server: Server, page: Page, red: Path
) -> None:
    await page.drop(red)
    await page.until(f"{READ} === 1")
    assert await tags(page) == ["red"]
    assert await page.text("h3") == "General"
    assert "red.png: 1 tag" in await page.text("#status")
    assert page.problems == []
    for url in page.requests:
        assert url.startswith((server.url, f"blob:{server.url}")), url


async def test_chosen_images_are_shown_newest_first(
    page: Page, red: Path, blue: Path
) -> None:
    await page.choose("#files", red, blue)
    await page.until(f"{READ} === 2")
    assert await tags(page) == ["blue_fox", "red"]


async def test_pasted_image_shows_its_tag(page: Page) -> None:
    body = list(toy_images.image(BLUE))
    await page.run(
        f"(() => {{ const data = new DataTransfer();"
        f"data.items.add(new File([new Uint8Array({json.dumps(body)})], 'a.png'));"
        "document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data}));"
        "})()"
    )
    await page.until(f"{READ} === 1")
    assert await tags(page) == ["blue_fox"]


async def test_file_that_is_no_image_says_so(page: Page, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("words")
    await page.drop(tmp_path / "words.txt")
    await page.until(f"{READ} === 1")
    assert "Not an image" in await page.text(".message")


async def test_threshold_is_moved_and_reset_by_keyboard(page: Page, red: Path) -> None:
    await page.drop(red)
    await page.until(f"{READ} === 1")
    assert await page.text("#threshold-text") == "each tag's own"
    await page.run("document.querySelector('#threshold').focus()")
    await page.press("Home", 36)
    assert await page.text("#threshold-text") == "0 % for all"
    assert set(await tags(page)) == {"red", "blue_fox", "green_(colour)", ":3"}
    await page.press("End", 35)
    assert await tags(page) == []
    assert await page.text(".message") == "No tag reaches the threshold."
    await page.press("Tab", 9)
    await page.press("Enter", 13, text="\r")
    assert await tags(page) == ["red"]
    assert await page.text("#threshold-text") == "each tag's own"


HEAT = """
(() => {
  const canvas = document.querySelector('.heatmap.shown');
  const at = (x, y) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data];
  return [canvas.dataset.tag, at(canvas.width / 2, canvas.height / 2), at(1, 1)];
})()
"""


@pytest.mark.parametrize("how", ["hover", "focus"])
async def test_tag_that_is_meant_shows_its_heatmap(
    page: Page, red: Path, how: str
) -> None:
    await page.drop(red)
    await page.until(f"{READ} === 1 && document.querySelector('.frame img').complete")
    if how == "hover":
        await page.hover(tag("red"))
    else:
        await page.run(f"document.querySelector('{tag('red')}').focus()")
    await page.until("document.querySelector('.heatmap.shown')")
    name, middle, corner = await page.run(HEAT)
    assert name == "red"
    # Warm in the middle; towards the white bars there is less heat.
    assert middle[0] > 200
    assert middle[0] >= corner[0]
    assert len([url for url in page.requests if "heatmap" in url]) == 1


async def test_heatmap_stays_where_the_tag_is_pressed(page: Page, red: Path) -> None:
    await page.drop(red)
    await page.until(f"{READ} === 1 && document.querySelector('.frame img').complete")
    await page.click(tag("red"))
    await page.until("document.querySelector('.heatmap.shown')")
    await page.hover("h1")
    await page.run("document.activeElement.blur()")
    await page.run("new Promise((done) => setTimeout(done, 300))")
    assert (
        await page.run(f"document.querySelector('{tag('red')}').ariaPressed") == "true"
    )
    assert await page.run("document.querySelector('.heatmap.shown') !== null")


async def test_tags_are_copied_as_text(page: Page, blue: Path) -> None:
    # The clipboard of a browser without a window needs a permission to be read.
    await page.run(
        "navigator.clipboard.writeText = async (text) => { window.copied = text; }"
    )
    await page.drop(blue)
    await page.until(f"{READ} === 1")
    await page.click(".copy")
    await page.until("window.copied")
    assert await page.run("window.copied") == "blue_fox"
    assert "copied" in await page.text("#status")


async def test_image_is_removed(page: Page, red: Path, blue: Path) -> None:
    await page.drop(red, blue)
    await page.until(f"{READ} === 2")
    await page.click(".remove")
    assert await tags(page) == ["red"]
    await page.click(".remove")
    assert await page.run("document.activeElement.id") == "files"


async def answer_busy(page: Page, seconds: float) -> None:
    """Lets the server be busy from now on, and counts what it is asked."""
    await page.run(
        "window.asked = 0;"
        "window.fetch = async (address, { signal }) => {"
        "  signal.throwIfAborted();"
        "  window.asked += 1;"
        '  return new Response(\'{"error": {"message": "It is busy."}}\', {'
        f"    status: 503, headers: {{ 'Retry-After': '{seconds}' }} }});"
        "};"
    )


async def test_busy_server_is_given_up_after_a_while(page: Page, red: Path) -> None:
    await answer_busy(page, 0.001)
    await page.drop(red)
    await page.until(f"{READ} === 1")
    assert await page.text(".message") == "It is busy."
    assert 1 < await page.run("window.asked") < 100


async def test_nothing_is_asked_of_an_image_that_was_removed(
    page: Page, red: Path
) -> None:
    await answer_busy(page, 0.1)
    await page.drop(red)
    await page.until("window.asked > 0")
    await page.click(".remove")
    asked = await page.run("window.asked")
    await page.run("new Promise((done) => setTimeout(done, 400))")
    assert await page.run("window.asked") == asked
    assert await page.text("#status") == "red.png removed."
    assert page.problems == []


@pytest.mark.parametrize("width", [390, 800, 1440])
async def test_nothing_is_wider_than_the_window(
    page: Page, red: Path, width: int
) -> None:
    await page.resize(width, 800)
    await page.drop(red)
    await page.until(f"{READ} === 1")
    assert await page.run("document.documentElement.scrollWidth") <= width


async def test_similar_images_of_an_index_are_shown(
    toy: Path, tmp_path: Path, blue: Path
) -> None:
    pytest.importorskip("usearch")
    from tests.builders.e6tag_command import run

    for colour in (RED, BLUE):
        toy_images.write(tmp_path / "known" / f"{colour}.png", colour)
    done = run(
        "embed", "known", "--output", "known.parquet", folder=tmp_path, bundle=toy
    )
    assert done.returncode == 0, done.stderr
    with serving(toy, "--index", tmp_path / "known.parquet") as server:
        async with opened_page(server.url) as page:
            await page.drop(blue)
            await page.until(f"{READ} === 1")
            await page.click(".similar")
            await page.until("document.querySelectorAll('.neighbours li').length === 2")
            assert await page.text(".neighbour-name") == "blue.png"
            await page.until(
                "[...document.querySelectorAll('.neighbours img')]"
                ".every((one) => one.complete && one.naturalWidth > 0)"
            )
            assert page.problems == []
