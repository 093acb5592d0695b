"""The ONNX files of a bundle, as far as they can be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from e6tag import bundle as bundle_format
from pipeline.validate.violations import Row

TAGGERS = (
    bundle_format.MODEL,
    f"{bundle_format.VARIANTS}/{bundle_format.FLOAT16}",
    f"{bundle_format.VARIANTS}/{bundle_format.INT8}",
)
"""Files in the layout of the WD taggers."""

IMGUTILS_MODEL = f"{bundle_format.IMGUTILS}/{bundle_format.MODEL}"

ONNX_FILES = (*TAGGERS, bundle_format.HEATMAP_MODEL, IMGUTILS_MODEL)
"""All ONNX files but the copy in hydrus/."""


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


def read_all(folder: Path) -> tuple[dict[str, OnnxFile], list[Row]]:
    """Returns the files that can be read by name, and a row for each other."""
    read = {}
    unreadable = []
    for name in ONNX_FILES:
        try:
            read[name] = OnnxFile.read(folder, name)
        # Errors of protobuf and of ONNX have no common base.
        except Exception as error:  # noqa: BLE001
            text = " ".join(str(error).split())[:150]
            unreadable.append({"file": name, "error": text})
    return read, unreadable
