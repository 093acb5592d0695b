"""The rules of data/bundle, which is compared with data/sample."""

import json
import math
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from e6tag import bundle as bundle_format
from pipeline import files, parquet
from pipeline.metrics.catalogue import HEADLINE
from pipeline.params import Params
from pipeline.params.export import FEWEST_COMPARED, LARGEST_TOLERANCE
from pipeline.params.site import SITE_NAMES
from pipeline.paths import Paths
from pipeline.releases import POSTS_DIGEST, TAGS_DIGEST
from pipeline.validate import (
    bundle_json,
    bundle_models,
    bundle_tables,
    embedded_images,
)
from pipeline.validate.bundle_json import JsonFiles
from pipeline.validate.bundle_models import OnnxFile
from pipeline.validate.bundle_tables import Tables
from pipeline.validate.checks import (
    Check,
    MeasuredTable,
    RowChecks,
    findings_table,
    no_violations,
)
from pipeline.validate.violations import listed

LINEAGE_KEYS = ("pin", "policy_version", "parameters", "model")
"""Keys of lineage.json without which nobody knows what a model was trained on."""

DIGESTS = (POSTS_DIGEST, TAGS_DIGEST)

DESCRIPTIONS = (
    bundle_format.LINEAGE,
    bundle_format.MODEL_CARD,
    bundle_format.DATA_CARD,
    bundle_format.METRICS,
    bundle_format.PREPROCESSING,
)
"""Files that describe the model. Tags, in the others, may have any name."""

TAGGERS = (
    bundle_format.MODEL,
    f"{bundle_format.VARIANTS}/{bundle_format.FLOAT16}",
    f"{bundle_format.VARIANTS}/{bundle_format.INT8}",
)
"""Files in the layout of the WD taggers."""

TFLITE = f"{bundle_format.VARIANTS}/{bundle_format.TFLITE}"

MEASURED = (*TAGGERS, TFLITE)
"""Files that variants.json lists, in their order."""

IMGUTILS_MODEL = f"{bundle_format.IMGUTILS}/{bundle_format.MODEL}"

COMPARED = (
    bundle_format.MODEL,
    bundle_format.HEATMAP_MODEL,
    IMGUTILS_MODEL,
    f"{bundle_format.DEEPDANBOORU}/{bundle_format.PROJECT_FILE}",
    TFLITE,
)
"""Files that compute in float32, and so say what Keras says."""

TFLITE_TOLERANCE = 1e-3
"""TensorFlow Lite approximates the sigmoid."""

TFLITE_NAMES = ("serving_default", "input", "output", "scores")
"""The only signature of model.tflite, its input and its outputs."""

MOST_LOST = 0.02
"""Macro mAP that a variant may lose without a warning."""

MOST_APART = 0.005
"""Macro mAP by which model.onnx and the evaluation may differ without a warning, on the
same original files."""

ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]*://[^\s\"'`]+"
    r"|\blocalhost\b(?::\d+)?"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d+)?",
    re.IGNORECASE,
)
"""A URL, this machine, or an IPv4 address."""


def row_checks(_params: Params, _labels: int, /) -> RowChecks:
    """Returns no checks: a bundle has no Parquet files."""
    return {}


Found = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Bundle:
    """The folder of the bundle, and the vocabulary of the sample."""

    folder: Path
    names: list[str]  # of all files, relative to the folder
    tables: Tables
    models: dict[str, OnnxFile]  # those that can be read, by name
    unreadable: list[dict[str, Any]]
    vocabulary: pl.DataFrame  # in the order of the rows
    json_files: JsonFiles

    @classmethod
    def read(cls, paths: Paths) -> "_Bundle":
        folder = paths.bundle
        found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        names = [path.relative_to(folder).as_posix() for path in found]
        vocabulary = parquet.read(paths.sample / "vocabulary.parquet")
        expected = [*TAGGERS, bundle_format.HEATMAP_MODEL, IMGUTILS_MODEL]
        models, unreadable = bundle_models.read_all(folder, expected)
        return cls(
            folder=folder,
            names=names,
            tables=Tables.read(folder),
            models=models,
            unreadable=unreadable,
            vocabulary=bundle_tables.vocabulary_in_rows(vocabulary),
            json_files=JsonFiles.read(folder),
        )

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Content of preprocessing.json."""
        return self.json_files[bundle_format.PREPROCESSING]

    @property
    def lineage(self) -> dict[str, Any]:
        """Content of lineage.json."""
        return self.json_files[bundle_format.LINEAGE]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of selected_tags.csv."""
        return self.tables[bundle_format.ROWS]


