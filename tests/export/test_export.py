"""The bundle: ONNX says what Keras says, other tools can read it.

And it holds nothing that it must not.
"""

import csv
import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import polars as pl
import pyarrow as pa
import pytest

from e6tag import bundle, tagger
from pipeline import packs, parquet
from pipeline.errors import BadInput
from pipeline.evaluate import run as evaluate
from pipeline.export import measuring, model_card, run
from pipeline.metrics import ranking
from pipeline.metrics.calibration import Calibration
from pipeline.params.evaluate import Evaluate
from pipeline.params.export import Export
from pipeline.params.shard import Shard
from pipeline.paths import Paths
from pipeline.schemas.manifest import MANIFEST
from pipeline.schemas.sample import VOCABULARY
from tests.builders import toy_shards

# Keras hands its variables to h5py, and tf2onnx makes arrays, in ways that NumPy 2 asks
# to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

SHARD = Shard(size=toy_shards.SIZE)
RED = list(toy_shards.TAGS).index("red_background")


@pytest.fixture(scope="module")
def exported(toy_trained: Paths, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The trained toy project, evaluated and exported."""
    root = tmp_path_factory.mktemp("exported") / "project"
    shutil.copytree(toy_trained.root, root)
    paths = Paths(root)
    evaluate(Evaluate(bootstrap=10), paths, shard=SHARD)
    run(Export(), paths, shard=SHARD)
    return paths


@pytest.fixture
def project(exported: Paths, tmp_path: Path) -> Paths:
    shutil.copytree(exported.root, tmp_path / "project")
    return Paths(tmp_path / "project")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def original_images(paths: Paths) -> dict[str, bytes]:
    """Returns the files of the test images by md5."""
    manifest = parquet.read(paths.manifest / "test.parquet", columns=["md5", "pack"])
    reader = packs.PackReader(paths.images)
    return {md5: reader.bytes(pack, md5) for md5, pack in manifest.iter_rows()}


def pixels_of(opened: tagger.Tagger, paths: Paths) -> np.ndarray:
    bodies = original_images(paths).values()
    return np.stack([opened.prepare(body) for body in bodies])


def labels_of(paths: Paths) -> np.ndarray:
    """Returns the labels of the test images, in the order of `original_images`."""
    predictions = parquet.read(paths.evaluation / "predictions.parquet")
    by_md5 = dict(predictions.select("md5", "label_ids").iter_rows())
    md5s = list(original_images(paths))
    labels = np.zeros((len(md5s), len(toy_shards.TAGS)), np.uint8)
    for row, md5 in enumerate(md5s):
        labels[row, by_md5[md5]] = 1
    return labels


def macro_map(labels: np.ndarray, scores: np.ndarray) -> float | None:
    return ranking.mean(ranking.average_precision_per_tag(labels, scores))


def test_the_model_has_the_form_of_the_wd_taggers(exported: Paths) -> None:
    session = onnxruntime.InferenceSession(exported.bundle / "model.onnx")
    (given,) = session.get_inputs()
    assert (given.name, given.shape, given.type) == (
        "input",
        ["N", 448, 448, 3],
        "tensor(float)",
    )
    count = 4 + len(toy_shards.TAGS) + 1
    found = {each.name: each.shape for each in session.get_outputs()}
    assert list(found) == ["output", "embedding", "scores", "features"]
    assert found["output"] == found["scores"] == ["N", count]
    assert found["embedding"] == ["N", found["features"][-1]]


def test_every_onnx_file_is_of_operators_that_an_old_runtime_has(
    exported: Paths,
) -> None:
    names = sorted(exported.bundle.rglob("*.onnx"))
    assert len(names) == 6
    for path in names:
        model = onnx.load(path)
        assert model.ir_version == 8
        assert [(each.domain, each.version) for each in model.opset_import] == [
            ("", 17)
        ]


def test_ratings_come_first_and_a_character_last(exported: Paths) -> None:
    found = rows(exported.bundle / "selected_tags.csv")
    assert list(found[0]) == ["tag_id", "name", "category", "count"]
    assert [(row["name"], row["category"]) for row in found[:4]] == [
        ("general", "9"),
        ("sensitive", "9"),
        ("questionable", "9"),
        ("explicit", "9"),
    ]
    assert [row["name"] for row in found[4:-1]] == list(toy_shards.TAGS)
    assert {row["category"] for row in found[4:-1]} == {"0"}
    assert found[-1]["category"] == "4"
    vocabulary = parquet.read(exported.sample / "vocabulary.parquet")
    counts = [int(row["count"]) for row in found[4:-1]]
    assert counts == vocabulary["train_positives"].to_list()


def test_what_the_model_does_not_know_is_zero(exported: Paths) -> None:
    opened = tagger.Tagger(exported.bundle)
    assert [row.is_dead for row in opened.bundle.rows[:4]] == [True] * 4
    assert opened.bundle.rows[-1].is_dead
    assert opened.bundle.ratings == {}
    pixels = pixels_of(opened, exported)[:3]
    bgr = pixels[..., ::-1].astype(np.float32)
    for values in opened.session.run(["output", "scores"], {"input": bgr}):
        assert (values[:, [0, 1, 2, 3, -1]] == 0).all()
        assert (values[:, 4:-1] > 0).all()


def test_thresholds_are_folded_into_the_first_output(exported: Paths) -> None:
    """A client with one flat threshold finds what the tagger finds with a tag's own."""
    opened = tagger.Tagger(exported.bundle)
    pixels = pixels_of(opened, exported)
    bgr = pixels[..., ::-1].astype(np.float32)
    output, scores = opened.session.run(["output", "scores"], {"input": bgr})
    places = [tag.row for tag in opened.bundle.tags]
    applied = opened.select(scores[:, places])
    assert ((output[:, places] >= bundle.FLAT_THRESHOLD) == applied).all()
    assert 0.02 < applied.mean() < 0.98


def test_nothing_is_folded_where_that_is_not_wanted(project: Paths) -> None:
    run(Export(fold_thresholds=False), project, shard=SHARD)
    opened = tagger.Tagger(project.bundle)
    assert not opened.bundle.is_folded
    bgr = np.zeros((1, 448, 448, 3), np.float32)
    output, scores = opened.session.run(["output", "scores"], {"input": bgr})
    assert (output == scores).all()


def test_the_lineage_names_every_file_by_its_checksum(exported: Paths) -> None:
    lineage = json.loads((exported.bundle / bundle.LINEAGE).read_text())
    names = set()
    for path in exported.bundle.rglob("*"):
        if path.is_file() and path.name != bundle.LINEAGE:
            name = str(path.relative_to(exported.bundle))
            names.add(name)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert lineage["files"][name] == digest
    assert names == set(lineage["files"])
    assert lineage["model"]["onnx_sha256"] == lineage["files"]["model.onnx"]


def test_the_bundle_opens_as_a_tagger(exported: Paths) -> None:
    opened = tagger.Tagger(exported.bundle)
    pixels = pixels_of(opened, exported)
    found = opened.run(pixels)
    assert found.scores.shape == (len(pixels), len(toy_shards.TAGS))
    assert found.uncertainty is None
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    alone = opened.run(pixels[-1:])
    assert np.allclose(found.scores[-1:], alone.scores, atol=1e-5)
    assert np.allclose(found.features.mean(axis=(1, 2)), found.embeddings, atol=1e-5)
    at_threshold = opened.thresholds[None, :].astype(np.float64)
    assert opened.select(at_threshold).all()
    assert not opened.select(at_threshold - 1e-6).any()


def test_a_bundle_with_a_row_too_few_is_refused(project: Paths) -> None:
    path = project.bundle / bundle.ROWS
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    count = len(lines) - 1
    with pytest.raises(
        bundle.BundleError,
        match=rf"has {count} columns in output, .* has {count - 1} rows",
    ):
        tagger.Tagger(project.bundle)


def uncalibrated(paths: Paths, logits: np.ndarray) -> np.ndarray:
    """Returns the network's logits, before the calibration of data/evaluation."""
    tree = json.loads((paths.evaluation / "calibration.json").read_text())
    found = Calibration.from_json(tree["calibration"])
    corners = np.array([-100.0, *found.knots, 100.0])
    return np.interp(logits, found.apply(corners), corners)


def test_heat_of_all_positions_is_the_logit_without_its_bias(exported: Paths) -> None:
    opened = tagger.Tagger(exported.bundle)
    heatmap = onnxruntime.InferenceSession(exported.bundle / "heatmap.onnx")
    found = opened.run(pixels_of(opened, exported)[:8])
    (heat,) = heatmap.run(None, {"features": found.features})
    assert heat.shape == (*found.features.shape[:3], len(opened.bundle.rows))
    assert (heat[..., [0, 1, 2, 3, -1]] == 0).all()
    calibrated = np.log(found.scores) - np.log1p(-found.scores)
    logits = uncalibrated(exported, calibrated)
    bias = logits - heat.sum(axis=(1, 2))[:, 4:-1]
    # The same for every image.
    # Scores near 0 and 1 do not tell their logit closer.
    assert bias == pytest.approx(np.broadcast_to(bias[:1], bias.shape), abs=5e-3)


def test_the_card_shows_every_metric_beside_its_baseline(exported: Paths) -> None:
    text = (exported.bundle / "README.md").read_text()
    metrics = json.loads((exported.evaluation / "metrics.json").read_text())
    on_test = metrics["splits"]["test"]
    for name, label in model_card.METRICS.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {label}")]
        assert f"{on_test[name]['value']:.4f}" in line
        assert f"{on_test[name]['baseline']:.4f}" in line


def test_the_card_has_the_front_matter_of_a_hub(exported: Paths) -> None:
    yaml = pytest.importorskip("yaml")
    text = (exported.bundle / "README.md").read_text()
    start, front, _ = text.split("---\n", 2)
    assert start == ""
    matter = yaml.safe_load(front)
    # Nobody has licensed the weights yet.
    assert "license" not in matter
    assert matter["pipeline_tag"] == "image-classification"
    assert "onnx" in matter["tags"]
    assert "&#" not in text  # Markdown, not escaped HTML


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
    folder = exported.bundle
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    expected = {*bundle.FILES}
    for name, names in bundle.FOLDERS.items():
        expected |= {f"{name}/{each}" for each in names}
    assert set(found) == expected
    for body in found.values():
        assert b"\xff\xd8\xff\xe0" not in body
        assert b"\x89PNG" not in body
        assert b"http" not in body


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_same_model_gives_the_same_bytes(project: Paths) -> None:
    before = contents(project.bundle)
    run(Export(), project, shard=SHARD)
    after = contents(project.bundle)
    assert {name for name in before if before[name] != after[name]} == set()
    assert set(before) == set(after)


def test_disagreement_beyond_the_tolerance_publishes_nothing(project: Paths) -> None:
    shutil.rmtree(project.bundle)
    with pytest.raises(
        BadInput,
        match=r"model\.onnx differs from model\.keras by .* Nothing is published",
    ):
        run(Export(tolerance=1e-30), project, shard=SHARD)
    assert not project.bundle.exists()


def change_onnx(path: Path) -> None:
    """Makes all weights of a model a hundredth larger."""
    model = onnx.load(path)
    for weights in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weights)
        if values.dtype == np.float32 and values.ndim > 1:
            changed = onnx.numpy_helper.from_array(values * np.float32(1.01))
            weights.raw_data = changed.raw_data
    onnx.save(model, path)


