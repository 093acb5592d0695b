"""axe-core, which finds what bars people from a page: installed by `make clients`."""

import os
from pathlib import Path
from typing import Any

from tests.builders.browser import Page
from tests.builders.project import ROOT

CLIENTS = Path(os.environ.get("E6TAG_CLIENTS", ROOT / ".clients"))
"""The folder of what is only installed to test with."""

SCRIPT = CLIENTS / "axe/node_modules/axe-core/axe.min.js"


async def violations(page: Page) -> list[Any]:
    """Returns each rule that a page breaks, with the elements that break it."""
    await page.run(SCRIPT.read_text())
    found: list[Any] = await page.run(
        "axe.run({resultTypes: ['violations']}).then(({violations}) => "
        "violations.map(({id, nodes}) => [id, nodes.map(({html}) => html)]))"
    )
    return found