def measure(_params: Params, paths: Paths, /) -> list[MeasuredTable]:
    """Measures the bundle against the sample."""
    bundle = _Bundle.read(paths)
    findings = [
        *_files(bundle),
        *_tables(bundle),
        *_models(bundle),
        *_other_programs(bundle),
        *_variants(bundle),
        *_origin(bundle),
        *_addresses(bundle),
    ]
    return [findings_table(findings)]


def _files(bundle: _Bundle) -> Iterator[Check]:
    """Checks that the bundle holds its files and no images."""
    images = []
    for path, kind in embedded_images.find_images(bundle.folder):
        file = str(path.relative_to(bundle.folder))
        images.append({"file": file, "image": kind})
    found = listed(images, len(bundle.names))
    description = "no file is an image or holds one (policy rule 8)"
    yield no_violations("image", description, found)

    known = {*bundle_format.FILES}
    for folder, names in bundle_format.FOLDERS.items():
        known |= {f"{folder}/{name}" for name in names}
    extra = [{"file": name} for name in bundle.names if name not in known]
    found = listed(extra, len(bundle.names))
    description = "there are no files that a bundle does not need"
    yield no_violations("unexpected_file", description, found)

    unreadable = bundle.json_files.unreadable
    found = listed(unreadable, len(bundle_json.OBJECTS) + len(bundle_json.LISTS))
    description = "every JSON file holds an object, categories.json a list of them"
    yield no_violations("json_kind", description, found)


def _check(
    name: str, found: Iterable[dict[str, Any]], checked: int, description: str
) -> Check:
    """Returns the check that nothing was found. checked: what was looked at."""
    return no_violations(name, description, listed(list(found), checked))


def _tables(bundle: _Bundle) -> Iterator[Check]:
    """Checks the tables of the bundle itself."""
    tables, rows, vocabulary = bundle.tables, bundle.rows, bundle.vocabulary
    yield _check(
        "columns_differ",
        tables.wrong,
        len(bundle_tables.COLUMNS),
        "every CSV file has its columns, and every row all of them",
    )
    yield _check(
        "rating_misplaced",
        bundle_tables.misplaced_ratings(rows),
        len(rows),
        "the first four rows, and no other, are the ratings: general, sensitive, "
        "questionable, explicit",
    )
    yield _check(
        "category_misordered",
        bundle_tables.misordered_categories(rows),
        len(rows),
        "behind the ratings are tags (0), then one character or more (4)",
    )
    yield _check(
        "dead_row",
        bundle_tables.wrong_dead_rows(rows),
        len(rows),
        "only ratings and a single character row stand for nothing, and count nothing",
    )
    yield _check(
        "tag_differs",
        bundle_tables.differing_tags(rows, vocabulary),
        vocabulary.height,
        "selected_tags.csv has the tags of the vocabulary, in its order, characters "
        "last",
    )
    yield _check(
        "threshold_missing",
        bundle_tables.differing_thresholds(tables[bundle_format.TAGS], vocabulary),
        vocabulary.height,
        "thresholds.csv has the category and a threshold from 0 to 1 per tag, in the "
        "order of the rows",
    )
    implications = tables[bundle_format.IMPLICATIONS]
    yield _check(
        "implication_unrelated",
        bundle_tables.unrelated_implications(
            implications, vocabulary["name"].to_list()
        ),
        len(implications),
        "every implication is of a tag, or of what one implies, and none is of itself",
    )
    renamed = tables[bundle_format.RENAMED]
    yield _check(
        "renaming",
        bundle_tables.wrong_renamings(renamed),
        len(renamed),
        "every renamed tag has one new name, which is another",
    )


def _models(bundle: _Bundle) -> Iterator[Check]:
    """Checks form and answers of the ONNX files."""
    models = bundle.models.values()
    checked = len(bundle.models) + len(bundle.unreadable)
    yield _check(
        "model_unreadable", bundle.unreadable, checked, "every ONNX file can be read"
    )
    versions: Found = []
    for model in models:
        versions += bundle_models.version_problems(model)
    yield _check(
        "model_too_new",
        versions,
        checked,
        "every ONNX file has opset 17 and IR version 8 at most, no other operators and "
        "its weights inside",
    )
    yield _check(
        "model_form",
        _forms(bundle),
        checked,
        "inputs and outputs have their names, types and shapes, the batch is free, and "
        "there are as many columns as rows",
    )
    answers, dead, folded = _answers(bundle)
    yield _check(
        "answer",
        answers,
        len(TAGGERS),
        "outputs are from 0 to 1 for any image, in batches",
    )
    yield _check(
        "dead_row_answers",
        dead,
        len(TAGGERS),
        "rows that stand for nothing are 0 in all outputs",
    )
    yield _check(
        "threshold_folding",
        folded,
        bundle.vocabulary.height,
        "output is scores, with thresholds folded in where preprocessing.json says so",
    )


