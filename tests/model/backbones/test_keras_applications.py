"""Networks of keras.applications: their input, their weights, and that they learn."""

from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pipeline.errors import BadInput, SiteUnreachable

SMALL = "MobileNetV3Small"

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)


@pytest.fixture
def small(networks: ModuleType) -> Any:
    """A function that builds MobileNetV3Small with an average as head."""
    from pipeline.model.backbones import keras_applications

    def build(weights: str | None = None) -> Any:
        backbone = partial(keras_applications.feature_map, model=SMALL, weights=weights)
        return networks.network(backbone, networks.average)

    return build


def first_kernel(model: Any) -> np.ndarray:
    """The kernel of the first layer that has one."""
    return np.asarray(next(w for w in model.weights if w.name == "kernel"))


@pytest.mark.parametrize("model", ["DenseNet121", "ResNet50V2", "EfficientNetV2S"])
def test_input_is_scaled_as_keras_preprocesses_it(
    networks: ModuleType, model: str
) -> None:
    import keras

    from pipeline.model.backbones import keras_applications

    images = networks.noise()
    scaled = keras_applications._scaled(images / 127.5 - 1, model)
    preprocess = {
        "DenseNet121": keras.applications.densenet.preprocess_input,
        "ResNet50V2": keras.applications.resnet_v2.preprocess_input,
        "EfficientNetV2S": lambda pixels: pixels / 128 - 1,
    }
    expected = preprocess[model](images.copy())
    np.testing.assert_allclose(scaled, expected, atol=1e-5)


@pytest.mark.parametrize("model", ["EfficientNetV2B0", SMALL, "ConvNeXtTiny"])
def test_input_is_scaled_once_as_keras_would(networks: ModuleType, model: str) -> None:
    """By the layers that Keras puts before the first convolution."""
    import keras

    from pipeline.model.backbones import keras_applications

    images = keras.Input((32, 32, 3))
    keras_own = getattr(keras.applications, model)(
        include_top=False, weights=None, input_tensor=images
    )
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
    features = keras_applications.feature_map(scaled, model=model)
    ours = keras.Model(images, features)
    pixels = networks.noise()
    before = []
    for network in (keras_own, ours):
        first = next(
            layer
            for layer in network.layers
            if isinstance(layer, keras.layers.Conv2D | keras.Sequential)
            and layer.weights
        )
        before.append(keras.Model(images, first.input)(pixels))
    np.testing.assert_allclose(before[0], before[1], atol=1e-5)


def test_it_trains_and_is_saved_and_exported_with_the_same_answers(
    networks: ModuleType, small: Any, tmp_path: Path
) -> None:
    model = small()
    before = first_kernel(model)
    networks.mistakes(model, most_steps=3)
    assert not np.array_equal(first_kernel(model), before)
    loaded = networks.loaded_again(model, tmp_path / "model.keras")
    once, again = networks.logits_of_both(model, loaded)
    np.testing.assert_array_equal(once, again)
    assert networks.foreign_classes(model) == []
    assert networks.onnx_difference(model) < 1e-4


def test_statistics_of_norms_follow_short_trainings(small: Any) -> None:
    norms = [layer for layer in small().layers if "BatchNorm" in type(layer).__name__]
    assert len(norms) > 20
    assert {norm.momentum for norm in norms} == {0.9}


@pytest.mark.parametrize("name", ["own.weights.h5", "own.h5"])
def test_weights_of_a_file_are_loaded(small: Any, tmp_path: Path, name: str) -> None:
    """A file of the network as Keras builds it, in either of Keras's formats."""
    import keras

    own = keras.applications.MobileNetV3Small(include_top=False, weights=None)
    random = np.random.default_rng(1)
    for weight in own.weights:
        weight.assign(random.standard_normal(weight.shape))
    path = tmp_path / name
    if name.endswith(".weights.h5"):
        own.save_weights(path)
    else:
        own.save(path)
    model = small(weights=str(path))
    loaded = [np.asarray(weight) for weight in model.weights]
    for expected, found in zip(own.weights, loaded, strict=False):
        np.testing.assert_array_equal(found, expected)
    assert len(loaded) == len(own.weights) + 2  # the head


def test_a_missing_file_is_one_line(small: Any, tmp_path: Path) -> None:
    missing = tmp_path / "missing.weights.h5"
    with pytest.raises(BadInput, match=r"train\.backbone\.weights names .*, which is"):
        small(weights=str(missing))


def test_a_file_of_another_network_is_one_line(
    networks: ModuleType, small: Any, tmp_path: Path
) -> None:
    other = networks.network(networks.two_convolutions, networks.average)
    path = tmp_path / "other.weights.h5"
    other.save_weights(path)
    with pytest.raises(BadInput, match="does not hold the weights of Mobile") as raised:
        small(weights=str(path))
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_hdf5_is_one_line(small: Any, tmp_path: Path) -> None:
    path = tmp_path / "text.weights.h5"
    path.write_text("no weights")
    with pytest.raises(BadInput, match="does not hold the weights of MobileNetV3Small"):
        small(weights=str(path))


def test_imagenet_without_a_network_is_one_line(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keras.src.backend import config

    # An empty cache of downloads, and a network that refuses.
    monkeypatch.setattr(config, "_KERAS_DIR", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(SiteUnreachable, match="cannot be downloaded here") as raised:
        small(weights="imagenet")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_logits_stay_float32_under_mixed_precision(
    networks: ModuleType, small: Any, policy: str
) -> None:
    with networks.dtype_policy(policy):
        model = small()
    assert model.output.dtype == "float32"
    assert model.layers[-3].compute_dtype == policy.removeprefix("mixed_")
