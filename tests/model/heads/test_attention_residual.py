"""The hobby project's head: its size, its first output, and that it learns."""

from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest

# Keras hands its variables to h5py, and tf2onnx makes arrays, in ways that NumPy 2 asks
# to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)


@pytest.fixture(params=["sum", "concat"])
def join(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def network(networks: ModuleType, join: str) -> Any:
    """A small network with this head."""
    return build(networks, join)


def build(networks: ModuleType, join: str) -> Any:
    from pipeline.model.heads import attention_residual

    head = partial(attention_residual.logits, join=join)
    return networks.network(networks.two_convolutions, head)


@pytest.mark.parametrize(
    ("tags", "channels", "side"), [(3, 5, 1), (7, 16, 2), (40, 24, 3)]
)
def test_costs_are_those_of_the_page(
    networks: ModuleType,
    heads_page: dict[str, Any],
    join: str,
    tags: int,
    channels: int,
    side: int,
) -> None:
    import keras

    from pipeline.model.heads import attention_residual

    features = networks.feature_map(side, channels)
    bias = np.zeros(tags, np.float32)
    outputs = attention_residual.logits(features, bias=bias, join=join)
    head = keras.Model(features, outputs)
    cost = heads_page["attention_residual"](tags, channels, side**2, join=join)
    assert outputs.shape == (None, tags)
    assert head.count_params() == cost.parameters
    assert networks.multiply_adds(head) == cost.multiply_adds


def test_another_join_is_refused(networks: ModuleType) -> None:
    with pytest.raises(KeyError, match="product"):
        build(networks, "product")


def test_every_position_counts(networks: ModuleType, network: Any) -> None:
    networks.randomised(network)
    images = np.repeat(networks.noise(1), 2, axis=0)
    images[1] = np.roll(images[1], networks.SIZE // 2, axis=0)
    one, other = networks.logits(network, images)
    assert np.abs(one - other).min() > 1e-3


def test_gradient_reaches_every_weight_but_the_bias_of_keys(
    networks: ModuleType, network: Any
) -> None:
    """That one adds the same to all scores of a query: the softmax takes it out."""
    found = networks.gradients(networks.randomised(network))
    dead = {path for path, size in found.items() if size < 1e-6}
    assert dead == {"attention/key/bias"}
