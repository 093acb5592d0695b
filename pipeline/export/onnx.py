"""From Keras to ONNX: probabilities, stable names, no clock.

Import only after `backend.start("tensorflow")`: tf2onnx reads TensorFlow graphs,
whichever backend trained the model. Keras's own `Model.export(format="onnx")` ends in
the same tf2onnx, with no control over names.
"""

import logging
import warnings

import keras
import onnx
import tensorflow as tf

from e6tag.bundle import BATCH, INPUT, OUTPUT

# Of 2022: read by onnxruntime 1.12 and later, and by what browsers and other tools
# ship.
OPSET = 17


def to_onnx(network: "keras.Model", size: int) -> bytes:
    """Returns the ONNX file: `input` float32 [N, size, size, 3], RGB 0 to 255.

    `output` float32 [N, tags].
    """
    with warnings.catch_warnings():
        # tf2onnx is older than NumPy 2.
        warnings.simplefilter("ignore", DeprecationWarning)
        import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    signature = [tf.TensorSpec((None, size, size, 3), tf.float32, name=INPUT)]

    def probabilities(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT: tf.sigmoid(network(images, training=False))}

    traced = tf.function(probabilities, input_signature=signature)
    proto, _ = tf2onnx.convert.from_function(
        traced, input_signature=signature, opset=OPSET
    )
    _name(proto)
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString(deterministic=True))


def _name(proto: "onnx.ModelProto") -> None:
    """Renames every tensor and node by its place, input and output by what they are."""
    graph = proto.graph
    names = _stable_names(graph)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    for value in (*graph.initializer, *graph.input, *graph.output):
        value.name = names[value.name]
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    del graph.value_info[:]
    graph.name = "e6tag"
    graph.doc_string = ""
    proto.doc_string = ""


def _stable_names(graph: "onnx.GraphProto") -> dict[str, str]:
    """Returns the new name of every tensor by its old one; renames the nodes."""
    names = {graph.input[0].name: INPUT, graph.output[0].name: OUTPUT}
    for number, weight in enumerate(graph.initializer):
        names[weight.name] = f"weight_{number}"
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        for position, name in enumerate(node.output):
            suffix = f"_{position}" if position else ""
            names.setdefault(name, f"{node.name}{suffix}")
    return names