def _forms(bundle: _Bundle) -> Iterator[dict[str, Any]]:
    models, rows = bundle.models, len(bundle.rows)
    for name in TAGGERS:
        if name in models:
            yield from bundle_models.tagger_problems(models[name], rows)
    heatmap = models.get(bundle_format.HEATMAP_MODEL)
    tagger = models.get(bundle_format.MODEL)
    if heatmap is not None and tagger is not None:
        yield from bundle_models.heatmap_problems(heatmap, tagger, rows)
    if IMGUTILS_MODEL in models:
        known = len(bundle.tables[f"{bundle_format.IMGUTILS}/{bundle_format.ROWS}"])
        yield from bundle_models.imgutils_problems(models[IMGUTILS_MODEL], known)


def _answers(bundle: _Bundle) -> tuple[Found, Found, Found]:
    """Runs the taggers, but for files whose form is wrong.

    Returns outputs that are not from 0 to 1, those that are not 0 in rows that stand
    for nothing, and rows whose thresholds are not folded in.
    """
    outside: Found = []
    dead: Found = []
    folded: Found = []
    rows = bundle.rows
    is_dead = np.array([bundle_tables.is_dead(row) for row in rows], dtype=bool)
    images = bundle_models.some_images()
    for name in TAGGERS:
        model = bundle.models.get(name)
        if model is None or any(bundle_models.tagger_problems(model, len(rows))):
            continue
        try:
            answers = model.run({bundle_format.INPUT: images})
        # ONNX Runtime's own errors have no common base.
        except Exception as error:  # noqa: BLE001
            text = " ".join(str(error).split())[:150]
            outside.append({"file": name, "error": text})
            continue
        for problem in bundle_models.answer_problems(model, answers, is_dead):
            if problem["is"] == "not 0":
                dead.append(problem)
            else:
                outside.append(problem)
        if name == bundle_format.MODEL:
            folded = list(_folding_problems(bundle, answers))
    return outside, dead, folded


def _folding_problems(
    bundle: _Bundle, answers: dict[str, np.ndarray]
) -> Iterator[dict[str, Any]]:
    rows = {row["name"]: number for number, row in enumerate(bundle.rows)}
    thresholds = {}
    for tag in bundle.tables[bundle_format.TAGS]:
        if tag["name"] in rows:
            row = rows[tag["name"]]
            thresholds[row] = bundle_tables.number(tag["threshold"])
    categories = [bundle_tables.number(row["category"]) for row in bundle.rows]
    is_folded = bundle.preprocessing.get("folded_thresholds") is True
    return bundle_models.folding_problems(
        answers, thresholds, categories, is_folded=is_folded
    )


def _other_programs(bundle: _Bundle) -> Iterator[Check]:
    """Checks the folders for Hydrus, imgutils and DeepDanbooru."""
    json_files = bundle.json_files
    info = json_files[f"{bundle_format.HYDRUS}/{bundle_format.HYDRUS_INFO}"]
    hydrus = list(bundle_tables.hydrus_problems(bundle.tables, info))
    copied = f"{bundle_format.HYDRUS}/{bundle_format.MODEL}"
    model = files.sha256(bundle.folder / bundle_format.MODEL)
    if files.sha256(bundle.folder / copied) != model:
        hydrus.append({"file": copied, "is": f"not {bundle_format.MODEL}"})
    names = bundle_format.FOLDERS[bundle_format.HYDRUS]
    yield _check(
        "hydrus",
        hydrus,
        len(names),
        "hydrus/ holds the model and its rows again, and info.json names them",
    )
    yield _check(
        "imgutils",
        bundle_tables.imgutils_problems(
            bundle.tables,
            json_files.lists[
                f"{bundle_format.IMGUTILS}/{bundle_format.CATEGORY_NAMES}"
            ],
            json_files[f"{bundle_format.IMGUTILS}/{bundle_format.TRANSFORMS}"],
            bundle.preprocessing.get("fit"),
        ),
        len(bundle.rows),
        "imgutils/ has the rows that are known, with the site's categories and the "
        "thresholds of thresholds.csv, and fits images as preprocessing.json says",
    )
    yield _check(
        "deepdanbooru",
        _deepdanbooru_problems(bundle),
        bundle.vocabulary.height,
        "deepdanbooru/ is a project: its tags are those of the vocabulary, in its "
        "order, and its model takes images of the size that project.json gives",
    )


