"""axe on the report: installed by `make clients`."""

import json
from pathlib import Path

import pytest
from PIL import Image

from pipeline import report
from pipeline.paths import Paths
from pipeline.report import inputs, thumbnails
from pipeline.report.sections.section import PendingBatch
from pipeline.report.training_batch import Batch, Input
from tests.builders import axe
from tests.builders.browser import CHROMIUM, opened_page
from tests.builders.report_inputs import make
from tests.builders.tables import PARAMS, write_json
from tests.report.sections import test_mining, test_slices


class DrawnBatch:
    """A training batch of one image."""

    def result(self) -> Batch:
        """Returns it."""
        image = thumbnails.encode(Image.new("RGB", (96, 96), (200, 60, 60)))
        return Batch([Input(1, image, [("fox", 1.0)])], 96, "train-0.tfrecord")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every part."""
    paths = make(Paths(tmp_path_factory.mktemp("report")))
    test_slices.write(paths, test_slices.ROW)
    test_mining.write(paths, [test_mining.PROPOSAL], [test_mining.NOISE])
    write_json(paths.resources, {"train": {"seconds": 300.0, "peak_bytes": 10**9}})
    batch: PendingBatch = DrawnBatch()
    html = report.make_page(PARAMS, paths, inputs.read(paths), batch)
    target = paths.root / "index.html"
    target.write_text(html, encoding="utf-8")
    return target


@pytest.mark.skipif(not axe.SCRIPT.exists(), reason="axe is missing: make clients")
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
async def test_axe_finds_no_barrier_in_the_report(
    index: Path, scheme: str, width: int
) -> None:
    async with opened_page(index.as_uri()) as page:
        await page.prefer(scheme)
        await page.resize(width, 900)
        found = await axe.violations(page)
    assert found == [], json.dumps(found, indent=1)
