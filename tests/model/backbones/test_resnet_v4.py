"""The residual network: its size, its resolution, and that it learns."""

from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

# One block a stage; 32, 32, 64, 64, 64 and 128 channels.
SMALL: dict[str, Any] = {"width": 1 / 16, "depth": 1 / 11}


@pytest.fixture
def small(networks: ModuleType) -> Any:
    """A function that builds a small network with an average as head."""
    from pipeline.model.backbones import resnet_v4

    def build(**changes: Any) -> Any:
        backbone = partial(resnet_v4.feature_map, **SMALL, **changes)
        return networks.network(backbone, networks.average)

    return build


def parameters(widths: list[int], blocks: list[int]) -> int:
    """Kernels without bias, each with the four vectors of a norm."""

    def convolution(inputs: int, outputs: int, side: int) -> int:
        return inputs * outputs * side**2 + 4 * outputs

    channels = widths[0] // 4
    total = convolution(3, channels, 7)
    for width, count in zip(widths, blocks, strict=True):
        inner = width // 4
        total += convolution(channels, width, 1)
        for _ in range(count):
            total += convolution(channels, inner, 1) + convolution(inner, inner, 3)
            total += convolution(inner, width, 1)
            channels = width
    return total


def test_plain_form_has_the_parameters_of_deepdanbooru(networks: ModuleType) -> None:
    """Its head: a 1 x 1 convolution without bias to a map per tag, then the average."""
    import keras

    from pipeline.model.backbones import resnet_v4

    images = keras.Input((512, 512, 3))
    features = resnet_v4.feature_map(images, last_stride=128, activation="relu")
    maps = keras.layers.Conv2D(1_024, 1, use_bias=False)(features)
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    assert keras.Model(images, pooled).count_params() == 59_136_960


@pytest.mark.parametrize(
    ("width", "depth"),
    [
        pytest.param(1 / 16, 1 / 11, id="smallest"),
        pytest.param(1 / 8, 1 / 4, id="eighth"),
        pytest.param(0.3, 1 / 3, id="odd"),
    ],
)
def test_width_and_depth_set_the_parameters(
    networks: ModuleType, width: float, depth: float
) -> None:
    import keras

    from pipeline.model.backbones import resnet_v4

    images = keras.Input((64, 64, 3))
    features = resnet_v4.feature_map(images, width=width, depth=depth)
    widths = resnet_v4.stage_widths(width)
    blocks = resnet_v4.stage_blocks(depth)
    expected = parameters(widths, blocks)
    assert keras.Model(images, features).count_params() == expected


def test_multipliers_round_to_whole_blocks_and_inner_widths_of_8(
    networks: ModuleType,
) -> None:
    from pipeline.model.backbones import resnet_v4

    assert resnet_v4.stage_widths(1.0) == [256, 512, 1_024, 1_024, 1_024, 2_048]
    assert resnet_v4.stage_widths(0.3) == [64, 160, 320, 320, 320, 608]
    assert resnet_v4.stage_widths(0.001) == [32] * 6
    assert resnet_v4.stage_blocks(1.0) == [3, 8, 11, 11, 11, 3]
    assert resnet_v4.stage_blocks(0.3) == [1, 2, 3, 3, 3, 1]
    assert resnet_v4.stage_blocks(0.001) == [1] * 6


@pytest.mark.parametrize(
    ("size", "last_stride", "side"),
    [
        (256, 16, 16),
        (256, 32, 8),
        (256, 64, 4),
        (256, 128, 2),
        (224, 128, 2),
        (96, 32, 3),
    ],
)
def test_last_stride_sets_the_resolution_and_not_the_weights(
    networks: ModuleType, size: int, last_stride: int, side: int
) -> None:
    import keras

    from pipeline.model.backbones import resnet_v4

    images = keras.Input((size, size, 3))
    features = resnet_v4.feature_map(images, last_stride=last_stride, **SMALL)
    assert features.shape == (None, side, side, 128)
    weights = parameters([32, 32, 64, 64, 64, 128], [1] * 6)
    assert keras.Model(images, features).count_params() == weights


@pytest.mark.parametrize("activation", ["silu", "relu"])
def test_every_activation_is_the_chosen_one(small: Any, activation: str) -> None:
    import keras

    layers = small(activation=activation).layers
    found = [
        keras.activations.serialize(layer.activation)
        for layer in layers
        if isinstance(layer, keras.layers.Activation)
    ]
    assert found == [activation] * (1 + 3 * 6)


def test_blocks_add_nothing_before_they_have_learnt(
    small: Any, networks: ModuleType
) -> None:
    import keras

    network = small()
    outputs = [
        layer.output for layer in network.layers if layer.name.endswith("_c_norm")
    ]
    assert len(outputs) == 6
    for added in keras.Model(network.input, outputs)(networks.noise()):
        assert not np.asarray(added).any()


def test_kernels_start_with_the_variance_of_he(small: Any) -> None:
    for layer in small().layers:
        if layer.name.startswith("stage_6") and hasattr(layer, "kernel"):
            kernel = np.asarray(layer.kernel)
            expected = np.sqrt(2 / np.prod(kernel.shape[:-1]))
            assert kernel.std() == pytest.approx(expected, rel=0.1), layer.name


def test_saved_network_is_the_same_and_needs_no_code_of_ours(
    small: Any, networks: ModuleType, tmp_path: Path
) -> None:
    network = networks.randomised(small())
    again = networks.loaded_again(network, tmp_path / "model.keras")
    images = networks.noise()
    assert np.array_equal(
        networks.logits(network, images), networks.logits(again, images)
    )
    assert networks.foreign_classes(network) == []


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_float16", 0.02), ("mixed_bfloat16", 0.2)]
)
def test_mixed_precision_gives_nearly_the_same_logits(
    small: Any, networks: ModuleType, policy: str, tolerance: float
) -> None:
    network = small()
    with networks.dtype_policy(policy):
        mixed = small()
    mixed.set_weights(network.get_weights())
    images = networks.noise()
    found = networks.logits(mixed, images)
    assert mixed.get_layer("stage_6_1_out").compute_dtype in policy
    assert found.dtype == np.float32
    assert found == pytest.approx(networks.logits(network, images), abs=tolerance)


def test_onnx_gives_the_same_probabilities(small: Any, networks: ModuleType) -> None:
    network = networks.randomised(small())
    assert networks.onnx_difference(network) < 1e-4


@pytest.mark.parametrize("activation", ["silu", "relu"])
def test_gradient_reaches_every_weight(
    small: Any, networks: ModuleType, activation: str
) -> None:
    network = networks.randomised(small(activation=activation))
    found = networks.gradients(network)
    assert len(found) == 3 * (1 + 4 * 6) + 2
    assert {path for path, size in found.items() if size < 1e-6} == set()


def test_toy_images_are_learnt(small: Any, networks: ModuleType) -> None:
    assert networks.mistakes(small(last_stride=16)) == 0
