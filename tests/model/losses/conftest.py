"""Starts Keras, which modules of losses import at their top."""

import pytest

from pipeline.model import backend


@pytest.fixture(scope="session", autouse=True)
def keras_started() -> None:
    backend.start("tensorflow")