def _deepdanbooru_problems(bundle: _Bundle) -> Iterator[dict[str, Any]]:
    folder = bundle.folder / bundle_format.DEEPDANBOORU
    found = _text(folder / bundle_format.PROJECT_TAGS).splitlines()
    expected = bundle.vocabulary.sort("label_id")["name"].to_list()
    if found != expected:
        yield {"file": bundle_format.PROJECT_TAGS, "is": "not the tags, in their order"}
    project = bundle.json_files[f"{bundle_format.DEEPDANBOORU}/{bundle_format.PROJECT}"]
    model = folder / f"model-{project.get('model')}.keras"
    if not model.is_file():
        yield {"file": bundle_format.PROJECT, "model": str(project.get("model"))}
        return
    sides = [project.get("image_height"), project.get("image_width")]
    shape = _keras_input(model)
    if shape != [None, *sides, 3]:
        yield {"file": model.name, "input": str(shape), "project.json": str(sides)}


def _keras_input(path: Path) -> list[Any] | None:
    """Returns the shape of the one input of a .keras file, None where it has none."""
    try:
        with zipfile.ZipFile(path) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        given = [each for each in layers if each["class_name"] == "InputLayer"]
        return list(given[0]["config"]["batch_shape"])
    except (zipfile.BadZipFile, ValueError, KeyError, IndexError, TypeError):
        return None


def _variants(bundle: _Bundle) -> Iterator[Check]:
    """Checks variants.json: sizes, and how much each variant loses."""
    name = f"{bundle_format.VARIANTS}/{bundle_format.VARIANTS_LIST}"
    tree = bundle.json_files[name]
    models = bundle_json.objects_below(tree, "models")
    yield _check(
        "variant_unlisted",
        _unlisted(bundle.folder, models),
        len(MEASURED),
        "variants.json lists model.onnx and every variant with its bytes",
    )
    yield _check(
        "compared_with_keras",
        _uncompared(bundle_json.below(tree, "compared_with_keras")),
        len(COMPARED),
        f"model.onnx was compared with Keras on {FEWEST_COMPARED} test images or all, "
        f"and every file agrees within {LARGEST_TOLERANCE:g}, TFLite within "
        f"{TFLITE_TOLERANCE:g}",
    )
    yield _check(
        "tflite_names",
        _unnamed(bundle.folder / TFLITE),
        len(TFLITE_NAMES),
        "model.tflite has a signature that names its input and its outputs",
    )
    lost = [each for each in models if _lost(each) > MOST_LOST]
    found = listed(lost, len(MEASURED))
    description = f"no variant loses more than {MOST_LOST} of macro mAP"
    yield no_violations("variant_loses", description, found, severity="warning")

    found = listed(_apart(tree, models), 1)
    description = (
        f"model.onnx has the macro mAP of the evaluation within {MOST_APART}, on the "
        "same original files"
    )
    yield no_violations("evaluation_differs", description, found, severity="warning")


def _lost(model: dict[str, Any]) -> float:
    return bundle_json.number_below(model, "macro_map_lost")


def _unlisted(folder: Path, models: Found) -> Iterator[dict[str, Any]]:
    """Yields what variants.json has in another order, or with other bytes."""
    names = [each.get("file") for each in models]
    if names != list(MEASURED):
        yield {"files": str(names)}
        return
    for each in models:
        size = (folder / each["file"]).stat().st_size
        if each.get("bytes") != size:
            yield {"file": each["file"], "bytes": each.get("bytes"), "is": size}


