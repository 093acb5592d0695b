"""schemathesis on the API, axe on the page: installed by `make clients`.

Their folder is .clients, or what E6TAG_CLIENTS names.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import axe, toy_bundle, toy_images
from tests.builders.axe import CLIENTS
from tests.builders.browser import CHROMIUM, opened_page
from tests.builders.e6tag_command import run
from tests.builders.tag_server import Server, serving
from tests.builders.toy_images import BLUE, RED

SCHEMATHESIS = CLIENTS / "schemathesis/bin/schemathesis"
HOW = "is missing: run make clients"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images."""
    folder = tmp_path_factory.mktemp("images")
    for colour in (RED, BLUE):
        toy_images.write(folder / f"{colour}.png", colour)
    return folder


@pytest.fixture(scope="module")
def server(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an index."""
    folder = tmp_path_factory.mktemp("served")
    bundle = toy_bundle.write_bundle(folder / "bundle", uncertainty=True)
    index = folder / "index.parquet"
    done = run("embed", images, "--output", index, folder=folder, bundle=bundle)
    assert done.returncode == 0, done.stderr
    with serving(bundle, "--index", index) as started:
        yield started


@pytest.mark.skipif(not SCHEMATHESIS.exists(), reason=f"schemathesis {HOW}")
def test_schemathesis_finds_no_fault(
    server: Server, images: Path, tmp_path: Path
) -> None:
    variables = {
        **os.environ,
        "E6TAG_IMAGES": str(images),
        "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    command = [SCHEMATHESIS, "run", f"{server.url}openapi.json", "--mode", "all",
               "--max-examples", "50", "--seed", "621"]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not axe.SCRIPT.exists(), reason=f"axe-core {HOW}")
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
async def test_axe_finds_no_barrier(
    server: Server, images: Path, tmp_path: Path, scheme: str, width: int
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("words")
    async with opened_page(server.url) as page:
        await page.prefer(scheme)
        await page.resize(width, 900)
        await page.drop(images / "blue.png", words, images / "red.png")
        await page.until(
            "document.querySelectorAll('.image:not([aria-busy])').length === 3"
        )
        await page.click(".similar")
        await page.until("document.querySelectorAll('.neighbours li').length === 2")
        found = await axe.violations(page)
    assert found == [], json.dumps(found, indent=1)
