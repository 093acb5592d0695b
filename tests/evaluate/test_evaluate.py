"""The judging stage: baselines are what an image-blind model reaches.

And numbers are scikit-learn's.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e6tag import images
from pipeline import originals, packs, parquet
from pipeline.errors import BadInput, CorruptFile
from pipeline.evaluate import run
from pipeline.metrics.catalogue import LABELS, NO_CONTEST
from pipeline.params.evaluate import Evaluate
from pipeline.params.shard import Shard
from pipeline.paths import Paths
from pipeline.schemas.evaluation import PER_TAG, SLICES
from tests.builders import toy_shards
from tests.builders.image_cases import encode

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

PARAMS = Evaluate(bootstrap=50)
SHARD = Shard(size=toy_shards.SIZE)


@pytest.fixture(scope="module")
def evaluated(toy_trained: Paths, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The trained toy project, evaluated."""
    root = tmp_path_factory.mktemp("evaluated") / "project"
    shutil.copytree(toy_trained.root, root)
    run(PARAMS, Paths(root), shard=SHARD)
    return Paths(root)


@pytest.fixture
def project(evaluated: Paths, tmp_path: Path) -> Paths:
    shutil.copytree(evaluated.root, tmp_path / "project")
    return Paths(tmp_path / "project")


def test_model_whose_outputs_are_no_numbers_is_refused(project: Paths) -> None:
    import keras

    network = keras.saving.load_model(project.model / "model.keras", compile=False)
    weights = network.get_weights()
    weights[-1][0] = np.nan
    network.set_weights(weights)
    network.save(project.model / "model.keras")
    before = (project.evaluation / "metrics.json").read_bytes()
    with pytest.raises(BadInput, match=r"not finite numbers for \d+ of \d+ images of"):
        run(PARAMS, project, shard=SHARD)
    assert (project.evaluation / "metrics.json").read_bytes() == before


def test_every_metric_of_a_trained_model_beats_its_baseline(evaluated: Paths) -> None:
    metrics = json.loads((evaluated.evaluation / "metrics.json").read_text())
    on_test = metrics["splits"]["test"]
    assert set(on_test) == set(LABELS)
    for name, metric in on_test.items():
        assert metric["low"] <= metric["value"] <= metric["high"]
        if name not in NO_CONTEST:
            assert metric["value"] > metric["baseline"]
            assert metric["value"] > metric["informed_baseline"]
    assert on_test["macro_auc"]["low"] < on_test["macro_auc"]["value"]
    assert metrics["records"] == {"validation": 48, "test": 48}
    headline = json.loads((evaluated.evaluation / "headline.json").read_text())
    assert set(headline) == {"macro_map", "macro_auc", "macro_f1"}
    for name, metric in headline.items():
        assert metric == {key: on_test[name][key] for key in ("value", "baseline")}


@pytest.fixture
def per_tag(evaluated: Paths) -> pl.DataFrame:
    return parquet.read(evaluated.evaluation / "per_tag.parquet")


@pytest.fixture
def predictions(evaluated: Paths) -> pl.DataFrame:
    return parquet.read(evaluated.evaluation / "predictions.parquet")


def test_the_table_of_tags_keeps_its_schema_and_order(per_tag: pl.DataFrame) -> None:
    assert per_tag.columns == PER_TAG.names
    assert per_tag["name"].to_list() == list(toy_shards.TAGS)


def test_the_macro_auc_is_the_mean_over_the_tags(
    evaluated: Paths, per_tag: pl.DataFrame
) -> None:
    metrics = json.loads((evaluated.evaluation / "metrics.json").read_text())
    macro_auc = metrics["splits"]["test"]["macro_auc"]["value"]
    assert per_tag["auc"].mean() == pytest.approx(macro_auc, abs=1e-5)


def test_predictions_are_ordered_by_split_and_post(predictions: pl.DataFrame) -> None:
    keys = predictions.select("split", "post_id")
    assert keys.equals(keys.sort("split", "post_id"))


def test_a_prediction_holds_the_hash_and_a_score_of_every_tag(
    predictions: pl.DataFrame,
) -> None:
    assert predictions["scores"].list.len().unique().to_list() == [len(toy_shards.TAGS)]
    assert predictions.filter(post_id=289)["md5"].to_list() == [toy_shards.md5_of(289)]


def test_without_label_noise_the_uncertainty_is_not_known(
    predictions: pl.DataFrame,
) -> None:
    # Which is not 0.
    assert predictions["uncertainty"].is_null().all()


def test_curves_are_of_the_model_its_baseline_and_its_calibration(
    evaluated: Paths,
) -> None:
    curves = parquet.read(evaluated.evaluation / "curves.parquet")
    assert set(curves["curve"]) == {
        "roc_micro",
        "pr_micro",
        "roc_baseline_micro",
        "pr_baseline_micro",
        "calibration",
        "calibration_before",
    }


