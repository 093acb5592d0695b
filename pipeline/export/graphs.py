"""The parts of model.onnx around the network, and their joining.

What stands before and behind the network is a dozen operators, written here in ONNX's
own text format. The network in between is converted (`onnx.py`), or a smaller variant
of it: so a variant differs from model.onnx in its weights alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from e6tag import bundle
from pipeline.export.onnx import IR_VERSION, OPSET

IMAGES = "images"
"""The network's input: float32 [N, size, size, 3], RGB, 0 to 255."""

MAP, LOGITS, NOISE = "network_features", "network_logits", "network_uncertainty"
"""The network's outputs; NOISE is one only of networks with label noise."""

_HEAD = f'<ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}]>'

_PREPARE_WD = """
prepare (float[N,{full},{full},3] input) => (float[N,{size},{size},3] images) {{
    bgr = Transpose <perm = [0, 3, 1, 2]> (input)
    rgb = Gather <axis = 1> (bgr, channels)
    {resize}
}}"""

_PREPARE_IMGUTILS = """
prepare (float[N,3,{full},{full}] input) => (float[N,{size},{size},3] images) {{
    rgb = Mul (input, full_scale)
    {resize}
}}"""

# Lanczos overshoots at edges.
_RESIZE = """
    to_columns = Transpose <perm = [1, 0]> (to_lines)
    narrow = MatMul (rgb, to_columns)
    small = MatMul (to_lines, narrow)
    clipped = Clip (small, black, white)
    images = Transpose <perm = [0, 2, 3, 1]> (clipped)"""

_EMBED = """
    embedding = ReduceMean <axes = [1, 2], keepdims = 0> (network_features)"""

_RATE = """
    rating_logits = Gemm (embedding, rating_weights, rating_bias)
    ratings = Softmax <axis = 1> (rating_logits)"""


_NOISE_TO_ROWS = [
    "padded_noise = Pad (network_uncertainty, other_columns)",
    "uncertainty = Gather <axis = 1> (padded_noise, columns)",
]


@dataclass(frozen=True, slots=True)
class Ratings:
    """A linear model of the ratings on the embedding: its softmax is a probability.

    weights: float32 [D, ratings]; bias: float32 [ratings].
    """

    weights: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, slots=True)
class Head:
    """What becomes of the network's outputs.

    columns: see rows.Layout. shifts: added to each logit for `output`, float32 [tags];
    None where no thresholds are folded in.
    """

    columns: np.ndarray
    shifts: np.ndarray | None
    ratings: Ratings | None

    @property
    def known_ratings(self) -> int:
        """Number of ratings that have a probability."""
        return 0 if self.ratings is None else len(self.ratings.bias)


def tagger(network: Any, resize: np.ndarray, head: Head) -> "onnx.ModelProto":
    """Returns the model in the layout of e6tag.bundle.

    network: from IMAGES to MAP, LOGITS and perhaps NOISE; resize: resizing.matrix.
    """
    constants = {"channels": np.array([2, 1, 0], np.int64)}
    prepare = _prepare(_PREPARE_WD, resize, constants)
    return _joined(prepare, network, _rows(network, head))


def imgutils(network: Any, resize: np.ndarray, head: Head) -> "onnx.ModelProto":
    """Returns the model as dghs-imgutils runs it.

    input: [N, 3, 448, 448], RGB, 0 to 1. Outputs: embedding, logits, prediction.
    """
    constants = {"full_scale": np.array(255, np.float32)}
    prepare = _prepare(_PREPARE_IMGUTILS, resize, constants)
    return _joined(prepare, network, _predictions(network, head))


def _prepare(
    text: str, resize: np.ndarray, constants: Mapping[str, np.ndarray]
) -> "onnx.ModelProto":
    size, full = resize.shape
    filled = text.format(full=full, size=size, resize=_RESIZE)
    shared = {
        "to_lines": resize,
        "black": np.array(0, np.float32),
        "white": np.array(255, np.float32),
    }
    return _parsed(filled, {**constants, **shared})


