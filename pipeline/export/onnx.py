"""From TensorFlow functions to ONNX: stable names, no clock.

The only module that uses tf2onnx. Import only after `backend.start("tensorflow")`:
tf2onnx reads TensorFlow graphs, whichever backend trained the model. Keras's own
`Model.export(format="onnx")` ends in the same tf2onnx, with no control over names.
"""

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import onnx
import tensorflow as tf

from e6tag.bundle import BATCH

# Of 2022: read by onnxruntime 1.12 and later, and by what browsers and other tools
# ship.
OPSET = 17
IR_VERSION = 8


def convert(
    function: Callable[["tf.Tensor"], Sequence["tf.Tensor"]],
    input_name: str,
    shape: Sequence[int],
    output_names: Sequence[str],
) -> "onnx.ModelProto":
    """Returns a function of one float32 tensor, [n, *shape], as an ONNX model."""
    with warnings.catch_warnings():
        # tf2onnx is older than NumPy 2.
        warnings.simplefilter("ignore", DeprecationWarning)
        import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    signature = [tf.TensorSpec((None, *shape), tf.float32, name=input_name)]
    traced = tf.function(function, input_signature=signature, autograph=False)
    proto, _ = tf2onnx.convert.from_function(
        traced, input_signature=signature, opset=OPSET
    )
    proto.ir_version = IR_VERSION
    _name(proto, input_name, output_names)
    onnx.checker.check_model(proto)
    return proto


def serialize(proto: "onnx.ModelProto") -> bytes:
    """Returns the file of a model; the same model gives the same bytes.

    Each set of operators is named once, and only where a node is of it.
    """
    used = {node.domain for node in proto.graph.node}
    # By domain: a model that was joined has one entry from each of its parts.
    versions = {each.domain: each.version for each in proto.opset_import}
    del proto.opset_import[:]
    for domain in sorted(used):
        proto.opset_import.append(onnx.helper.make_opsetid(domain, versions[domain]))
    return bytes(proto.SerializeToString(deterministic=True))


def _name(proto: Any, input_name: str, output_names: Sequence[str]) -> None:
    """Renames tensors and nodes by their places, input and outputs by what they are."""
    graph = proto.graph
    _order(graph)
    names = _stable_names(graph, input_name, output_names)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    for value in (*graph.initializer, *graph.input, *graph.output):
        value.name = names[value.name]
    for value in (graph.input[0], *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    del graph.value_info[:]
    graph.name = "e6tag"
    graph.doc_string = ""
    proto.doc_string = ""


def _order(graph: Any) -> None:
    """Puts nodes and weights in the order in which the outputs need them.

    tf2onnx goes through sets: its order may differ from run to run.
    """
    nodes = {}
    for node in graph.node:
        nodes.update(dict.fromkeys(node.output, node))
    weights = {weight.name: weight for weight in graph.initializer}
    names = _needed([output.name for output in graph.output], nodes)
    first_outputs = [name for name in names if name in nodes]
    ordered = [_copied(nodes[name]) for name in first_outputs]
    used = [_copied(weights[name]) for name in names if name in weights]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(ordered)
    graph.initializer.extend(used)


def _needed(outputs: list[str], nodes: dict[str, Any]) -> list[str]:
    """Returns the tensors that outputs need, each behind those that it needs.

    nodes: by the tensors that they give; of each, one tensor is returned.
    """
    names = []
    seen: set[str] = set()
    pending = [(name, False) for name in reversed(outputs)]
    while pending:
        name, is_ready = pending.pop()
        if is_ready:
            names.append(name)
        elif name not in seen:
            node = nodes.get(name)
            seen |= {name} if node is None else set(node.output)
            pending.append((name, True))
            inputs = [] if node is None else reversed(node.input)
            pending += [(each, False) for each in inputs]
    return names


def _copied(message: Any) -> Any:
    """Returns a copy that outlives the graph it was in."""
    return type(message).FromString(message.SerializeToString())


def _stable_names(
    graph: Any, input_name: str, output_names: Sequence[str]
) -> dict[str, str]:
    """Returns the new name of every tensor by its old one; renames the nodes."""
    names = {graph.input[0].name: input_name}
    for output, name in zip(graph.output, output_names, strict=True):
        names[output.name] = name
    for number, weight in enumerate(graph.initializer):
        names[weight.name] = f"weight_{number}"
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        for position, name in enumerate(node.output):
            suffix = f"_{position}" if position else ""
            names.setdefault(name, f"{node.name}{suffix}")
    return names
