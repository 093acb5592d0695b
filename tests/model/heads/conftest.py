"""Fixtures: what docs/heads.md says about the cost of heads."""

import runpy
from typing import Any

import pytest

from tests.builders.project import ROOT


@pytest.fixture(scope="session")
def heads_page() -> dict[str, Any]:
    """The functions of docs/heads.py."""
    return runpy.run_path(str(ROOT / "docs" / "heads.py"))