def _rows(network: Any, head: Head) -> "onnx.ModelProto":
    """Returns the part from the network's outputs to those of the bundle."""
    shapes = _shapes(network)
    rows = len(head.columns)
    body = ["features = Identity (network_features)", _EMBED]
    body.append("tag_scores = Sigmoid (network_logits)")
    outputs = [
        f"float[N,{rows}] output",
        f"float[N,{shapes[MAP][-1]}] embedding",
        f"float[N,{rows}] scores",
        f"{_typed(shapes[MAP])} features",
    ]
    constants = {
        "columns": head.columns,
        "one_column": np.array([0, 0, 0, 1], np.int64),
        **_rating_constants(head),
    }
    if head.ratings is not None:
        body.append(_RATE)
    body += _to_rows("tag_scores", "scores", head)
    if head.shifts is None:
        body.append("output = Identity (scores)")
    else:
        body += ["shifted = Add (network_logits, shifts)", "folded = Sigmoid (shifted)"]
        body += _to_rows("folded", "output", head)
        constants["shifts"] = head.shifts
    if NOISE in shapes:
        body += _NOISE_TO_ROWS
        outputs.append(f"float[N,{rows}] uncertainty")
        zeros = 1 + head.known_ratings
        constants["other_columns"] = np.array([0, 0, 0, zeros], np.int64)
    return _parsed(_graph(shapes, outputs, body), constants)


def _rating_constants(head: Head) -> dict[str, np.ndarray]:
    if head.ratings is None:
        return {}
    model = head.ratings
    return {"rating_weights": model.weights, "rating_bias": model.bias}


def _predictions(network: Any, head: Head) -> "onnx.ModelProto":
    """Returns the part from the network's outputs to those that imgutils names.

    The logits of ratings are those whose sigmoid is the probability, as of tags.
    """
    shapes = _shapes(network)
    rows = len(head.columns)
    outputs = [f"float[N,{shapes[MAP][-1]}] embedding", f"float[N,{rows}] logits"]
    outputs.append(f"float[N,{rows}] prediction")
    body = [_EMBED]
    constants = {"columns": head.columns, **_rating_constants(head)}
    if head.ratings is None:
        body.append("every = Identity (network_logits)")
    else:
        body.append(_RATE)
        body.append("others = Sub (one, ratings)")
        body.append("odds = Div (ratings, others)")
        body.append("log_odds = Log (odds)")
        body.append("every = Concat <axis = 1> (network_logits, log_odds)")
        constants["one"] = np.array(1, np.float32)
    body.append("logits = Gather <axis = 1> (every, columns)")
    body.append("prediction = Sigmoid (logits)")
    return _parsed(_graph(shapes, outputs, body), constants)


def _to_rows(source: str, target: str, head: Head) -> list[str]:
    """Returns lines that put tags and ratings into their rows, and zeros elsewhere."""
    known = source
    lines = []
    if head.ratings is not None:
        known = f"{target}_known"
        lines.append(f"{known} = Concat <axis = 1> ({source}, ratings)")
    lines.append(f"{target}_padded = Pad ({known}, one_column)")
    lines.append(f"{target} = Gather <axis = 1> ({target}_padded, columns)")
    return lines


def _graph(shapes: Mapping[str, list[Any]], outputs: list[str], body: list[str]) -> str:
    inputs = [f"{_typed(shape)} {name}" for name, shape in shapes.items()]
    return "rows ({}) => ({}) {{\n{}\n}}".format(
        ", ".join(inputs), ", ".join(outputs), "\n".join(body)
    )


def _typed(shape: list[Any]) -> str:
    return f"float[{','.join(map(str, shape))}]"


def _shapes(network: Any) -> dict[str, list[Any]]:
    """Returns the shapes of a network's outputs by name."""
    shapes = {}
    for output in network.graph.output:
        dims = output.type.tensor_type.shape.dim
        sides = [dim.dim_value for dim in dims[1:]]
        shapes[output.name] = [bundle.BATCH, *sides]
    return shapes


def _parsed(text: str, constants: Mapping[str, np.ndarray]) -> "onnx.ModelProto":
    model = onnx.parser.parse_model(_HEAD + text)
    for name, values in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return model


def _joined(prepare: Any, network: Any, rows: Any) -> "onnx.ModelProto":
    """Joins three models at the names that they share."""
    front = onnx.compose.merge_models(prepare, network, io_map=[(IMAGES, IMAGES)])
    names = [value.name for value in rows.graph.input]
    whole = onnx.compose.merge_models(
        front, rows, io_map=[(name, name) for name in names]
    )
    whole.graph.name = "e6tag"
    whole.producer_name = "e6tag"
    whole.ir_version = IR_VERSION
    del whole.graph.value_info[:]
    onnx.checker.check_model(whole)
    return whole
