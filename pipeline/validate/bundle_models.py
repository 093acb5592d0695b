"""The ONNX files of a bundle: their form, and what they answer to a few images.

What a bundle promises is written here once more, and not taken from e6tag.bundle: the
gate checks that too.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

Row = dict[str, Any]

MAX_OPSET = 17
MAX_IR_VERSION = 8
"""What ONNX Runtime 1.12 of 2022 reads."""

SIZE = 448
FLAT = 0.35
FLAT_CHARACTER = 0.85
CHARACTER = 4

# Scores nearer to 0 or 1 have lost the digits of their logits.
_NEAREST = 1e-5
# By which ONNX Runtime's sigmoid is off, at most.
_SIGMOID_ERROR = 2e-7
# In logits.
_TOLERANCE = 1e-3

IMAGES = 16


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX file as it was read. shapes: of inputs and outputs by name, in order.

    A dimension is a number, or a name where it is free.
    """

    name: str
    opsets: dict[str, int]
    ir_version: int
    is_external: bool
    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    path: Path

    @classmethod
    def read(cls, folder: Path, name: str) -> "OnnxFile":
        """Reads a file's form; raises an error of ONNX where it is none."""
        path = folder / name
        proto = onnx.load(path, load_external_data=False)
        weights = proto.graph.initializer
        return cls(
            name=name,
            opsets={each.domain: each.version for each in proto.opset_import},
            ir_version=proto.ir_version,
            is_external=any(weight.data_location for weight in weights),
            inputs={value.name: _shape(value) for value in proto.graph.input},
            outputs={value.name: _shape(value) for value in proto.graph.output},
            path=path,
        )

    def run(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs by name."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(
            str(self.path), options, providers=["CPUExecutionProvider"]
        )
        found = session.run(list(self.outputs), dict(given))
        return dict(zip(self.outputs, found, strict=True))


def _shape(value: Any) -> list[Any]:
    """Returns type and dimensions of an input or output: [type, ...]."""
    tensor = value.type.tensor_type
    dims = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
    return [onnx.TensorProto.DataType.Name(tensor.elem_type), *dims]


def read_all(folder: Path, names: list[str]) -> tuple[dict[str, OnnxFile], list[Row]]:
    """Returns the files that can be read by name, and a row for each other."""
    read = {}
    unreadable = []
    for name in names:
        try:
            read[name] = OnnxFile.read(folder, name)
        # Errors of protobuf and of ONNX have no common base.
        except Exception as error:  # noqa: BLE001
            text = " ".join(str(error).split())[:150]
            unreadable.append({"file": name, "error": text})
    return read, unreadable


def version_problems(model: OnnxFile) -> Iterator[Row]:
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


def heatmap_problems(heatmap: OnnxFile, tagger: OnnxFile, rows: int) -> Iterator[Row]:
    """Yields where the form of heatmap.onnx does not fit that of model.onnx."""
    features = tagger.outputs.get("features", [])
    yield from _differing(heatmap, "inputs", heatmap.inputs, {"features": features})
    expected = {"heatmap": [*features[:-1], rows]}
    yield from _differing(heatmap, "outputs", heatmap.outputs, expected)


def imgutils_problems(model: OnnxFile, rows: int) -> Iterator[Row]:
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


def some_images() -> np.ndarray:
    """Returns a batch of IMAGES, float32 [n, 448, 448, 3]: white, black, blocks, noise.

    Blocks are of 7 to 448 pixels and of random colours, the same in each run.
    """
    random = np.random.default_rng(0)
    images = [np.full((SIZE, SIZE, 3), 255.0), np.zeros((SIZE, SIZE, 3))]
    images.append(random.uniform(0, 255, (SIZE, SIZE, 3)))
    blocks = itertools.cycle([1, 2, 4, 8, 16, 32, 64])
    while len(images) < IMAGES:
        count = next(blocks)
        colours = random.integers(0, 256, (count, count, 3))
        side = SIZE // count
        images.append(colours.repeat(side, axis=0).repeat(side, axis=1))
    return np.stack(images).astype(np.float32)


def answer_problems(
    model: OnnxFile, answers: Mapping[str, np.ndarray], is_dead: np.ndarray
) -> Iterator[Row]:
    """Yields rows that are no probability, or are not 0 though they stand for nothing.

    answers: of `some_images`; is_dead: bool [rows].
    """
    for name in ("output", "scores"):
        values = answers[name]
        for row in np.flatnonzero(~((values >= 0) & (values <= 1)).all(axis=0)):
            found = {"file": model.name, "output": name, "row": int(row)}
            yield {**found, "is": "not from 0 to 1"}
        for row in np.flatnonzero(is_dead & (values != 0).any(axis=0)):
            yield {"file": model.name, "output": name, "row": int(row), "is": "not 0"}


def folding_problems(
    answers: Mapping[str, np.ndarray],
    thresholds: Mapping[int, float],
    categories: list[float],
    *,
    is_folded: bool,
) -> Iterator[Row]:
    """Yields rows whose `output` is not `scores` with the threshold folded in.

    thresholds: by row; categories: of all rows.
    """
    for row, threshold in thresholds.items():
        if is_folded and not 0 < threshold < 1:
            continue
        moved, error = 0.0, 0.0
        if is_folded:
            flat = FLAT_CHARACTER if categories[row] == CHARACTER else FLAT
            moved = _logit(flat) - _logit(threshold)
            # What the margin of the export may add.
            error = min(_error_in_logits(threshold), 2.0)
        scores = answers["scores"][:, row].astype(np.float64)
        output = answers["output"][:, row].astype(np.float64)
        excess = _excess(scores, output, moved) - error
        if excess.size and excess.max() > _TOLERANCE:
            yield {"row": row, "threshold": threshold, "apart": float(excess.max())}


def _excess(scores: np.ndarray, output: np.ndarray, moved: float) -> np.ndarray:
    """Returns by how much logits differ beyond what rounding explains.

    Only of images whose probabilities still have the digits of their logits. moved:
    what the logits of `output` should have more than those of `scores`.
    """
    is_known = np.minimum(_inside(scores), _inside(output)) > _NEAREST
    scores, output = scores[is_known], output[is_known]
    differences = np.abs(_logit(output) - _logit(scores) - moved)
    rounding = _error_in_logits(scores) + _error_in_logits(output)
    return np.asarray(differences - rounding)


def _inside(probability: Any) -> Any:
    """Returns the distance from 0 or 1, whichever is nearer."""
    return np.minimum(probability, 1 - probability)


def _error_in_logits(probability: Any) -> Any:
    return _SIGMOID_ERROR / (probability * (1 - probability))


def _logit(probability: Any) -> Any:
    return np.log(probability / (1 - probability))
