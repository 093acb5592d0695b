"""Every loss, schedule and label noise: trained, published, loaded, exported."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import evaluate, export, parquet, train
from pipeline.data import shards
from pipeline.model import saved
from pipeline.params.evaluate import Evaluate
from pipeline.params.export import Export
from pipeline.params.shard import Shard
from pipeline.paths import Paths
from pipeline.train_params import Train
from tests.builders import toy_shards

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

TAGS = len(toy_shards.TAGS)
RECORDS = {"train": 64, "validation": 16, "test": 16}
SMALL = toy_shards.small() | {
    "backbone": {"name": "compact", "widths": [8], "blocks": [1]},
    "epochs": 2,
}

LOSSES: dict[str, dict[str, Any]] = {
    "focal": {"loss": {"name": "focal"}},
    "asymmetric": {"loss": {"name": "asymmetric"}},
    "hill": {"loss": {"name": "hill"}, "robust": {"name": "fixed", "alpha": 0.0}},
    "splc": {"loss": {"name": "splc", "warmup_epochs": 0.5}},
    "robust": {"robust": {"name": "trained"}, "tag_weights": 0.9},
}

NOISE: dict[str, dict[str, Any]] = {
    "diagonal": {"noise": {"name": "diagonal"}},
    "low_rank": {"noise": {"name": "low_rank", "rank": 2, "joint": False}},
    "joint": {"noise": {"name": "low_rank", "rank": 2, "samples": 8}},
}

SCHEDULES: dict[str, dict[str, Any]] = {
    "triangle": {"schedule": {"name": "triangle", "low": 1e-3, "high": 1e-2}},
    "cycles": {
        "schedule": {"name": "triangle", "low": 1e-3, "high": 1e-2, "cycles": 2}
    },
    "cosine": {"schedule": {"name": "cosine", "learning_rate": 1e-2, "final": 0.1}},
}


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A project of few toy images. To be copied, not changed."""
    return toy_shards.project(tmp_path_factory.mktemp("few"), records=RECORDS)


@pytest.fixture
def project(few: Paths, tmp_path: Path) -> Paths:
    """A project of few toy images that a test may change."""
    shutil.copytree(few.root, tmp_path / "project")
    return Paths(tmp_path / "project")


def losses_by_epoch(paths: Paths) -> list[float]:
    lines = (paths.model / "history.csv").read_text().splitlines()
    column = lines[0].split(",").index("train_loss")
    return [float(line.split(",")[column]) for line in lines[1:]]


def assert_is_learnt(paths: Paths) -> None:
    found = losses_by_epoch(paths)
    assert np.isfinite(found).all()
    assert found[-1] < found[0]


def predicted(paths: Paths) -> Any:
    """The published network's prediction of validation."""
    from pipeline.model.predict import predict

    model = saved.read(paths, TAGS)
    network = model.network()
    assert {layer.name for layer in network.layers}.isdisjoint(
        {"step_counter", "robust_parameters", "label_noise_samples"}
    )
    return predict(network, shards.read_splits(paths)["validation"], model.size)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains_a_network_that_is_published_without_it(
    project: Paths, name: str
) -> None:
    train.run(Train(**SMALL, **LOSSES[name]), project)
    assert_is_learnt(project)
    found = predicted(project)
    assert found.logits.shape == (RECORDS["validation"], TAGS)
    assert np.isfinite(found.logits).all()
    assert found.uncertainty is None


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_ends_at_its_lowest_rate(project: Paths, name: str) -> None:
    train.run(Train.model_validate(SMALL | SCHEDULES[name]), project)
    assert_is_learnt(project)
    metrics = json.loads((project.training / "metrics.json").read_text())
    assert metrics["learning_rate"] == pytest.approx(1e-3, rel=0.01)


@pytest.mark.parametrize("name", NOISE)
def test_every_label_noise_trains_a_network_with_uncertainty(
    project: Paths, name: str
) -> None:
    train.run(Train(**SMALL, **NOISE[name]), project)
    assert_is_learnt(project)
    found = predicted(project)
    assert found.logits.shape == found.uncertainty.shape
    assert (found.uncertainty > 0).all()
    assert found.uncertainty.std(axis=0).all()
    assert_validated_as_published(project, found)
    assert_evaluated_and_exported(project)


def assert_validated_as_published(paths: Paths, found: Any) -> None:
    """Holds validation while training to the published network's probabilities."""
    from pipeline.metrics import ranking

    facts = json.loads((paths.model / "training.json").read_text())
    loss = ranking.cross_entropy(found.labels, found.logits)
    assert facts["metrics"]["validation_loss"] == pytest.approx(loss, rel=1e-4)


def assert_evaluated_and_exported(paths: Paths) -> None:
    """Holds uncertainty in predictions and bundle to that of the network.

    The export itself compares ONNX Runtime with Keras on the test images.
    """
    from e6tag.tagger import Tagger
    from pipeline.model.predict import predict

    shard = Shard(size=toy_shards.SIZE)
    evaluate.run(Evaluate(bootstrap=0), paths, shard=shard)
    export.run(Export(tolerance=1e-4), paths, shard=shard)
    model = saved.read(paths, TAGS)
    expected = predict(model.network(), shards.read_splits(paths)["test"], model.size)
    assert expected.uncertainty is not None
    predictions = parquet.read(paths.evaluation / "predictions.parquet")
    by_id = dict(zip(predictions["post_id"], predictions["uncertainty"], strict=True))
    stored = np.stack([by_id[post_id] for post_id in expected.post_ids])
    np.testing.assert_allclose(stored, expected.uncertainty, rtol=1e-5)
    tagger = Tagger(paths.bundle)
    found = tagger.run(np.full((3, 448, 448, 3), 128, np.uint8))
    assert found.scores.shape == (3, TAGS)
    assert found.uncertainty is not None
    assert found.uncertainty.shape == (3, TAGS)
    assert (found.uncertainty > 0).all()


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is missing: run make jax"
)
@pytest.mark.parametrize("name", ["splc", "robust", "diagonal", "joint", "triangle"])
def test_on_jax_they_train_too(project: Paths, name: str) -> None:
    choice = {**LOSSES, **NOISE, **SCHEDULES}[name]
    params = Train.model_validate(SMALL | choice | {"backend": "jax"})
    command = [sys.executable, "-c", ON_JAX, params.model_dump_json()]
    done = subprocess.run(
        [*command, str(project.root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert_is_learnt(project)
    # TensorFlow reads what JAX has trained.
    assert np.isfinite(predicted(project).logits).all()


ON_JAX = """
import sys; from pathlib import Path
from pipeline import train; from pipeline.paths import Paths
from pipeline.train_params import Train
train.run(Train.model_validate_json(sys.argv[1]), Paths(Path(sys.argv[2])))
"""
