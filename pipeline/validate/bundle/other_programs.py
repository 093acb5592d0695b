"""Rules of the folders for Hydrus, imgutils and DeepDanbooru."""

import json
import zipfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from e6tag import bundle as bundle_format
from pipeline import files
from pipeline.validate.bundle.contents import BundleContents
from pipeline.validate.bundle.csv_files import Tables, number
from pipeline.validate.bundle.tables import RATING, RATINGS, is_dead
from pipeline.validate.checks import Check, no_findings
from pipeline.validate.violations import Row

_SQUARE = [448, 448]

IMGUTILS_STEPS: dict[str, list[Row]] = {
    "stretch": [{"type": "resize", "size": _SQUARE, "interpolation": "lanczos"}],
    "crop": [
        {"type": "resize", "size": 448, "interpolation": "lanczos"},
        {"type": "center_crop", "size": _SQUARE},
    ],
    "pad": [
        {
            "type": "pad_to_size",
            "size": _SQUARE,
            "background_color": "white",
            "interpolation": "lanczos",
        }
    ],
}
"""How dghs-imgutils makes an image square, by `fit` of preprocessing.json."""


def checks(bundle: BundleContents) -> Iterator[Check]:
    """Checks the folders for Hydrus, imgutils and DeepDanbooru."""
    json_files = bundle.json_files
    info = json_files[f"{bundle_format.HYDRUS}/{bundle_format.HYDRUS_INFO}"]
    hydrus = list(_hydrus_problems(bundle.tables, info))
    copied = f"{bundle_format.HYDRUS}/{bundle_format.MODEL}"
    model = files.sha256(bundle.folder / bundle_format.MODEL)
    if files.sha256(bundle.folder / copied) != model:
        hydrus.append({"file": copied, "is": f"not {bundle_format.MODEL}"})
    names = bundle_format.FOLDERS[bundle_format.HYDRUS]
    yield no_findings(
        "hydrus",
        hydrus,
        len(names),
        "hydrus/ holds the model and its rows again, and info.json names them",
    )
    yield no_findings(
        "imgutils",
        _imgutils_problems(
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
    yield no_findings(
        "deepdanbooru",
        _deepdanbooru_problems(bundle),
        bundle.vocabulary.height,
        "deepdanbooru/ is a project: its tags are those of the vocabulary, in its "
        "order, and its model takes images of the size that project.json gives",
    )


def _hydrus_problems(tables: Tables, info: Row) -> Iterator[Row]:
    """Yields where hydrus/ is not the model again, or info.json says otherwise."""
    if tables["hydrus/selected_tags.csv"] != tables["selected_tags.csv"]:
        yield {"file": "hydrus/selected_tags.csv", "is": "not selected_tags.csv"}
    expected = {
        "modelfile": "model.onnx",
        "tagsfile": "selected_tags.csv",
        "ratingsflag": 1,
        "numberofratings": len(RATINGS),
    }
    for key, value in expected.items():
        if info.get(key) != value:
            yield {"file": "hydrus/info.json", "key": key, "expected": str(value)}


def _imgutils_problems(
    tables: Tables, categories: list[Row], transforms: Row, fit: Any
) -> Iterator[Row]:
    """Yields where the files of imgutils/ are not those of the bundle.

    categories, transforms: categories.json and preprocess.json.
    """
    yield from _imgutils_rows(tables)
    used = {row["category"] for row in tables["imgutils/selected_tags.csv"]}
    named = {str(each.get("category")) for each in categories}
    given = {row["category"] for row in tables["imgutils/thresholds.csv"]}
    for category in sorted(used - named):
        yield {"file": "imgutils/categories.json", "category": category}
    for category in sorted(used - given):
        yield {"file": "imgutils/thresholds.csv", "category": category}
    expected = [*IMGUTILS_STEPS.get(str(fit), []), {"type": "maybe_to_tensor"}]
    for name in ("test", "val"):
        steps = transforms.get(name)
        if steps != expected:
            yield {"file": "imgutils/preprocess.json", "steps": name, "is": str(steps)}


def _imgutils_rows(tables: Tables) -> Iterator[Row]:
    """Yields rows that are not the next one known, or not as thresholds.csv has it."""
    file = "imgutils/selected_tags.csv"
    tags = {row["name"]: row for row in tables["thresholds.csv"]}
    alive = [row for row in tables["selected_tags.csv"] if not is_dead(row)]
    for place, (one, other) in enumerate(zip_longest(tables[file], alive)):
        if one is None or other is None or one["name"] != other["name"]:
            yield {"file": file, "row": place, "found": str(one), "not": str(other)}
        elif other["category"] != str(RATING) and one["name"] in tags:
            tag = tags[one["name"]]
            found = (one["category"], number(one["best_threshold"]))
            if found != (tag["category"], number(tag["threshold"])):
                yield {"file": file, "row": place, "found": str(found)}


def _deepdanbooru_problems(bundle: BundleContents) -> Iterator[dict[str, Any]]:
    folder = bundle.folder / bundle_format.DEEPDANBOORU
    tags = f"{bundle_format.DEEPDANBOORU}/{bundle_format.PROJECT_TAGS}"
    found = bundle.text(tags).splitlines()
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
