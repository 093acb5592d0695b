"""What all tests of the client need."""

from pathlib import Path

import pytest

from pipeline.paths import Paths


@pytest.fixture(autouse=True)
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """An empty project; locks of real sites lie beside it.

    So tests do not meet.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Paths(tmp_path / "project")
