"""Learned queries: how they share tags, their first output, and that they learn."""

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

# Of 6 tags: one each, and 3 queries of 2; 5 tags would be 2 and 2 and 1.
LIMITS = [pytest.param(256, id="own"), pytest.param(4, id="grouped")]


@pytest.fixture(params=LIMITS)
def most_queries(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def network(networks: ModuleType, most_queries: int) -> Any:
    """A small network with this head."""
    return build(networks, most_queries)


def build(networks: ModuleType, most_queries: int, **changes: Any) -> Any:
    from pipeline.model.heads import queries

    small = {"width": 16, "heads": 2, "most_queries": most_queries} | changes
    head = partial(queries.logits, **small)
    return networks.network(networks.two_convolutions, head)


@pytest.mark.parametrize(
    ("tags", "most", "expected"),
    [
        pytest.param(1, 256, (1, 1), id="one tag"),
        pytest.param(256, 256, (256, 1), id="at the limit"),
        pytest.param(257, 256, (129, 2), id="one above the limit"),
        pytest.param(1_024, 256, (256, 4), id="all groups full"),
        pytest.param(1_000, 300, (250, 4), id="fewer queries than the limit"),
        pytest.param(5, 4, (3, 2), id="the last group has a place without a tag"),
        pytest.param(5, 1, (1, 5), id="one query"),
    ],
)
def test_tags_share_queries_only_beyond_the_limit(
    networks: ModuleType, tags: int, most: int, expected: tuple[int, int]
) -> None:
    from pipeline.model.heads import queries

    assert queries.grouping(tags, most) == expected


@pytest.mark.parametrize(
    ("tags", "channels", "side", "width", "most"),
    [(3, 5, 1, 8, 256), (7, 16, 2, 12, 3), (300, 24, 3, 128, 256)],
)
def test_costs_are_those_of_the_page(
    networks: ModuleType,
    heads_page: dict[str, Any],
    tags: int,
    channels: int,
    side: int,
    width: int,
    most: int,
) -> None:
    import keras

    from pipeline.model.heads import queries

    features = networks.feature_map(side, channels)
    bias = np.zeros(tags, np.float32)
    outputs = queries.logits(features, bias=bias, width=width, most_queries=most)
    head = keras.Model(features, outputs)
    cost = heads_page["queries"](
        tags, channels, side**2, width=width, most_queries=most
    )
    assert outputs.shape == (None, tags)
    assert head.count_params() == cost.parameters
    assert networks.multiply_adds(head) == cost.multiply_adds


def test_parameters_are_linear_in_tags(heads_page: dict[str, Any]) -> None:
    sizes = [
        heads_page["queries"](tags, 2_048, 49).parameters
        for tags in (8_192, 16_384, 24_576, 32_768)
    ]
    # Each tag has its own weights: of its query's answer, of the average, and a bias.
    assert set(np.diff(sizes)) == {8_192 * (128 + 2_048 + 1)}


def test_width_is_a_multiple_of_heads(networks: ModuleType) -> None:
    with pytest.raises(ValueError, match="width 16 is no multiple of heads 3"):
        build(networks, 256, heads=3)


def test_a_query_answers_for_tags_that_follow_each_other(networks: ModuleType) -> None:
    network = networks.randomised(build(networks, 4))
    images = networks.noise()
    before = networks.logits(network, images)
    decode = network.get_layer("tags_of_queries")
    kernel = np.asarray(decode.kernel)
    kernel[1] += 1
    decode.kernel.assign(kernel)
    changed = (networks.logits(network, images) != before).any(axis=0)
    assert changed.tolist() == [False, False, True, True, False, False]


def test_average_is_added(networks: ModuleType) -> None:
    network = networks.randomised(build(networks, 256))
    images = networks.noise()
    before = networks.logits(network, images)
    tags = network.get_layer("tags")
    tags.bias.assign(np.asarray(tags.bias) + 2)
    assert networks.logits(network, images) == pytest.approx(before + 2, abs=1e-5)


def test_each_query_looks_at_positions_of_its_own(networks: ModuleType) -> None:
    import keras

    network = networks.randomised(build(networks, 256))
    attention = keras.Model(network.input, network.get_layer("attention").output)
    weights = networks.logits(attention, networks.noise())
    assert weights.shape == (3, 2, len(networks.TAGS), 16)
    assert weights.sum(axis=-1) == pytest.approx(1, abs=1e-5)
    between_positions = weights.max(axis=-1) - weights.min(axis=-1)
    between_queries = weights.max(axis=2) - weights.min(axis=2)
    assert between_positions.min() > 1e-3
    assert between_queries.min() > 1e-3


def test_dropout_acts_in_training_alone(networks: ModuleType) -> None:
    network = networks.randomised(build(networks, 256, dropout=0.5))
    images = networks.noise()
    first, second = (np.asarray(network(images, training=True)) for _ in range(2))
    assert not np.allclose(first, second)
    assert np.array_equal(
        networks.logits(network, images), networks.logits(network, images)
    )


def test_onnx_cuts_places_without_a_tag(networks: ModuleType) -> None:
    from pipeline.model.heads import queries

    head = partial(queries.logits, width=16, heads=2, most_queries=4)
    bias = networks.BIAS[:5]
    network = networks.network(networks.two_convolutions, head, bias)
    networks.randomised(network)
    assert networks.logits(network, networks.noise()).shape == (3, 5)
    assert networks.onnx_difference(network) < 1e-4


def test_gradient_reaches_every_weight(networks: ModuleType, network: Any) -> None:
    found = networks.gradients(networks.randomised(network))
    assert {path for path, size in found.items() if size < 1e-6} == set()


def test_queries_learn_where_the_average_is_taken_away(networks: ModuleType) -> None:
    network = build(networks, 256)
    network.get_layer("tags").trainable = False
    assert networks.mistakes(network) == 0
