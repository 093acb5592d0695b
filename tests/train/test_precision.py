"""Precision and XLA, as train.precision and train.xla ask for them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.paths import Paths
from pipeline.train import run
from pipeline.train_params import Train
from tests.builders import toy_shards

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)


@pytest.mark.parametrize(
    ("precision", "hidden"),
    [
        pytest.param("auto", "float32", id="auto without a GPU"),
        pytest.param("float32", "float32", id="float32"),
        pytest.param("mixed_bfloat16", "bfloat16", id="bfloat16"),
        pytest.param("mixed_float16", "float16", id="float16"),
    ],
)
@pytest.mark.parametrize("head", ["pool", "queries", "attention_residual"])
def test_layers_compute_in_the_precision_and_logits_stay_float32(
    precision: str, hidden: str, head: str
) -> None:
    import keras

    from pipeline.model import build
    from pipeline.train import devices

    params = Train(**small(head={"name": head}, precision=precision))
    keras.config.set_dtype_policy(devices.dtype_policy(params))
    try:
        networks = build.trainable(
            params, np.zeros(3, np.float32), positives=np.ones(3), epoch_steps=1
        )
    finally:
        keras.config.set_dtype_policy("float32")
    network = networks.inference
    assert networks.loss.dtype == "float32"
    assert network.get_layer("stem_1").compute_dtype == hidden
    assert network.get_layer("stem_1").variable_dtype == "float32"
    assert network.get_layer("tags").compute_dtype == "float32"
    assert network.output.dtype == "float32"


def test_float16_learns_with_averages_accumulation_and_clipping(
    toy: Paths, tmp_path: Path
) -> None:
    shutil.copytree(toy.root, tmp_path / "project")
    paths = Paths(tmp_path / "project")
    schedule = {"name": "one_cycle", "learning_rate": 1e-2, "momentum": [0.95, 0.85]}
    params = small(
        precision="mixed_float16",
        ema=0.8,
        accumulation=2,
        clip_norm=1.0,
        schedule=schedule,
    )
    run(Train(**params), paths)
    metrics = json.loads((paths.model / "training.json").read_text())["metrics"]
    assert metrics["validation_loss"] < metrics["validation_loss_baseline"]


@pytest.mark.parametrize("xla", [True, False])
def test_xla_is_used_where_it_is_asked_for(toy: Paths, xla: bool) -> None:
    from pipeline.data import loader, shards
    from pipeline.train import loop

    train = shards.read_splits(toy)["train"]
    params = Train(**small(xla=xla))
    network = loop.compiled(params, train, batch_size=16).training
    stream = loader.training(train, params, batch_size=16, first_epoch=0)
    network.fit(stream, steps_per_epoch=1, verbose=0, shuffle=False)
    assert network.jit_compile == xla


def small(**changes: object) -> dict[str, object]:
    return toy_shards.small() | {"epochs": 4} | changes
