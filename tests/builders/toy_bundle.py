"""A small bundle whose answers are known: the tags of an image are its colours.

Its network averages the pixels of each channel, so that a red image has the tag `red`.
The heat map of a tag is where the image has its colour.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from e6tag import bundle
from e6tag.bundle import Row, Tag

RATINGS = [Row(-1 - number, name, 9, 0) for number, name in enumerate(bundle.RATINGS)]

TAG_ROWS = [
    Row(11, "red", 0, 900),
    Row(12, "green_(colour)", 0, 800),
    Row(13, "blue_fox", 0, 700),
    Row(14, ":3", 0, 600),
]
"""`:3` is an image that is light."""

NOBODY = Row(-5, "nobody", 4, 0)
"""The character row that clients expect, which stands for nothing."""

ROWS = [*RATINGS, *TAG_ROWS, NOBODY]

TAGS = [
    Tag(4, "red", 0, 0.5, 900),
    Tag(5, "green_(colour)", 0, 0.5, 800),
    Tag(6, "blue_fox", 5, 0.5, 700),
    Tag(7, ":3", 0, 0.9, 600),
]

IMPLICATIONS = (("blue_fox", "fox"), ("fox", "canine"), ("green_(colour)", ":3"))

GRID = 7
"""Positions a side of the feature map."""

# Of a tag's logit: 8 times how much its colour is above the mean of the three.
SHARPNESS = 8.0


def write_bundle(folder: Path, *, uncertainty: bool = False) -> Path:
    """Writes a complete bundle, without the folders for other programs; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_model(uncertainty), folder / bundle.MODEL)
    onnx.save(_heatmap_model(), folder / bundle.HEATMAP_MODEL)
    write_descriptions(folder, ROWS, TAGS, IMPLICATIONS, network_size=GRID)
    return folder


def write_descriptions(
    folder: Path,
    rows: Sequence[Row],
    tags: Sequence[Tag],
    implications: Sequence[Sequence[str]] = (),
    *,
    network_size: int,
) -> None:
    """Writes all files of a bundle but its models."""
    preprocessing = bundle.preprocessing(
        network_size=network_size,
        fit="pad",
        background=(255, 255, 255),
        jpeg_size=448,
        jpeg_quality=90,
        is_folded=False,
    )
    texts = {
        bundle.ROWS: bundle.rows_csv(rows),
        bundle.TAGS: bundle.tags_csv(tags),
        bundle.IMPLICATIONS: bundle.to_csv(bundle.IMPLICATION_COLUMNS, implications),
        bundle.RENAMED: bundle.to_csv(bundle.RENAMED_COLUMNS, []),
        bundle.PREPROCESSING: json.dumps(preprocessing),
        bundle.MODEL_CARD: "# A toy\n",
        bundle.LINEAGE: "{}",
        bundle.GIT_ATTRIBUTES: "",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _weights() -> np.ndarray:
    """From blue, green, red and a constant to the rows, float32 [4, rows]."""
    weights = np.zeros((4, len(ROWS)), np.float32)
    for channel, row in ((2, 4), (1, 5), (0, 6)):
        weights[:3, row] = -SHARPNESS / 3
        weights[channel, row] += SHARPNESS
    weights[:3, 7] = SHARPNESS / 3  # light: all three
    weights[3, 4:8] = -1.0
    weights[3, 7] = -SHARPNESS / 2
    return weights


def _model(uncertainty: bool) -> onnx.ModelProto:
    rows = len(ROWS)
    nodes = _nodes()
    outputs = [
        _value("output", ["N", rows]),
        _value("embedding", ["N", 4]),
        _value("scores", ["N", rows]),
        _value("features", ["N", GRID, GRID, 4]),
    ]
    if uncertainty:
        nodes.append(helper.make_node("Sqrt", ["scores"], ["uncertainty"]))
        outputs.append(_value("uncertainty", ["N", rows]))
    image = _value("input", ["N", bundle.SIZE, bundle.SIZE, 3])
    return _made(nodes, [image], outputs, _constants())


def _nodes() -> list[onnx.NodeProto]:
    """Averages cells of the image, adds a constant channel, applies the weights."""
    side = bundle.SIZE // GRID
    cells = {"kernel_shape": [side, side], "strides": [side, side]}
    mean = {"axes": [1, 2], "keepdims": 0}
    return [
        helper.make_node("Transpose", ["input"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["nchw"], ["cells"], **cells),
        helper.make_node("Mul", ["cells", "unit"], ["scaled"]),
        helper.make_node("Pad", ["scaled", "one_channel", "one"], ["map"]),
        helper.make_node("Transpose", ["map"], ["features"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["features"], ["embedding"], **mean),
        helper.make_node("MatMul", ["embedding", "weights"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["every"]),
        helper.make_node("Mul", ["every", "known"], ["scores"]),
        helper.make_node("Identity", ["scores"], ["output"]),
    ]


def _constants() -> list[onnx.TensorProto]:
    known = np.zeros(len(ROWS), np.float32)
    known[4:8] = 1
    one_channel = np.array([0, 0, 0, 0, 0, 1, 0, 0], np.int64)
    constants = {
        "weights": _weights(),
        "known": known,
        "unit": np.float32(1 / 255),
        "one": np.float32(1),
        "one_channel": one_channel,
    }
    return [numpy_helper.from_array(value, name) for name, value in constants.items()]


def _heatmap_model() -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["features", "weights"], ["heatmap"])]
    features = _value("features", ["N", GRID, GRID, 4])
    heatmap = _value("heatmap", ["N", GRID, GRID, len(ROWS)])
    weights = [numpy_helper.from_array(_weights(), "weights")]
    return _made(nodes, [features], [heatmap], weights)


def _value(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def _made(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "toy", inputs, outputs, weights)
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model)
    return model
