"""Files of a bundle whose network looks at nothing but the mean colours of an image."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'

TAGGER = """
tagger (float[N,448,448,3] input) => (
    float[N,{rows}] output, float[N,3] embedding,
    float[N,{rows}] scores, float[N,7,7,3] features
) {{
    nchw = Transpose <perm = [0, 3, 1, 2]> (input)
    pooled = AveragePool <kernel_shape = [64, 64], strides = [64, 64]> (nchw)
    features = Transpose <perm = [0, 2, 3, 1]> (pooled)
    embedding = ReduceMean <axes = [1, 2], keepdims = 0> (features)
    logits = MatMul (embedding, weights)
    all_scores = Sigmoid (logits)
    scores = Mul (all_scores, known)
    shifted = Add (logits, shifts)
    folded = Sigmoid (shifted)
    output = Mul (folded, known)
}}"""

HEATMAP = """
heatmap (float[N,7,7,3] features) => (float[N,7,7,{rows}] heatmap) {{
    heatmap = MatMul (features, weights)
}}"""

IMGUTILS = """
imgutils (float[N,3,448,448] input) => (
    float[N,3] embedding, float[N,{rows}] logits, float[N,{rows}] prediction
) {{
    embedding = ReduceMean <axes = [2, 3], keepdims = 0> (input)
    logits = MatMul (embedding, weights)
    prediction = Sigmoid (logits)
}}"""


def tagger(known: list[bool], shifts: list[float]) -> bytes:
    """Returns model.onnx. known: by row; shifts: added to the logits for `output`."""
    rows = len(known)
    weights = _weights(rows)
    weights[:, ~np.array(known)] = 0
    constants = {
        "weights": weights,
        "known": np.array(known, np.float32),
        "shifts": np.array(shifts, np.float32),
    }
    return _serialized(TAGGER.format(rows=rows), constants)


def heatmap(rows: int) -> bytes:
    """Returns heatmap.onnx."""
    return _serialized(HEATMAP.format(rows=rows), {"weights": _weights(rows)})


def imgutils(rows: int) -> bytes:
    """Returns imgutils/model.onnx."""
    return _serialized(IMGUTILS.format(rows=rows), {"weights": _weights(rows)})


def keras_archive() -> bytes:
    """Returns a .keras file as far as the gate reads it."""
    shape = [None, 448, 448, 3]
    given = {"class_name": "InputLayer", "config": {"batch_shape": shape}}
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        config = json.dumps({"config": {"layers": [given]}})
        archive.writestr(zipfile.ZipInfo("config.json"), config)
    return written.getvalue()


def edit(path: Path, **changes: object) -> None:
    """Sets fields of an ONNX file: ir_version, opset, free_batch, external."""
    model = onnx.load(path)
    if "ir_version" in changes:
        model.ir_version = changes["ir_version"]
    if "opset" in changes:
        model.opset_import[0].version = changes["opset"]
    if "batch" in changes:
        dim = model.graph.input[0].type.tensor_type.shape.dim[0]
        dim.dim_value = changes["batch"]
    path.write_bytes(model.SerializeToString(deterministic=True))


def _weights(rows: int) -> np.ndarray:
    weights = np.random.default_rng(1).normal(0, 0.005, (3, rows))
    return weights.astype(np.float32)


def _serialized(text: str, constants: dict[str, np.ndarray]) -> bytes:
    model = onnx.parser.parse_model(HEAD + text)
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
