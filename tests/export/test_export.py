"""The bundle: ONNX says what Keras says, other tools can read it.

And it holds nothing that it must not.
"""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from pipeline import parquet
from pipeline.data import shards
from pipeline.errors import BadInput
from pipeline.evaluate import run as evaluate
from pipeline.export import model_card, run
from pipeline.params import Evaluate, Export, Shard
from pipeline.paths import Paths
from pipeline.schemas.manifest import MANIFEST
from tests.builders import toy_shards

# Keras hands its variables to h5py, and tf2onnx makes arrays, in ways that NumPy 2 asks
# to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)


@pytest.fixture(scope="module")
def exported(toy_trained: Paths, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The trained toy project, evaluated and exported."""
    root = tmp_path_factory.mktemp("exported") / "project"
    shutil.copytree(toy_trained.root, root)
    paths = Paths(root)
    evaluate(Evaluate(bootstrap=10), paths)
    run(Export(), paths, shard=Shard(size=toy_shards.SIZE))
    return paths


@pytest.fixture
def project(exported: Paths, tmp_path: Path) -> Paths:
    shutil.copytree(exported.root, tmp_path / "project")
    return Paths(tmp_path / "project")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_onnx_gives_the_probabilities_of_the_evaluation(exported: Paths) -> None:
    from pipeline.data import loader

    session = onnxruntime.InferenceSession(exported.bundle / "model.onnx")
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == (
        "input",
        ["N", 32, 32, 3],
        "tensor(float)",
    )
    assert (answer.name, answer.shape) == ("output", ["N", len(toy_shards.TAGS)])
    batch = next(loader.batches(shards.read_splits(exported)["test"], 32, 48))
    found = session.run(None, {"input": batch.images.astype(np.float32)})[0]
    predicted = parquet.read(exported.evaluation / "predictions.parquet").filter(
        split="test"
    )
    scores = dict(zip(predicted["post_id"], predicted["scores"].to_list(), strict=True))
    expected = np.array([scores[post_id] for post_id in batch.post_ids.tolist()])
    assert np.abs(found - expected).max() < 1e-4


def test_tags_and_thresholds_are_in_the_order_of_the_output(exported: Paths) -> None:
    tags = rows(exported.bundle / "selected_tags.csv")
    assert list(tags[0]) == ["tag_id", "name", "category", "count"]
    assert [tag["name"] for tag in tags] == list(toy_shards.TAGS)
    assert {tag["category"] for tag in tags} == {"0"}
    vocabulary = parquet.read(exported.sample / "vocabulary.parquet")
    assert [int(tag["count"]) for tag in tags] == vocabulary[
        "train_positives"
    ].to_list()
    thresholds = rows(exported.bundle / "thresholds.csv")
    assert [row["name"] for row in thresholds] == list(toy_shards.TAGS)
    assert all(0 <= float(row["threshold"]) <= 1 for row in thresholds)


def test_the_card_shows_every_metric_beside_its_baseline(exported: Paths) -> None:
    text = (exported.bundle / "model_card.md").read_text()
    metrics = json.loads((exported.evaluation / "metrics.json").read_text())["test"]
    for name, label in model_card.METRICS.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {label}")]
        assert f"{metrics[name]['value']:.4f}" in line
        assert f"{metrics[name]['baseline']:.4f}" in line


def test_lineage_goes_from_the_pin_to_the_weights(exported: Paths) -> None:
    lineage = json.loads((exported.bundle / "lineage.json").read_text())
    assert lineage["pin"]["site"] == "toy"
    assert lineage["policy_version"] == "1"
    assert {"manifest", "shard", "train", "export"} <= set(lineage["parameters"])
    assert (
        lineage["model"]["fingerprint"]
        == json.loads((exported.model / "training.json").read_text())["fingerprint"]
    )


def test_a_bundle_holds_no_picture_and_no_address(exported: Paths) -> None:
    files = {path.name: path.read_bytes() for path in exported.bundle.iterdir()}
    assert set(files) == {
        "model.onnx", "selected_tags.csv", "thresholds.csv", "preprocessing.json",
        "model_card.md", "lineage.json",
    }  # fmt: skip
    for body in files.values():
        assert b"\xff\xd8\xff\xe0" not in body
        assert b"\x89PNG" not in body
        assert b"http" not in body


def test_same_model_gives_the_same_bytes(project: Paths) -> None:
    before = {path.name: path.read_bytes() for path in project.bundle.iterdir()}
    run(Export(), project, shard=Shard(size=toy_shards.SIZE))
    assert {path.name: path.read_bytes() for path in project.bundle.iterdir()} == before


def test_disagreement_beyond_the_tolerance_publishes_nothing(project: Paths) -> None:
    shutil.rmtree(project.bundle)
    with pytest.raises(
        BadInput,
        match=r"model\.onnx differs from model\.keras by .* Nothing is published",
    ):
        run(Export(tolerance=1e-30), project, shard=Shard(size=toy_shards.SIZE))
    assert not project.bundle.exists()


def test_a_manifest_without_lineage_is_refused(project: Paths) -> None:
    parquet.write(project.manifest / "train.parquet", [], MANIFEST)
    with pytest.raises(BadInput, match="carries no lineage"):
        run(Export(), project, shard=Shard(size=toy_shards.SIZE))


def test_thresholds_of_another_vocabulary_are_refused(project: Paths) -> None:
    (project.evaluation / "thresholds.json").write_text('{"fox": 0.5}')
    with pytest.raises(BadInput, match=r"thresholds\.json has other tags"):
        run(Export(), project, shard=Shard(size=toy_shards.SIZE))
