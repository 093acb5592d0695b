"""The optimizers, by what their updates do to small networks, on both backends."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import BadParameter
from pipeline.train_params import Train

OPTIMIZERS = ("adamw", "sgd", "muon")
OFFSETS = ("temperature_offset", "alpha_offset", "scale_offset")

NEEDS_JAX = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is missing: run make jax"
)

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)


@pytest.mark.parametrize(
    ("optimizer", "policy"),
    [
        pytest.param({"name": "sgd"}, "float32", id="sgd"),
        pytest.param({"name": "sgd", "nesterov": True}, "float32", id="nesterov"),
        pytest.param({"name": "adamw"}, "float32", id="adamw"),
        pytest.param({"name": "adamw"}, "mixed_float16", id="under loss scaling"),
    ],
)
def test_momentum_falls_while_the_rate_rises_and_comes_back(
    optimizer: dict[str, object], policy: str
) -> None:
    from tests.builders import updates

    found = updates.momenta(optimizer, policy)
    assert found == pytest.approx([0.95, 0.85, 0.95], abs=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weight_decay_is_for_kernels_only(optimizer: str) -> None:
    from tests.builders import updates

    assert_only_kernels_decay(updates.decayed({"name": optimizer}))


def test_weight_decay_is_for_kernels_only_under_loss_scaling() -> None:
    from tests.builders import updates

    assert_only_kernels_decay(updates.decayed({"name": "adamw"}, "mixed_float16"))


def assert_only_kernels_decay(weights: dict[str, float]) -> None:
    from tests.builders import updates

    assert all(any(name in path for path in weights) for name in OFFSETS)
    # The first rate is a 25th of the peak.
    kept = 1 - updates.DECAY * updates.RATE / 25
    for path, value in weights.items():
        expected = kept if path.endswith("kernel") else 1
        assert value == pytest.approx(expected, abs=1e-6), path


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_two_batches_of_8_make_the_update_of_one_of_16(optimizer: str) -> None:
    from tests.builders import updates

    found = updates.differences({"name": optimizer})
    assert found["rates"] == 0
    assert max(found.values()) < 1e-4, found


@NEEDS_JAX
def test_updates_are_the_same_on_jax() -> None:
    code = (
        "import json; from pipeline.model import backend; backend.start('jax')\n"
        "from tests.builders import updates\n"
        "sgd, adamw = {'name': 'sgd'}, {'name': 'adamw'}\n"
        "momenta = [updates.momenta(sgd), updates.momenta(adamw)]\n"
        "decayed = updates.decayed(adamw, 'mixed_float16')\n"
        "print(json.dumps([momenta, decayed, updates.differences(adamw)]))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    momenta, decayed, differences = json.loads(done.stdout.splitlines()[-1])
    for found in momenta:
        assert found == pytest.approx([0.95, 0.85, 0.95], abs=1e-5)
    assert_only_kernels_decay(decayed)
    assert max(differences.values()) < 1e-4, differences


def test_a_large_gradient_is_scaled_down_to_the_norm() -> None:
    from tests.builders import networks, updates

    plain = {"name": "sgd", "momentum": 0.0}
    start = networks.network(networks.two_convolutions, networks.average)
    before = start.get_weights()
    free = updates.trained(plain, 64)
    clipped = updates.trained(plain, 64, clip_norm=1e-3)
    lengths = []
    for network in (free, clipped):
        pairs = zip(before, network.get_weights(), strict=True)
        squares = sum(np.square(one - other).sum() for one, other in pairs)
        lengths.append(float(np.sqrt(squares)))
    rate = updates.RATE / 25
    assert lengths[1] == pytest.approx(rate * 1e-3, rel=0.01)
    assert lengths[0] > 2 * lengths[1]


def test_averages_follow_the_weights_of_each_update() -> None:
    from tests.builders import networks, updates

    network = updates.compiled(
        networks.network(networks.two_convolutions, networks.average),
        updates.params({"name": "sgd"}, ema=0.75),
        "mse",
    )
    images, labels = networks.toy_images(8)
    expected = None
    for _ in range(3):
        network.train_on_batch(images, labels)
        weights = [np.array(weight) for weight in network.trainable_weights]
        if expected is None:
            expected = weights
        expected = [
            0.75 * average + 0.25 * weight
            for average, weight in zip(expected, weights, strict=True)
        ]
    for found, average in zip(updates.averages(network), expected, strict=True):
        assert found == pytest.approx(average, abs=1e-6)


def test_averaged_weights_are_lent_and_the_trained_ones_come_back_bit_for_bit() -> None:
    from pipeline.train import ema
    from tests.builders import updates

    network = updates.trained({"name": "adamw"}, 16, ema=0.9)
    trained = [np.array(weight) for weight in network.trainable_weights]
    with ema.AveragedWeights(lambda: iter(())).lent(network):
        lent = [np.array(weight) for weight in network.trainable_weights]
    assert all(map(np.array_equal, lent, updates.averages(network)))
    assert not any(map(np.array_equal, lent, trained))
    back = [np.array(weight) for weight in network.trainable_weights]
    assert all(map(np.array_equal, back, trained))


@pytest.mark.parametrize(
    ("head", "with_adam"),
    [
        pytest.param({"name": "pool"}, {"tags/kernel"}, id="pool"),
        pytest.param(
            {"name": "queries", "width": 8, "heads": 2},
            {"tags/kernel", "queries/kernel", "tags_of_queries/kernel"},
            id="queries",
        ),
        pytest.param(
            {"name": "attention_residual"}, {"tags/kernel"}, id="attention_residual"
        ),
    ],
)
def test_muon_takes_the_kernels_of_hidden_layers(
    head: dict[str, object], with_adam: set[str]
) -> None:
    from pipeline.model import build
    from pipeline.train import optimizers

    params = Train(
        size=32,
        backbone={"name": "compact", "widths": [8], "blocks": [1]},
        head=head,
        optimizer={"name": "muon"},
    )
    network = build.build(params, np.zeros(3, np.float32))
    optimizer = optimizers.optimizer(params, 10)
    optimizer.build(network.trainable_variables)
    found = set()
    pairs = zip(network.trainable_variables, optimizer.adam_velocities, strict=True)
    for weight, velocity in pairs:
        if velocity is not None and weight.name == "kernel":
            found.add(weight.path)
        if weight.name != "kernel":
            assert velocity is not None, weight.path
    assert found == with_adam


@pytest.mark.parametrize(
    ("head", "layer", "sides"),
    [
        pytest.param(
            {"name": "attention_residual"}, "squeezed", (-1, 6), id="dense map"
        ),
        pytest.param({"name": "queries"}, "keys", (128, 128), id="split into heads"),
        pytest.param({"name": "queries"}, "attended", (128, 128), id="joined heads"),
    ],
)
def test_muon_takes_a_kernel_of_three_dimensions_as_the_matrix_it_is(
    head: dict[str, object], layer: str, sides: tuple[int, int]
) -> None:
    from pipeline.model import build
    from pipeline.train import optimizers

    params = Train(
        size=32,
        backbone={"name": "compact", "widths": [8], "blocks": [1]},
        head=head,
        optimizer={"name": "muon", "weight_decay": 0.0},
    )
    network = build.build(params, np.zeros(3, np.float32))
    optimizer = optimizers.optimizer(params, 10)
    optimizer.build(network.trainable_variables)
    kernel = network.get_layer(layer).kernel
    before = np.array(kernel)
    random = np.random.default_rng(1)
    shapes = [weight.shape for weight in network.trainable_variables]
    optimizer.apply([random.normal(size=shape).astype("float32") for shape in shapes])
    change = (np.array(kernel) - before).reshape(sides)
    singular_values = np.linalg.svd(change, compute_uv=False)
    # Of a matrix of chance itself the smallest tenth is below 0.2 of the largest.
    assert np.quantile(singular_values, 0.1) > 0.5 * singular_values.max()


def test_muon_changes_a_convolution_by_an_orthogonal_matrix() -> None:
    from tests.builders import networks, updates

    start = networks.network(networks.two_convolutions, networks.average)
    before = np.array(start.trainable_weights[0])
    network = updates.trained({"name": "muon", "weight_decay": 0.0}, 64)
    after = np.array(network.trainable_weights[0])
    change = (before - after).reshape(-1, before.shape[-1])
    # As long as an update of Adam: of 0.2 per weight (arXiv:2502.16982, 2.2).
    length = updates.RATE / 25 * 0.2 * np.sqrt(max(change.shape))
    singular_values = np.linalg.svd(change, compute_uv=False) / length
    assert singular_values.min() > 0.5
    assert singular_values.max() < 1.5


def test_a_training_too_short_for_one_update_is_refused(tmp_path: Path) -> None:
    from pipeline import train
    from tests.builders import toy_shards

    paths = toy_shards.project(tmp_path, records={"train": 20})
    params = Train(**toy_shards.small() | {"epochs": 1, "accumulation": 3})
    message = "train.accumulation is 3 and the whole training has 1 batches"
    with pytest.raises(BadParameter, match=message):
        train.run(params, paths)
