"""A project with all that the report reads, and its page."""

import shutil
from pathlib import Path

import pytest

from pipeline.paths import Paths
from tests.builders.report_inputs import make, written


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Returns a project that no test changes."""
    return make(Paths(tmp_path_factory.mktemp("good")))


@pytest.fixture(scope="session")
def html(good: Paths) -> str:
    """Returns its page."""
    return written(good)


@pytest.fixture
def project(good: Paths, tmp_path: Path) -> Paths:
    """Returns a copy without page, to break."""
    shutil.copytree(good.data, tmp_path / "data")
    return Paths(tmp_path)
