"""variants/: the network smaller or for other runtimes, and what each loses.

Only the network is changed: what stands before and behind it stays float32, and with it
names, shapes and the order of rows. Import only after `backend.start("tensorflow")`.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from e6tag import bundle, tagger
from pipeline.data import loader
from pipeline.data.shards import Split
from pipeline.export.graphs import IMAGES, MAP
from pipeline.export.network import SIGNATURE

Predict = Callable[[np.ndarray], dict[str, np.ndarray]]
"""From `input`, BGR, float32 [n, 448, 448, 3], to outputs by name."""

# Training images that tell the range of every activation.
CALIBRATION_IMAGES = 256
_BATCH = 32


def to_float16(network: Any) -> Any:
    """Returns the network with its backbone computed in float16.

    The head stays float32, as in int8: label noise has infinities that float16 lacks.
    """
    with warnings.catch_warnings():
        # Of weights below the smallest float16, which become 0.
        warnings.simplefilter("ignore")
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel

        halved = convert_float_to_float16(
            _copied(network), keep_io_types=True, node_block_list=_head_nodes(network)
        )
        # The casts of the inputs come last.
        OnnxModel.graph_topological_sort(halved.graph)
        return halved


def to_int8(network: Any, train: Split, size: int) -> Any:
    """Returns the network with convolutions and products of the backbone in int8.

    Static: the range of each activation is measured on training images. The head stays
    float32: a logit in 256 steps would tie images that it ranks. size: pixels a side of
    the network's input.
    """
    from onnxruntime import quantization

    with (
        _without_advice(),
        warnings.catch_warnings(),
        tempfile.TemporaryDirectory() as folder,
    ):
        warnings.simplefilter("ignore")
        path = Path(folder) / bundle.INT8
        quantization.quantize_static(
            _copied(network),
            str(path),
            _Calibration(train, size),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            # Weights of 7 bits: processors without VNNI add products of 8 bits in 16,
            # which overflow.
            reduce_range=True,
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            nodes_to_exclude=_head_nodes(network),
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QUInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        return onnx.load(path)


def _copied(network: Any) -> Any:
    """Returns a copy: the converters change what they are given."""
    copied = onnx.ModelProto()
    copied.CopyFrom(network)
    return copied


@contextmanager
def _without_advice() -> Iterator[None]:
    """Holds back the advice to optimise the graph first, which tf2onnx has done."""

    def is_no_advice(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(is_no_advice)
    try:
        yield
    finally:
        root.removeFilter(is_no_advice)


def _head_nodes(network: Any) -> list[str]:
    """Returns the names of the nodes that the feature map does not depend on."""
    needed = {MAP}
    kept = set()
    for node in reversed(network.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.add(node.name)
    return [node.name for node in network.graph.node if node.name not in kept]


class _Calibration:
    """Training images as onnxruntime.quantization asks for them."""

    def __init__(self, train: Split, size: int) -> None:
        self._batches = self._read(train, size)

    @staticmethod
    def _read(train: Split, size: int) -> Iterator[dict[str, np.ndarray]]:
        total = 0
        for batch in loader.batches(train, size, _BATCH):
            yield {IMAGES: batch.images.astype(np.float32)}
            total += len(batch.md5s)
            if total >= CALIBRATION_IMAGES:
                return

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Returns the next batch, None behind the last."""
        return next(self._batches, None)


def open_model(path: Path) -> Predict:
    """Opens a model in the layout of model.onnx, ONNX or TFLite."""
    if path.suffix == ".tflite":
        return _open_tflite(path)
    session = tagger.open_session(path)
    names = [output.name for output in session.get_outputs()]
    if path.name != bundle.MODEL:
        names = [bundle.SCORES]

    def predict(bgr: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {bundle.INPUT: bgr}), strict=True))

    return predict


def _open_tflite(path: Path) -> Predict:
    import tensorflow as tf

    with warnings.catch_warnings():
        # TensorFlow asks to use the same interpreter from another package.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = tf.lite.Interpreter(str(path), num_threads=os.cpu_count())
    run = interpreter.get_signature_runner(SIGNATURE)

    def predict(bgr: np.ndarray) -> dict[str, np.ndarray]:
        found = run(**{bundle.INPUT: bgr})
        # Copied: the next call overwrites what is returned.
        return {name: np.array(values) for name, values in found.items()}

    return predict
