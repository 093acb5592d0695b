"""From Keras to ONNX: probabilities instead of logits, names that do not depend on the process, no clock.

Import only after `backend.start("tensorflow")`: tf2onnx reads TensorFlow graphs, whichever backend trained the model.
Keras's own `Model.export(format="onnx")` ends in the same tf2onnx, with no say in names.
"""

import logging
import warnings

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf

# Of 2022: read by onnxruntime 1.12 and later, and by what browsers and other tools ship
OPSET = 17
INPUT, OUTPUT, BATCH = "input", "output", "N"


def to_onnx(network: "keras.Model", size: int) -> bytes:
    """Returns the ONNX file: `input` float32 [N, size, size, 3], RGB 0 to 255.

    `output` float32 [N, tags].
    """
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # tf2onnx is older than NumPy 2
        import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    signature = [tf.TensorSpec((None, size, size, 3), tf.float32, name=INPUT)]
    traced = tf.function(
        lambda pictures: {OUTPUT: tf.sigmoid(network(pictures, training=False))},
        input_signature=signature,
    )
    proto, _ = tf2onnx.convert.from_function(
        traced, input_signature=signature, opset=OPSET
    )
    _name(proto)
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString(deterministic=True))


def run_onnx(file: bytes, pictures: np.ndarray) -> np.ndarray:
    """Runs an ONNX file on the CPU, as its users do.

    pictures: uint8 [n, size, size, 3]; returns float32 [n, tags].
    """
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([OUTPUT], {INPUT: pictures.astype(np.float32)})[0])


def _name(proto: "onnx.ModelProto") -> None:
    """Renames every tensor and node by its place, input and output by what they are."""
    graph = proto.graph
    names = {graph.input[0].name: INPUT, graph.output[0].name: OUTPUT}
    for number, weight in enumerate(graph.initializer):
        names[weight.name] = f"weight_{number}"
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        for position, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}_{position}" if position else node.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    for value in (*graph.initializer, *graph.input, *graph.output):
        value.name = names[value.name]
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    del graph.value_info[:]
    graph.name, proto.doc_string, graph.doc_string = "e6tag", "", ""
