"""The network and its loss are what the parameters choose."""

import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pipeline.model import backend
from pipeline.param_models import choices
from pipeline.train_params import Train

BIAS = np.array([-2.0, 0.0, 1.5], np.float32)
FOLDERS = {"backbone": "backbones", "head": "heads", "loss": "losses"}

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """The module, which imports Keras."""
    backend.start("tensorflow")
    from pipeline.model import build

    return build


def small(**changes: object) -> Train:
    """Parameters of a small network."""
    backbone = {"name": "compact", "widths": [8, 24], "blocks": [1, 2]}
    return Train.model_validate({"size": 32, "backbone": backbone, **changes})


def test_backbone_has_the_widths_and_blocks_of_its_choice(build: ModuleType) -> None:
    network = build.build(small(), BIAS)
    assert network.input_shape == (None, 32, 32, 3)
    assert network.output_shape == (None, 3)
    assert network.get_layer("stage_2_2_out").output.shape == (None, 4, 4, 24)
    names = {layer.name for layer in network.layers}
    assert not {"stage_1_2_out", "stage_2_3_out", "stage_3_1_out"} & names


def test_head_has_the_dropout_of_its_choice(build: ModuleType) -> None:
    network = build.build(small(head={"name": "pool", "dropout": 0.25}), BIAS)
    assert network.get_layer("dropout").rate == 0.25
    assert build.build(small(), BIAS).get_layer("dropout").rate == 0.1


def test_head_begins_with_the_bias(build: ModuleType) -> None:
    network = build.build(small(), BIAS)
    np.testing.assert_array_equal(network.get_layer("tags").bias.numpy(), BIAS)


def test_loss_is_that_of_its_choice(build: ModuleType) -> None:
    positives = np.array([1, 2, 3])
    loss = build.trainable(small(), BIAS, positives=positives, epoch_steps=1).loss
    logits = np.array([[0.0, 3.0], [-2.0, 100.0]], np.float32)
    labels = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    against = np.where(labels == 1, -logits, logits)
    expected = np.logaddexp(0, against).sum(axis=1).mean()
    assert float(loss(labels, logits)) == pytest.approx(expected, rel=1e-6)


def test_saved_network_gives_the_same_logits(build: ModuleType, tmp_path: Path) -> None:
    import keras

    network = build.build(small(), BIAS)
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    images = np.random.default_rng(621).uniform(0, 255, (2, 32, 32, 3))
    before = network.predict_on_batch(images)
    np.testing.assert_array_equal(loaded.predict_on_batch(images), before)


@pytest.mark.parametrize("parameter", FOLDERS)
def test_every_choice_has_a_builder_beside_it(parameter: str) -> None:
    found = choices(Train.model_fields[parameter])
    assert found
    for name, choice in found.items():
        beside = Path(str(sys.modules[choice.__module__].__file__)).parent
        assert beside.name == FOLDERS[parameter]
        assert (beside / f"{name}.py").is_file()


@pytest.mark.parametrize("parameter", ["backbone", "head"])
def test_defaults_of_a_choice_are_those_of_its_builder(parameter: str) -> None:
    """Where the builder has any: it is called with all of them."""
    backend.start("tensorflow")
    function = {"backbone": "feature_map", "head": "logits"}[parameter]
    for name, choice in choices(Train.model_fields[parameter]).items():
        module = importlib.import_module(f"pipeline.model.{FOLDERS[parameter]}.{name}")
        taken = inspect.signature(getattr(module, function)).parameters
        given = choice().arguments()
        others = {"images", "features", "bias"}
        assert set(given) == set(taken) - others
        for argument, value in given.items():
            default = taken[argument].default
            assert default in (inspect.Parameter.empty, value), argument


@pytest.mark.parametrize(
    "head",
    [
        pytest.param({"name": "queries", "width": 16, "heads": 2}, id="queries"),
        pytest.param({"name": "attention_residual", "join": "concat"}, id="attention"),
    ],
)
def test_network_of_other_choices_begins_with_the_bias(
    build: ModuleType, head: dict[str, object]
) -> None:
    backbone = {"name": "resnet_v4", "width": 0.0625, "depth": 0.1, "last_stride": 16}
    network = build.build(small(backbone=backbone, head=head), BIAS)
    images = np.random.default_rng(621).uniform(0, 255, (2, 32, 32, 3))
    found = network.predict_on_batch(images)
    np.testing.assert_allclose(found, np.stack([BIAS, BIAS]), atol=1e-5)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param({"name": "pool"}, id="pool"),
        pytest.param({"name": "queries", "width": 16, "heads": 2}, id="queries"),
        pytest.param({"name": "attention_residual"}, id="attention"),
    ],
)
def test_axes_of_tags_are_those_that_grow_with_the_vocabulary(
    build: ModuleType, head: dict[str, object]
) -> None:
    params = small(head=head, noise={"name": "diagonal"})
    few, more = (
        {weight.path: weight.shape for weight in build.build(params, bias).weights}
        for bias in (BIAS, np.zeros(7, np.float32))
    )
    for path, axis in build.tag_axes(params).items():
        assert (few[path][axis], more[path][axis]) == (3, 7), path
    outputs = ("tags", "label_noise/scales")
    last = [path for path in few if path.startswith(outputs)]
    assert last
    assert set(last) <= build.tag_axes(params).keys()