def test_slices_keep_their_schema_and_are_of_test_each_once(evaluated: Paths) -> None:
    slices = parquet.read(evaluated.evaluation / "slices.parquet")
    assert slices.columns == SLICES.names
    assert set(slices["split"]) == {"test"}
    assert not slices.select("slice", "position").is_duplicated().any()


def test_predictions_carry_the_labels_of_the_shards(evaluated: Paths) -> None:
    predictions = parquet.read(evaluated.evaluation / "predictions.parquet").filter(
        split="test"
    )
    vocabulary = parquet.read(evaluated.sample / "vocabulary.parquet")
    counts = (
        predictions["label_ids"]
        .explode()
        .value_counts()
        .sort("label_ids")["count"]
        .to_list()
    )
    assert counts == vocabulary["test_positives"].to_list()


def test_same_model_and_shards_give_the_same_bytes(project: Paths) -> None:
    before = {path.name: path.read_bytes() for path in project.evaluation.iterdir()}
    run(PARAMS, project, shard=SHARD)
    assert {
        path.name: path.read_bytes() for path in project.evaluation.iterdir()
    } == before


def test_a_damaged_test_shard_is_named_and_the_old_evaluation_stays(
    project: Paths,
) -> None:
    shard = project.shards / "test-00000-of-00002.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-4])
    with pytest.raises(CorruptFile, match=r"test-00000-of-00002\.tfrecord"):
        run(PARAMS, project, shard=SHARD)
    assert (project.evaluation / "metrics.json").exists()


def test_a_damaged_model_is_named(project: Paths) -> None:
    (project.model / "model.keras").write_bytes(b"nothing")
    with pytest.raises(CorruptFile, match=r"model\.keras cannot be read"):
        run(PARAMS, project, shard=SHARD)


def test_a_model_of_another_vocabulary_is_refused(project: Paths) -> None:
    facts = json.loads((project.model / "training.json").read_text())
    (project.model / "training.json").write_text(json.dumps(facts | {"tags": 7}))
    with pytest.raises(BadInput, match="trained on 7 tags"):
        run(PARAMS, project, shard=SHARD)


def test_a_model_of_the_same_tags_in_another_order_is_refused(project: Paths) -> None:
    facts = json.loads((project.model / "training.json").read_text())
    names = facts["tag_names"][::-1]
    (project.model / "training.json").write_text(
        json.dumps(facts | {"tag_names": names})
    )
    with pytest.raises(BadInput, match=f"its tag 0 is {names[0]}, and that of"):
        run(PARAMS, project, shard=SHARD)


def test_labels_beyond_the_vocabulary_are_refused(project: Paths) -> None:
    path = project.manifest / "train.parquet"
    labels = pl.lit([len(toy_shards.TAGS)], pl.List(pl.Int32))
    table = parquet.read(path).with_columns(label_ids=labels)
    schema = pq.read_schema(path)
    parquet.write(path, table, pa.schema(list(schema)))
    with pytest.raises(BadInput, match=r"train\.parquet has label \d+, and the vocab"):
        run(PARAMS, project, shard=SHARD)


def test_images_read_from_their_files_are_evaluated_beside_the_shards(
    evaluated: Paths,
) -> None:
    metrics = json.loads((evaluated.evaluation / "metrics.json").read_text())
    found = metrics["originals"]
    assert found["records"] == 48
    whole = metrics["splits"]["test"]["macro_map"]["value"]
    assert found["macro_map_of_shards"] == pytest.approx(whole, abs=1e-5)
    # The toy images are stored as they are in the shards: only decoders differ.
    assert found["macro_map"] == pytest.approx(whole, abs=0.005)


def test_some_of_many_images_are_read_from_their_files() -> None:
    md5s = [toy_shards.md5_of(number) for number in range(100)]
    chosen = originals.choose(md5s, 30)
    assert len(set(chosen)) == 30
    shuffled = md5s[::-1]
    again = originals.choose(shuffled, 30)
    assert {md5s[place] for place in chosen} == {shuffled[place] for place in again}


def test_files_that_show_something_else_than_the_shards_are_noticed(
    project: Paths,
) -> None:
    """Say, a viewer's turn that one of the two lacks."""
    path = project.images / "pack-test.parquet"
    turned = []
    for image in packs.read_images(path):
        body = encode(images.decode(image.bytes).rotate(180), "JPEG")
        turned.append(replace(image, bytes=body))
    packs.write(path, turned)
    run(PARAMS, project, shard=SHARD)
    metrics = json.loads((project.evaluation / "metrics.json").read_text())
    found = metrics["originals"]
    assert found["macro_map"] < found["macro_map_of_shards"] - 0.005
