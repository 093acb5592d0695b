"""The bundle: what users of other tools load. Its format is in e6tag/bundle.py.

Reads       data/model/                         model.keras and training.json
            data/evaluation/                    metrics.json, thresholds.json,
                                                calibration.json, and the test images of
                                                predictions.parquet; for the card
                                                per_tag and slices (Parquet)
            data/sample/                        vocabulary; for the cards what was left
                                                out and why
            data/snapshot/                      aliases and implications; posts, only
                                                their number
            data/shards/train-*.tfrecord        images that int8 and ratings learn from
            data/shards/test-*.tfrecord         images that ratings are measured on
            data/images/pack-*.parquet          original files of test images
            data/manifest/                      ratings and packs, the lineage; for the
                                                cards all records and rejections
            releases/                           the bundle that export.previous names
Writes      data/bundle/                        the files of e6tag.bundle
Guarantees  Every file but float16 and int8 agrees with Keras within export.tolerance,
            or nothing is published. No image and no address is in it (policy rule 8).
            Same inputs, same bytes. The folder appears whole, by a rename.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e6tag import bundle, images
from pipeline import files, lineage, policy, releases
from pipeline.export import (
    data_card,
    folding,
    imgutils,
    model_card,
    resizing,
    rows,
)
from pipeline.export.built import Built
from pipeline.export.inputs import Inputs, read_inputs
from pipeline.model import backend, saved
from pipeline.params.export import Export
from pipeline.params.shard import Shard
from pipeline.paths import Paths

if TYPE_CHECKING:
    from pipeline.export.measuring import Measurement

GIT_ATTRIBUTES = "".join(
    f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n"
    for suffix in ("keras", "onnx", "tflite")
)
"""What hubs of models keep with Git LFS."""

_MODEL_FACTS = (
    "fingerprint",
    "best_epoch",
    "epochs",
    "keras",
    "parameters",
    "records",
)
"""What lineage.json repeats of training.json."""

_DECIMALS = 6  # of variants.json


def run(params: Export, paths: Paths, *, shard: Shard) -> None:
    """Converts, compares on test images, measures the variants, describes, publishes.

    shard: how images were fitted.
    """
    inputs = read_inputs(params, paths, shard)
    origin = _lineage(params, paths, shard, inputs.model)
    built = _build(params, paths, shard, inputs)
    with files.atomic_folder(paths.bundle) as folder:
        with _temporary_files_below(folder):
            _write_models(folder, built)
            _write_variants(folder, built, inputs)
            _write_imgutils(folder, built, shard)
            _write_deepdanbooru(params, folder, built)
            measured = _measure(params, folder, built, inputs)
        _write_tables(folder, built.layout, inputs)
        _write_hydrus(params, folder)
        _describe(params, folder, shard, inputs, built, origin, measured)
        policy.check_no_images(folder)


@contextmanager
def _temporary_files_below(folder: Path) -> Iterator[None]:
    """Has all temporary files in a folder of the draft, which the next run removes.

    Converters of other projects choose their own places for copies of the model, which
    would stay in /tmp where the process is killed.
    """
    place = folder / ".tmp"
    place.mkdir(parents=True)
    before = tempfile.tempdir
    tempfile.tempdir = str(place)
    try:
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(place)


def _build(params: Export, paths: Paths, shard: Shard, inputs: Inputs) -> Built:
    """Returns the network and all that is decided about the model around it."""
    # Not on a GPU, whose products are coarser than export.tolerance.
    backend.start("tensorflow", "cpu")
    from pipeline.export import calibrated, ratings
    from pipeline.export import network as conversion
    from pipeline.export.graphs import Head

    size = inputs.model.size
    network = calibrated.wrap(inputs.model.network(), inputs.calibration)
    rated = ratings.fit(network, size, inputs.train, inputs.test, paths)
    counts: dict[str, int] = {}
    rating_head = None
    if rated is not None:
        counts, rating_head = rated.counts, rated.model
    positives = inputs.train.positives.tolist()
    layout = rows.lay_out(inputs.vocabulary, positives, inputs.thresholds, counts)
    shifts = None
    if params.fold_thresholds:
        shifts = folding.shifts(layout.thresholds, layout.flat_thresholds)
    return Built(
        network=network,
        network_onnx=conversion.to_onnx(network, size),
        head_name=inputs.model.facts["params"]["head"]["name"],
        resize=resizing.matrix(shard.size, size),
        layout=layout,
        head=Head(layout.columns, shifts, rating_head),
        ratings=rated,
    )


def _write_models(folder: Path, built: Built) -> None:
    """Writes model.onnx and heatmap.onnx."""
    from pipeline.export import graphs, heatmaps, onnx

    proto = graphs.tagger(built.network_onnx, built.resize, built.head)
    files.write_bytes(folder / bundle.MODEL, onnx.serialize(proto))
    heatmap = heatmaps.to_onnx(built.network, built.head_name, built.head)
    files.write_bytes(folder / bundle.HEATMAP_MODEL, onnx.serialize(heatmap))


def _write_variants(folder: Path, built: Built, inputs: Inputs) -> None:
    """Writes the networks of variants/; of each, only one copy is in memory at once."""
    from pipeline.export import network, variants

    place = folder / bundle.VARIANTS
    _write_variant(
        place / bundle.FLOAT16, variants.to_float16(built.network_onnx), built
    )
    int8 = variants.to_int8(built.network_onnx, inputs.train, inputs.model.size)
    _write_variant(place / bundle.INT8, int8, built)
    tflite = network.to_tflite(built.network, built.resize, built.head)
    files.write_bytes(place / bundle.TFLITE, tflite)


def _write_variant(path: Path, network: Any, built: Built) -> None:
    """Writes an ONNX file in the layout of model.onnx around another network."""
    from pipeline.export import graphs, onnx

    whole = graphs.tagger(network, built.resize, built.head)
    files.write_bytes(path, onnx.serialize(whole))


def _measure(
    params: Export, folder: Path, built: Built, inputs: Inputs
) -> dict[str, Any]:
    """Writes variants.json and returns its content; raises BadInput.

    That is where a file does not say what Keras says.
    """
    from pipeline.export import measuring

    measured = inputs.metrics["originals"]["records"]
    found = measuring.measure(params, folder, built, inputs.measured, measured)
    content = _variants_list(folder, found, inputs)
    files.write_json(folder / bundle.VARIANTS / bundle.VARIANTS_LIST, content)
    return content


def _variants_list(
    folder: Path, found: "Measurement", inputs: Inputs
) -> dict[str, Any]:
    """Returns the content of variants.json.

    What each model is worth, its size, and how far it is from Keras.
    """
    models = []
    whole = found.precision[bundle.MODEL]
    for file, value in found.precision.items():
        entry: dict[str, Any] = {"file": file}
        entry["bytes"] = (folder / file).stat().st_size
        if value is not None and whole is not None:
            entry["macro_map"] = round(value, _DECIMALS)
            entry["macro_map_lost"] = round(whole - value, _DECIMALS)
        models.append(entry)
    largest = {}
    for file, difference in found.differences.items():
        largest[file] = float(f"{difference:.2g}")
    return {
        "compared_with_keras": {
            "images": found.compared,
            "largest_difference": largest,
            "test_images": inputs.measured.available,
        },
        "images": found.images,
        "macro_map_of_evaluation": inputs.metrics["originals"].get("macro_map"),
        "models": models,
    }


def _write_tables(folder: Path, layout: rows.Layout, inputs: Inputs) -> None:
    """Writes the tables of the folder itself."""
    tables = {
        bundle.ROWS: bundle.rows_csv(layout.rows),
        bundle.TAGS: bundle.tags_csv(layout.tags),
        bundle.IMPLICATIONS: bundle.to_csv(
            bundle.IMPLICATION_COLUMNS, inputs.implications
        ),
        bundle.RENAMED: bundle.to_csv(bundle.RENAMED_COLUMNS, inputs.renamed),
        bundle.GIT_ATTRIBUTES: GIT_ATTRIBUTES,
    }
    for name, text in tables.items():
        files.write_text(folder / name, text)


def _write_hydrus(params: Export, folder: Path) -> None:
    info = {
        "modelfile": bundle.MODEL,
        "modelname": params.name,
        "numberofratings": len(bundle.RATINGS),
        "ratingsflag": 1,
        "source": "e6tag",
        "tagsfile": bundle.ROWS,
    }
    place = folder / bundle.HYDRUS
    files.write_json(place / bundle.HYDRUS_INFO, info)
    for name in (bundle.MODEL, bundle.ROWS):
        shutil.copyfile(folder / name, place / name)


def _write_imgutils(folder: Path, built: Built, shard: Shard) -> None:
    from pipeline.export import graphs, onnx

    place = folder / bundle.IMGUTILS
    columns = built.layout.columns[imgutils.known_rows(built.layout)]
    head = replace(built.head, columns=columns, shifts=None)
    proto = graphs.imgutils(built.network_onnx, built.resize, head)
    files.write_bytes(place / bundle.MODEL, onnx.serialize(proto))
    files.write_text(place / bundle.ROWS, imgutils.tags_csv(built.layout))
    files.write_text(place / bundle.TAGS, imgutils.thresholds_csv(built.layout))
    files.write_json(place / bundle.CATEGORY_NAMES, imgutils.categories(built.layout))
    files.write_json(place / bundle.TRANSFORMS, imgutils.transforms(shard.fit))


def _write_deepdanbooru(params: Export, folder: Path, built: Built) -> None:
    from pipeline.export import deepdanbooru

    place = folder / bundle.DEEPDANBOORU
    files.write_json(place / bundle.PROJECT, deepdanbooru.project())
    files.write_text(place / bundle.PROJECT_TAGS, deepdanbooru.tags(built.layout))
    keras_file = deepdanbooru.to_keras(
        built.network, built.resize, built.layout, fold=params.fold_thresholds
    )
    files.write_bytes(place / bundle.PROJECT_FILE, keras_file)


def _describe(
    params: Export,
    folder: Path,
    shard: Shard,
    inputs: Inputs,
    built: Built,
    origin: dict[str, Any],
    measured: dict[str, Any],
) -> None:
    """Writes what is about the other files: preprocessing, model card, lineage."""
    preprocessing = bundle.preprocessing(
        network_size=inputs.model.size,
        fit=shard.fit,
        background=images.BACKGROUND,
        jpeg_size=shard.size,
        jpeg_quality=shard.quality,
        is_folded=params.fold_thresholds,
    )
    files.write_json(folder / bundle.PREPROCESSING, preprocessing)
    card = model_card.render_model_card(
        params=params,
        preprocessing=preprocessing,
        metrics=inputs.metrics,
        facts=inputs.model.facts,
        lineage=origin,
        variants=measured,
        ratings=built.ratings,
        data=inputs.data,
        failures=inputs.failures,
    )
    files.write_text(folder / bundle.MODEL_CARD, card)
    card = data_card.render_data_card(params=params, facts=inputs.data, lineage=origin)
    files.write_text(folder / bundle.DATA_CARD, card)
    metrics = releases.bundle_metrics(
        inputs.metrics, inputs.measured.post_ids, inputs.vocabulary["name"]
    )
    files.write_json(folder / bundle.METRICS, metrics)
    origin["model"]["onnx_sha256"] = files.sha256(folder / bundle.MODEL)
    origin["files"] = _checksums(folder)
    files.write_json(folder / bundle.LINEAGE, origin)


def _checksums(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file by its path in the folder."""
    sums = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            sums[path.relative_to(folder).as_posix()] = files.sha256(path)
    return sums


def _lineage(
    params: Export, paths: Paths, shard: Shard, model: saved.SavedModel
) -> dict[str, Any]:
    """Returns the lineage of the manifest and of the stages since."""
    origin = lineage.read(paths.manifest / "train.parquet")
    parameters = {
        **origin.get("parameters", {}),
        "shard": shard.model_dump(mode="json"),
        "train": model.facts["params"],
        "export": params.model_dump(),
    }
    facts = {name: model.facts[name] for name in _MODEL_FACTS}
    return {**origin, "parameters": parameters, "model": facts}
