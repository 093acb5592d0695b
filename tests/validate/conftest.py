"""Good datasets for the tests of the gates."""

import shutil
from pathlib import Path

import pytest

from pipeline.paths import Paths
from tests.builders import tables


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """All seven datasets, good, never changed."""
    paths = Paths(tmp_path_factory.mktemp("good"))
    tables.write_all(paths)
    return paths


@pytest.fixture
def paths(good: Paths, tmp_path: Path) -> Paths:
    """A copy of the good datasets, to break."""
    shutil.copytree(good.root, tmp_path / "project")
    return Paths(tmp_path / "project")
