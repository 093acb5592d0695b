"""What holds for every head that has weights of its own beside the tags'."""

import importlib
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

# Keras hands its variables to h5py, and tf2onnx makes arrays, in ways that NumPy 2 asks
# to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)


class Head(NamedTuple):
    """A head's module, its arguments, and a layer that computes in the precision."""

    module: str
    arguments: dict[str, Any]
    layer: str


SMALL = {"width": 16, "heads": 2}

# Of 6 tags: a query each, and 3 queries of 2.
HEADS = {
    "sum": Head("attention_residual", {"join": "sum"}, "squeezed"),
    "concat": Head("attention_residual", {"join": "concat"}, "squeezed"),
    "own queries": Head("queries", {"most_queries": 256, **SMALL}, "queries"),
    "grouped queries": Head("queries", {"most_queries": 4, **SMALL}, "queries"),
}


@pytest.fixture(params=HEADS.values(), ids=HEADS.keys())
def head(request: pytest.FixtureRequest) -> Head:
    return Head(*request.param)


@pytest.fixture
def network(networks: ModuleType, head: Head) -> Any:
    """A small network with the head."""
    return build(networks, head)


def build(networks: ModuleType, head: Head) -> Any:
    module = importlib.import_module(f"pipeline.model.heads.{head.module}")
    logits = partial(module.logits, **head.arguments)
    return networks.network(networks.two_convolutions, logits)


def test_first_logits_are_the_log_odds(networks: ModuleType, network: Any) -> None:
    found = networks.logits(network, networks.noise())
    assert np.array_equal(found, np.tile(networks.BIAS, (3, 1)))


def test_saved_network_is_the_same_and_needs_no_code_of_ours(
    networks: ModuleType, network: Any, tmp_path: Path
) -> None:
    networks.randomised(network)
    again = networks.loaded_again(network, tmp_path / "model.keras")
    assert np.array_equal(*networks.logits_of_both(network, again))
    assert networks.foreign_classes(network) == []


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_float32_logits(
    networks: ModuleType, network: Any, head: Head, policy: str
) -> None:
    with networks.dtype_policy(policy):
        mixed = build(networks, head)
    assert mixed.get_layer(head.layer).compute_dtype in policy
    mixed.set_weights(networks.randomised(network).get_weights())
    expected, found = networks.logits_of_both(network, mixed)
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=0.1)


def test_onnx_gives_the_same_probabilities(networks: ModuleType, network: Any) -> None:
    networks.randomised(network)
    assert networks.onnx_difference(network) < 1e-4


def test_toy_images_are_learnt(networks: ModuleType, network: Any) -> None:
    assert networks.mistakes(network) == 0
