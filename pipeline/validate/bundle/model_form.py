"""Rules of the form of the ONNX files: versions, inputs and outputs.

What a bundle promises is written here once more, and not taken from e6tag.bundle: the
gate checks that too.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from e6tag import bundle as bundle_format
from pipeline.validate.bundle.contents import BundleContents
from pipeline.validate.bundle.onnx_files import IMGUTILS_MODEL, TAGGERS, OnnxFile
from pipeline.validate.checks import Check, no_findings
from pipeline.validate.violations import Row

MAX_OPSET = 17
MAX_IR_VERSION = 8
"""What ONNX Runtime 1.12 of 2022 reads."""

SIZE = 448


def checks(bundle: BundleContents) -> Iterator[Check]:
    """Checks versions, inputs and outputs of the ONNX files."""
    models = bundle.models.values()
    checked = len(bundle.models) + len(bundle.unreadable)
    yield no_findings(
        "model_unreadable", bundle.unreadable, checked, "every ONNX file can be read"
    )
    versions: list[Row] = []
    for model in models:
        versions += _version_problems(model)
    yield no_findings(
        "model_too_new",
        versions,
        checked,
        "every ONNX file has opset 17 and IR version 8 at most, no other operators and "
        "its weights inside",
    )
    yield no_findings(
        "model_form",
        _forms(bundle),
        checked,
        "inputs and outputs have their names, types and shapes, the batch is free, and "
        "there are as many columns as rows",
    )


def _forms(bundle: BundleContents) -> Iterator[dict[str, Any]]:
    models, rows = bundle.models, len(bundle.rows)
    for name in TAGGERS:
        if name in models:
            yield from tagger_problems(models[name], rows)
    heatmap = models.get(bundle_format.HEATMAP_MODEL)
    tagger = models.get(bundle_format.MODEL)
    if heatmap is not None and tagger is not None:
        yield from _heatmap_problems(heatmap, tagger, rows)
    if IMGUTILS_MODEL in models:
        known = len(bundle.tables[f"{bundle_format.IMGUTILS}/{bundle_format.ROWS}"])
        yield from _imgutils_problems(models[IMGUTILS_MODEL], known)


def _version_problems(model: OnnxFile) -> Iterator[Row]:
    """Yields what keeps an ONNX Runtime of 2022 from loading the file."""
    for domain, version in model.opsets.items():
        if domain not in ("", "ai.onnx"):
            yield {"file": model.name, "operators": domain, "allowed": "ai.onnx"}
        elif version > MAX_OPSET:
            yield {"file": model.name, "opset": version, "allowed": MAX_OPSET}
    if model.ir_version > MAX_IR_VERSION:
        found = model.ir_version
        yield {"file": model.name, "ir_version": found, "allowed": MAX_IR_VERSION}
    if model.is_external:
        yield {"file": model.name, "weights": "in another file", "allowed": "none"}


def tagger_problems(model: OnnxFile, rows: int) -> Iterator[Row]:
    """Yields where the form differs from that of the WD taggers."""
    yield from _differing(
        model, "inputs", model.inputs, {"input": ["FLOAT", "N", SIZE, SIZE, 3]}
    )
    expected: dict[str, list[Any]] = {
        "output": ["FLOAT", "N", rows],
        "embedding": ["FLOAT", "N", None],
        "scores": ["FLOAT", "N", rows],
        "features": ["FLOAT", "N", None, None, None],
    }
    if "uncertainty" in model.outputs:
        expected["uncertainty"] = ["FLOAT", "N", rows]
    yield from _differing(model, "outputs", model.outputs, expected)


def _heatmap_problems(heatmap: OnnxFile, tagger: OnnxFile, rows: int) -> Iterator[Row]:
    """Yields where the form of heatmap.onnx does not fit that of model.onnx."""
    features = tagger.outputs.get("features", [])
    yield from _differing(heatmap, "inputs", heatmap.inputs, {"features": features})
    expected = {"heatmap": [*features[:-1], rows]}
    yield from _differing(heatmap, "outputs", heatmap.outputs, expected)


def _imgutils_problems(model: OnnxFile, rows: int) -> Iterator[Row]:
    """Yields where the form differs from what dghs-imgutils runs."""
    given: dict[str, list[Any]] = {"input": ["FLOAT", "N", 3, SIZE, SIZE]}
    yield from _differing(model, "inputs", model.inputs, given)
    expected: dict[str, list[Any]] = {
        "embedding": ["FLOAT", "N", None],
        "logits": ["FLOAT", "N", rows],
        "prediction": ["FLOAT", "N", rows],
    }
    yield from _differing(model, "outputs", model.outputs, expected)


def _differing(
    model: OnnxFile,
    what: str,
    found: Mapping[str, list[Any]],
    expected: Mapping[str, list[Any]],
) -> Iterator[Row]:
    """Yields names or shapes that are not as expected. None: any number."""
    if list(found) != list(expected):
        yield {"file": model.name, what: ", ".join(found), "not": ", ".join(expected)}
        return
    for name, shape in expected.items():
        if not _fits(found[name], shape):
            given = str(found[name])
            yield {"file": model.name, what: name, "shape": given, "not": str(shape)}


def _fits(found: list[Any], expected: list[Any]) -> bool:
    if len(found) != len(expected):
        return False
    for dim, wanted in zip(found, expected, strict=True):
        if wanted is None and not (isinstance(dim, int) and dim > 0):
            return False
        if wanted is not None and dim != wanted:
            return False
    return True
