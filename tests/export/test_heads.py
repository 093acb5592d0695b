"""Every head and every label noise: heat maps, and files without code of ours."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest

from pipeline.export.rows import Layout, lay_out
from pipeline.model import backend
from pipeline.train_params import Train
from tests.builders import toy_shards

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

TAGS = len(toy_shards.TAGS)
SIZE = 32


def network(head: dict[str, Any], noise: dict[str, Any] | None = None) -> Any:
    """A network with random weights everywhere, also where training starts from 0."""
    backend.start("tensorflow")
    from pipeline.model.build import build

    parameters = toy_shards.small() | {"head": head}
    if noise is not None:
        parameters["noise"] = noise
    built = build(Train(**parameters), np.zeros(TAGS, np.float32))
    random = np.random.default_rng(3)
    for variable in built.trainable_variables:
        fan_in = variable.shape[0] if len(variable.shape) else 1
        scale = 0.3 / np.sqrt(fan_in)
        drawn = random.normal(0, scale, variable.shape)
        variable.assign(variable.numpy() + drawn.astype(np.float32))
    return built


def layout(ratings: dict[str, int] | None = None) -> Layout:
    names = list(toy_shards.TAGS)
    vocabulary = pl.DataFrame(
        {
            "label_id": range(TAGS),
            "tag_id": range(10, 10 + TAGS),
            "name": names,
            "category": ["general", "character", *["species"] * (TAGS - 2)],
        }
    )
    thresholds = dict(zip(names, np.linspace(0.1, 0.9, TAGS).tolist(), strict=True))
    return lay_out(vocabulary, [5] * TAGS, thresholds, ratings or {})


def heat(built: Any, head_name: str, images: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns the sum over positions by label id, and the logits."""
    from pipeline.export import heatmaps, onnx
    from pipeline.export.graphs import Head
    from pipeline.export.network import with_features

    rows = layout()
    proto = heatmaps.to_onnx(built, head_name, Head(rows.columns, None, None))
    session = onnxruntime.InferenceSession(onnx.serialize(proto))
    features, logits = with_features(built).predict_on_batch(images)[:2]
    (found,) = session.run(None, {"features": features})
    return found.sum(axis=(1, 2))[:, rows.rows_of_labels], np.asarray(logits)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    random = np.random.default_rng(1)
    return random.uniform(0, 255, (5, SIZE, SIZE, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param({"name": "pool"}, id="pool"),
        pytest.param({"name": "queries", "width": 16, "heads": 2}, id="queries"),
        pytest.param(
            {"name": "queries", "width": 16, "heads": 2, "most_queries": 4},
            id="queries that tags share",
        ),
    ],
)
def test_heat_of_all_positions_is_the_logit_without_its_bias(
    head: dict[str, Any], images: np.ndarray
) -> None:
    built = network(head)
    found, logits = heat(built, head["name"], images)
    bias = built.get_layer("tags").bias.numpy()
    assert found == pytest.approx(logits - bias, abs=1e-4)
    assert np.ptp(logits, axis=0).min() > 1e-3


@pytest.mark.parametrize("join", ["sum", "concat"])
def test_heat_of_attention_residual_is_what_is_linear_in_the_positions(
    join: str, images: np.ndarray
) -> None:
    import keras

    built = network({"name": "attention_residual", "join": join})
    found, _ = heat(built, "attention_residual", images)
    layer = built.get_layer
    outputs = [layer(name).output for name in ("attended", "squeezed", "joined")]
    attended, squeezed, joined = keras.Model(built.inputs, outputs).predict_on_batch(
        images
    )
    weights = {name: layer(name).get_weights() for name in ("encoder", "decoder")}
    narrow = squeezed @ weights["encoder"][0] + weights["encoder"][1]
    summands = squeezed - layer("squeezed").bias.numpy()
    gated = summands @ weights["encoder"][0] / (1 + np.exp(-narrow))
    second = gated @ weights["decoder"][0]
    first = attended - layer("attended").bias.numpy()
    both = first + second if join == "sum" else np.hstack([first, second])
    norm = layer("joined_norm")
    centred = both - both.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt(joined.var(axis=1, keepdims=True) + norm.epsilon)
    expected = scaled * norm.gamma.numpy() @ layer("tags").kernel.numpy()
    assert found == pytest.approx(expected, abs=1e-4)


READ = """
import sys
import keras
import numpy as np
given, images, answers = sys.argv[1:]
network = keras.models.load_model(given, compile=False)
np.save(answers, network.predict(np.load(images), verbose=0))
"""


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param(None, id="none"),
        pytest.param({"name": "diagonal", "temperature": "learned"}, id="diagonal"),
        pytest.param({"name": "low_rank", "rank": 2}, id="low rank"),
    ],
)
def test_deepdanbooru_reads_a_file_without_code_of_ours(
    noise: dict[str, Any] | None, tmp_path: Path
) -> None:
    """And finds, at 0.5, what is at each tag's own threshold."""
    built = network({"name": "queries", "width": 16, "heads": 2}, noise)
    from pipeline.export import comparison, deepdanbooru, resizing

    resize = resizing.matrix(64, SIZE)
    rows = layout()
    assert deepdanbooru.tags(rows).split() == list(toy_shards.TAGS)
    content = deepdanbooru.to_keras(built, resize, rows, fold=True)
    assert content == deepdanbooru.to_keras(built, resize, rows, fold=True)
    (tmp_path / "model.keras").write_bytes(content)
    random = np.random.default_rng(2)
    pixels = random.integers(0, 256, (3, 448, 448, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", (pixels / 255).astype(np.float32))
    names = ["model.keras", "images.npy", "answers.npy"]
    subprocess.run(
        [sys.executable, "-c", READ, *names],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        env={"KERAS_BACKEND": "tensorflow", "PATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    found = np.load(tmp_path / "answers.npy")
    logits = built.predict_on_batch(comparison.prepared(pixels, resize))
    logits = np.asarray(logits[0] if noise else logits)
    thresholds = rows.thresholds
    own = np.log(thresholds) - np.log1p(-thresholds)
    assert found == pytest.approx(1 / (1 + np.exp(own - logits)), abs=1e-4)