def change_keras(path: Path) -> None:
    model = keras.models.load_model(path, compile=False)
    for weights in model.trainable_variables:
        weights.assign(weights * 1.01)
    model.save(path)


CHANGES = {
    "model.onnx": change_onnx,
    "heatmap.onnx": change_onnx,
    "imgutils/model.onnx": change_onnx,
    "deepdanbooru/model-e6tag.keras": change_keras,
}


def test_each_file_that_says_other_things_than_keras_is_refused(
    project: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = measuring.measure
    refused = []

    def measure_changed(params: Export, folder: Path, *others: Any) -> Any:
        for number, (file, change) in enumerate(CHANGES.items()):
            copied = tmp_path / f"changed{number}"
            shutil.copytree(folder, copied)
            change(copied / file)
            differs = f"^{re.escape(file)} differs from model.keras"
            with pytest.raises(BadInput, match=differs):
                measure(params, copied, *others)
            refused.append(file)
        return measure(params, folder, *others)

    monkeypatch.setattr(measuring, "measure", measure_changed)
    run(Export(), project, shard=SHARD)
    assert refused == list(CHANGES)


def test_a_manifest_without_lineage_is_refused(project: Paths) -> None:
    parquet.write(project.manifest / "train.parquet", [], MANIFEST)
    with pytest.raises(BadInput, match="carries no lineage"):
        run(Export(), project, shard=SHARD)


def test_thresholds_of_another_vocabulary_are_refused(project: Paths) -> None:
    (project.evaluation / "thresholds.json").write_text('{"fox": 0.5}')
    with pytest.raises(BadInput, match=r"thresholds\.json has other tags"):
        run(Export(), project, shard=SHARD)


def test_bundle_gives_for_files_what_the_evaluation_says(exported: Paths) -> None:
    """From a file to the answer by the bundle alone."""
    opened = tagger.Tagger(exported.bundle)
    found = opened.run(pixels_of(opened, exported))
    metrics = json.loads((exported.evaluation / "metrics.json").read_text())
    expected = metrics["originals"]["macro_map"]
    assert macro_map(labels_of(exported), found.scores) == pytest.approx(
        expected, abs=0.005
    )
    predictions = parquet.read(exported.evaluation / "predictions.parquet")
    by_md5 = dict(predictions.select("md5", "scores").iter_rows())
    published = np.array([by_md5[md5] for md5 in original_images(exported)])
    # The same images but for their decoders, with the same calibration.
    assert np.abs(published - found.scores).mean() < 0.01
    card = (exported.bundle / "README.md").read_text()
    assert f"macro mAP of {expected:.4f}" in card


def test_variants_are_measured_on_the_same_images(exported: Paths) -> None:
    folder = exported.bundle
    measured = json.loads((folder / "variants" / "variants.json").read_text())
    assert measured["images"] == 48
    labels = labels_of(exported)
    opened = tagger.Tagger(exported.bundle)
    bgr = pixels_of(opened, exported)[..., ::-1].astype(np.float32)
    assert len(measured["models"]) == 4
    for each in measured["models"]:
        path = folder / each["file"]
        assert each["bytes"] == path.stat().st_size
        assert each["macro_map_lost"] < 0.02
        if path.suffix == ".onnx":
            session = tagger.open_session(path)
            (scores,) = session.run(["scores"], {"input": bgr})
            found = macro_map(labels, scores[:, 4:-1])
            assert found == pytest.approx(each["macro_map"], abs=1e-5)


def test_every_exact_file_was_compared_with_keras(exported: Paths) -> None:
    path = exported.bundle / "variants" / "variants.json"
    compared = json.loads(path.read_text())["compared_with_keras"]
    assert (compared["images"], compared["test_images"]) == (48, 48)
    largest = compared["largest_difference"]
    assert set(largest) == {
        "model.onnx",
        "heatmap.onnx",
        "imgutils/model.onnx",
        "deepdanbooru/model-e6tag.keras",
        "variants/model.tflite",
    }
    assert 0 < max(largest.values()) < 1e-4


def test_tflite_names_its_outputs_and_is_zero_where_nothing_is_known(
    exported: Paths,
) -> None:
    """With the kernels that programs get unless they ask for others."""
    import tensorflow as tf

    opened = tagger.Tagger(exported.bundle)
    bgr = pixels_of(opened, exported)[:5, ..., ::-1].astype(np.float32)
    path = exported.bundle / "variants" / "model.tflite"
    with pytest.warns(UserWarning, match="deprecated"):
        interpreter = tf.lite.Interpreter(str(path))
    names = {"inputs": ["input"], "outputs": ["output", "scores"]}
    assert interpreter.get_signature_list() == {"serving_default": names}
    found = interpreter.get_signature_runner()(input=bgr)
    for name, values in zip(
        ("output", "scores"),
        opened.session.run(["output", "scores"], {"input": bgr}),
        strict=True,
    ):
        assert found[name] == pytest.approx(values, abs=1e-4)
        assert (found[name][:, [0, 1, 2, 3, -1]] == 0).all()


def test_no_copy_of_a_model_is_outside_the_draft(
    project: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies of models are in the draft, where a killed run's are removed."""
    place = tmp_path / "temporary"
    place.mkdir()
    os.utime(place, (0, 0))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    run(Export(), project, shard=SHARD)
    assert tempfile.tempdir == str(place)
    # Nothing was ever made there.
    assert place.stat().st_mtime == 0


def test_implications_are_those_of_the_tags_to_any_depth(exported: Paths) -> None:
    found = rows(exported.bundle / "implications.csv")
    assert [(row["name"], row["implies"]) for row in found] == [
        ("circle", "shape"),
        ("shape", "drawing"),
    ]


def test_tags_renamed_since_the_last_release_are_listed(project: Paths) -> None:
    release = project.root / "releases" / "first"
    release.mkdir(parents=True)
    tags = [bundle.Tag(4, "band", 0, 0.5, 9), bundle.Tag(5, "dot", 0, 0.5, 9)]
    (release / bundle.TAGS).write_text(bundle.tags_csv(tags))
    run(Export(previous="releases/first"), project, shard=SHARD)
    found = rows(project.bundle / "renamed_tags.csv")
    assert found == [{"old": "band", "new": "stripe"}]


def test_a_last_release_that_is_not_there_is_named(project: Paths) -> None:
    with pytest.raises(BadInput, match=r"export\.previous: .*thresholds\.csv"):
        run(Export(previous="releases/missing"), project, shard=SHARD)


def test_ratings_are_learnt_where_the_images_have_several(project: Paths) -> None:
    toy_shards.rate(project, RED, ("s", "e"))
    run(Export(), project, shard=SHARD)
    opened = tagger.Tagger(project.bundle)
    assert opened.bundle.ratings == {"general": 0, "explicit": 3}
    counts = [row.count for row in opened.bundle.rows[:4]]
    assert counts[0] + counts[3] == toy_shards.RECORDS["train"]
    found = opened.run(pixels_of(opened, project))
    assert found.ratings.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (found.ratings[:, [1, 2]] == 0).all()
    is_red = labels_of(project)[:, RED]
    accuracy = ((found.ratings[:, 3] > 0.5) == is_red).mean()
    assert accuracy > 0.9
    imgutils = rows(project.bundle / "imgutils" / "selected_tags.csv")
    of_ratings = [row for row in imgutils if row["category"] == "9"]
    assert {row["best_threshold"] for row in of_ratings} == {"0.4999"}
    card = (project.bundle / "README.md").read_text()
    assert "tell general, explicit: of 48 test images" in card


def test_ratings_of_images_that_are_not_in_the_shards_do_not_count(
    project: Paths,
) -> None:
    """The manifest has two ratings, the shards have one."""
    path = project.manifest / "train.parquet"
    train = parquet.read(path)
    others = train.head(1).with_columns(
        post_id=pl.lit(9_999), md5=pl.lit("f" * 32), rating=pl.lit("e")
    )
    schema = pa.schema([MANIFEST.field(name) for name in train.columns])
    with_another = pl.concat([train, others.cast(train.schema)])
    parquet.write(path, with_another, schema, metadata=parquet.metadata(path))
    run(Export(), project, shard=SHARD)
    assert tagger.Tagger(project.bundle).bundle.ratings == {}


def test_characters_have_rows_and_a_threshold_of_their_own(project: Paths) -> None:
    path = project.sample / "vocabulary.parquet"
    category = pl.when(pl.col("name") == "circle").then(pl.lit("character"))
    vocabulary = parquet.read(path).with_columns(
        category=category.otherwise(pl.col("category"))
    )
    parquet.write(path, vocabulary, VOCABULARY)
    run(Export(), project, shard=SHARD)
    opened = tagger.Tagger(project.bundle)
    assert opened.bundle.rows[-1].name == "circle"
    assert [tag.name for tag in opened.bundle.tags][-1] == "circle"
    bgr = pixels_of(opened, project)[..., ::-1].astype(np.float32)
    output, scores = opened.session.run(["output", "scores"], {"input": bgr})
    applied = scores[:, -1] >= opened.thresholds[-1]
    assert ((output[:, -1] >= bundle.CHARACTER_THRESHOLD) == applied).all()
    assert 0 < applied.mean() < 1
