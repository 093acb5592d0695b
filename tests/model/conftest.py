"""Fixtures: Keras on TensorFlow, started by the first test that needs it."""

from types import ModuleType

import pytest

from pipeline.model import backend


@pytest.fixture(scope="session")
def networks() -> ModuleType:
    """tests.builders.networks, which imports Keras."""
    backend.start("tensorflow")
    from tests.builders import networks

    return networks
