"""Rules of variants.json: sizes, and how much each variant loses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e6tag import bundle as bundle_format
from pipeline.params.export import FEWEST_COMPARED, LARGEST_TOLERANCE
from pipeline.validate.bundle import json_files
from pipeline.validate.bundle.contents import BundleContents
from pipeline.validate.bundle.onnx_files import IMGUTILS_MODEL, TAGGERS
from pipeline.validate.checks import Check, no_findings, no_violations
from pipeline.validate.violations import listed

TFLITE = f"{bundle_format.VARIANTS}/{bundle_format.TFLITE}"

MEASURED = (*TAGGERS, TFLITE)
"""Files that variants.json lists, in their order."""

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


def checks(bundle: BundleContents) -> Iterator[Check]:
    """Checks variants.json: sizes, and how much each variant loses."""
    name = f"{bundle_format.VARIANTS}/{bundle_format.VARIANTS_LIST}"
    tree = bundle.json_files[name]
    models = json_files.objects_below(tree, "models")
    yield no_findings(
        "variant_unlisted",
        _unlisted(bundle.folder, models),
        len(MEASURED),
        "variants.json lists model.onnx and every variant with its bytes",
    )
    yield no_findings(
        "compared_with_keras",
        _uncompared(json_files.below(tree, "compared_with_keras")),
        len(COMPARED),
        f"model.onnx was compared with Keras on {FEWEST_COMPARED} test images or all, "
        f"and every file agrees within {LARGEST_TOLERANCE:g}, TFLite within "
        f"{TFLITE_TOLERANCE:g}",
    )
    yield no_findings(
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
    return json_files.number_below(model, "macro_map_lost")


def _unlisted(folder: Path, models: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
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
    there_are = json_files.number_below(tree, "test_images")
    compared = json_files.number_below(tree, "images")
    # Not a number fails.
    if not 0 < min(there_are, FEWEST_COMPARED) <= compared:
        yield {"images": compared, "test_images": there_are}
    differences = json_files.below(tree, "largest_difference")
    for name in COMPARED:
        largest = json_files.number_below(differences, name)
        allowed = TFLITE_TOLERANCE if name == TFLITE else LARGEST_TOLERANCE
        if not largest <= allowed:
            yield {"file": name, "difference": largest, "allowed": allowed}


def _unnamed(path: Path) -> Iterator[dict[str, Any]]:
    """Yields names that a TFLite file lacks."""
    content = path.read_bytes()
    for name in TFLITE_NAMES:
        if name.encode() not in content:
            yield {"file": path.name, "name": name}


def _apart(tree: dict[str, Any], models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns both values where bundle and evaluation differ."""
    if not models:
        return []
    evaluated = json_files.number_below(tree, "macro_map_of_evaluation")
    found = json_files.number_below(models[0], "macro_map")
    if abs(evaluated - found) > MOST_APART:
        return [{"evaluation": evaluated, "model.onnx": found}]
    return []