def _uncompared(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields too few images, and files that differ by too much or are not listed."""
    there_are = bundle_json.number_below(tree, "test_images")
    compared = bundle_json.number_below(tree, "images")
    # Not a number fails.
    if not 0 < min(there_are, FEWEST_COMPARED) <= compared:
        yield {"images": compared, "test_images": there_are}
    differences = bundle_json.below(tree, "largest_difference")
    for name in COMPARED:
        largest = bundle_json.number_below(differences, name)
        allowed = TFLITE_TOLERANCE if name == TFLITE else LARGEST_TOLERANCE
        if not largest <= allowed:
            yield {"file": name, "difference": largest, "allowed": allowed}


def _unnamed(path: Path) -> Iterator[dict[str, Any]]:
    """Yields names that a TFLite file lacks."""
    content = path.read_bytes()
    for name in TFLITE_NAMES:
        if name.encode() not in content:
            yield {"file": path.name, "name": name}


def _apart(tree: dict[str, Any], models: Found) -> Found:
    """Returns both values where bundle and evaluation differ."""
    if not models:
        return []
    evaluated = bundle_json.number_below(tree, "macro_map_of_evaluation")
    found = bundle_json.number_below(models[0], "macro_map")
    if abs(evaluated - found) > MOST_APART:
        return [{"evaluation": evaluated, "model.onnx": found}]
    return []


def _origin(bundle: _Bundle) -> Iterator[Check]:
    """Checks that the bundle names what its model was made from."""
    lacking = [{"key": key} for key in LINEAGE_KEYS if not bundle.lineage.get(key)]
    found = listed(lacking, len(LINEAGE_KEYS))
    description = "lineage.json names pin, policy version, parameters and model"
    yield no_violations("lineage_missing", description, found)

    found = listed(list(_metrics_missing(bundle)), len(HEADLINE) + len(DIGESTS))
    description = (
        "metrics.json has macro mAP, macro AUC and macro F1 on test with their "
        "baselines, and the digests of its posts and tags, for the next release"
    )
    yield no_violations("metrics_missing", description, found)

    found = listed(_other_model(bundle), 1)
    description = "model.onnx is the file whose checksum lineage.json gives"
    yield no_violations("model_differs", description, found)

    description = "lineage.json gives the checksum of every other file"
    found = listed(_other_files(bundle), len(bundle.names))
    yield no_violations("checksum_differs", description, found)


def _metrics_missing(bundle: _Bundle) -> Iterator[dict[str, Any]]:
    """Yields what the next release could not be compared with."""
    tree = bundle.json_files[bundle_format.METRICS]
    for name in HEADLINE:
        metric = bundle_json.below(tree, "splits", "test", name)
        for key in ("value", "baseline"):
            if not math.isfinite(bundle_json.number_below(metric, key)):
                yield {"metric": name, "lacks": key}
    for key in DIGESTS:
        if not isinstance(tree.get(key), str):
            yield {"lacks": key}


def _other_model(bundle: _Bundle) -> list[dict[str, Any]]:
    """Returns both checksums of the model where they differ."""
    model = bundle.lineage.get("model")
    expected = model.get("onnx_sha256") if isinstance(model, dict) else None
    found = files.sha256(bundle.folder / bundle_format.MODEL)
    if found == expected:
        return []
    return [{"file": "model.onnx", "lineage.json": expected, "sha256": found}]


def _other_files(bundle: _Bundle) -> list[dict[str, Any]]:
    """Returns files that have another checksum than lineage.json gives, or none."""
    expected = bundle_json.below(bundle.lineage, "files")
    others = [name for name in bundle.names if name != bundle_format.LINEAGE]
    wrong = []
    for name in sorted({*others, *expected}):
        path = bundle.folder / name
        if not path.is_file():
            wrong.append({"file": name, "is": "missing"})
        elif files.sha256(path) != expected.get(name):
            wrong.append({"file": name, "is": "another"})
    return wrong


def _addresses(bundle: _Bundle) -> Iterator[Check]:
    """Checks that the site has its name, and that nothing gives an address."""
    site = bundle_json.below(bundle.lineage, "pin").get("site")
    unnamed = [] if site in SITE_NAMES else [{"site": site}]
    found = listed(unnamed, 1)
    names = ", ".join(SITE_NAMES)
    description = f"lineage.json has the site's name, one of {names} (policy rule 8)"
    yield no_violations("site_unnamed", description, found)

    addresses = []
    for name in DESCRIPTIONS:
        found_here = ADDRESS.findall(_text_without_queries(bundle, name))
        addresses += [{"file": name, "address": address} for address in found_here]
    found = listed(addresses, len(DESCRIPTIONS))
    description = "no file gives an address of a site or a machine (policy rule 8)"
    yield no_violations("address", description, found)


def _text_without_queries(bundle: _Bundle, name: str) -> str:
    """Returns a file's text without the search, which may ask for a source's URL."""
    text = _text(bundle.folder / name)
    search = bundle_json.below(bundle.lineage, "pin", "search")
    harvest = bundle_json.below(bundle.lineage, "parameters", "harvest")
    for query in (search.get("query"), harvest.get("query")):
        if query:
            text = text.replace(json.dumps(query)[1:-1], "").replace(query, "")
    return text


def _text(path: Path) -> str:
    """Returns a file's text; bytes that are not UTF-8 become signs of that."""
    return path.read_text(encoding="utf-8", errors="replace")
