"""Counts the parameters, products and bytes of a training step without running it.

The network is built without values and traced by TensorFlow, whatever the backend, so
that one is counted too that does not fit in memory. Import only after `backend.start`.
"""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.model import build
from pipeline.train import devices, optimizers
from pipeline.train_params import Train

# Their output is their input under another name.
_ALIASES = frozenset(
    {"Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "IdentityN"}
)

# TensorFlow lets their output take the place of an input that nothing else needs.
_IN_PLACE = frozenset(
    {
        "Add",
        "AddV2",
        "BiasAdd",
        "Cast",
        "Exp",
        "Maximum",
        "Minimum",
        "Mul",
        "Neg",
        "RealDiv",
        "Relu",
        "ReluGrad",
        "Sigmoid",
        "Softmax",
        "Sqrt",
        "Square",
        "Sub",
    }
)


@dataclass(frozen=True, slots=True)
class StepCost:
    """What one training step takes.

    parameters: numbers in the weights, those too that are not trained. forward_flops:
    per image, two for each product and its sum in convolutions and matrix products; all
    the rest is a few hundredths. Bytes: of the weights, of the gradients, of the
    optimizer's variables, and of what forward and backward pass hold at once, for the
    whole batch.
    """

    parameters: int
    forward_flops: int
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    activation_bytes: int

    @property
    def bytes(self) -> int:
        """Memory of the step, the libraries aside."""
        fixed = self.weight_bytes + self.gradient_bytes + self.optimizer_bytes
        return fixed + self.activation_bytes


def count(params: Train, tags: int, batch_size: int) -> StepCost:
    """Returns the cost of a step on `batch_size` images, on one device."""
    keras.config.set_dtype_policy(devices.dtype_policy(params))
    bias = np.zeros(tags, np.float32)
    # Variables get shapes and no values.
    with keras.StatelessScope(initialize_variables=False):
        networks = build.trainable(
            params, bias, positives=np.ones(tags, np.int64), epoch_steps=1
        )
        network = networks.training
        step = _trace(network, networks.loss, params.size, batch_size)
    # Else Keras makes their values when the next such scope ends.
    keras.utils.clear_session()
    trained_bytes = _bytes_of(network.trainable_variables)
    return StepCost(
        parameters=sum(math.prod(weight.shape) for weight in network.weights),
        forward_flops=sum(_flops(op) for op in step.forward) // batch_size,
        weight_bytes=_bytes_of(network.weights),
        gradient_bytes=trained_bytes,
        optimizer_bytes=trained_bytes * _numbers_per_weight(params),
        activation_bytes=_peak_bytes(step),
    )


def _numbers_per_weight(params: Train) -> int:
    """Returns how many numbers the optimizer keeps for each weight of a kernel."""
    kernel = keras.Variable(np.zeros((64, 64), np.float32), name="kernel")
    optimizer = optimizers.optimizer(params, 1)
    optimizer.build([kernel])
    return sum(variable.shape == kernel.shape for variable in optimizer.variables)


@dataclass(frozen=True, slots=True)
class _Step:
    """A traced step. forward: its operations before the gradient; all: in order."""

    forward: "list[tf.Operation]"
    all: "list[tf.Operation]"
    inputs: "list[tf.Tensor]"
    outputs: "list[tf.Tensor]"


def _trace(
    network: keras.Model, loss: keras.losses.Loss, size: int, batch_size: int
) -> _Step:
    forward_operations = 0
    variables = [*network.trainable_variables, *network.non_trainable_variables]

    def step(
        trainable: "list[tf.Tensor]",
        others: "list[tf.Tensor]",
        images: "tf.Tensor",
        labels: "tf.Tensor",
    ) -> "list[tf.Tensor]":
        nonlocal forward_operations
        with tf.GradientTape() as tape:
            tape.watch(trainable)
            outputs, updated = network.stateless_call(
                trainable, others, images, training=True
            )
            # Some losses read variables of the network.
            state = list(zip(variables, [*trainable, *others], strict=True))
            with keras.StatelessScope(state_mapping=state):
                value = loss(labels, outputs)
        forward_operations = len(tf.compat.v1.get_default_graph().get_operations())
        return [value, *tape.gradient(value, trainable), *updated]

    arguments = _arguments(network, size, batch_size)
    traced = tf.function(step, autograph=False).get_concrete_function(*arguments)
    operations = traced.graph.get_operations()
    return _Step(
        forward=operations[:forward_operations],
        all=operations,
        inputs=traced.graph.inputs,
        outputs=traced.graph.outputs,
    )


def _arguments(network: keras.Model, size: int, batch_size: int) -> list[Any]:
    """Returns the shapes of what a step takes: variables, images and labels."""
    return [
        _specs(network.trainable_variables),
        _specs(network.non_trainable_variables),
        tf.TensorSpec((batch_size, size, size, 3), "uint8"),
        tf.TensorSpec((batch_size, network.output_shape[-1]), "uint8"),
    ]


def _specs(variables: "list[keras.Variable]") -> "list[tf.TensorSpec]":
    return [tf.TensorSpec(variable.shape, variable.dtype) for variable in variables]


def _bytes_of(variables: "list[keras.Variable]") -> int:
    total = 0
    for variable in variables:
        total += math.prod(variable.shape) * tf.as_dtype(variable.dtype).size
    return total


def _flops(operation: "tf.Operation") -> int:
    """Returns two for each product of a convolution or matrix product, else 0."""
    kind = operation.type
    if kind == "Conv2D":
        *kernel, _ = operation.inputs[1].shape
        return 2 * _numbers(operation.outputs[0]) * math.prod(kernel)
    if kind == "DepthwiseConv2dNative":
        height, width, *_ = operation.inputs[1].shape
        return 2 * _numbers(operation.outputs[0]) * height * width
    if kind == "MatMul":
        rows, columns = operation.inputs[0].shape
        inner = rows if operation.get_attr("transpose_a") else columns
        return 2 * _numbers(operation.outputs[0]) * inner
    if kind == "BatchMatMulV2":
        *_, rows, columns = operation.inputs[0].shape
        inner = rows if operation.get_attr("adj_x") else columns
        return 2 * _numbers(operation.outputs[0]) * inner
    return _einsum_flops(operation) if kind == "Einsum" else 0


def _einsum_flops(operation: "tf.Operation") -> int:
    equation = operation.get_attr("equation").decode()
    terms = equation.split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, tensor in zip(terms, operation.inputs, strict=True):
        sizes.update(zip(term, tensor.shape, strict=True))
    return 2 * math.prod(sizes.values())


def _numbers(tensor: "tf.Tensor") -> int:
    return math.prod(tensor.shape)


def _peak_bytes(step: _Step) -> int:
    """Returns the most bytes held at once, weights and their gradients aside.

    Operations run in the order of the trace; a tensor is held from its operation to the
    last that reads it.
    """
    owners = _owners(step.all)
    aside = {owners[tensor.ref()] for tensor in (*step.inputs[:-2], *step.outputs)}
    last_use = _last_use(step, owners)
    held, peak = 0, 0
    for place, operation in enumerate(step.all):
        made = _own_tensors(operation, owners) - aside
        read = {owners[tensor.ref()] for tensor in operation.inputs} - aside
        ended = {tensor for tensor in read if last_use[tensor] == place}
        unread = {tensor for tensor in made if tensor not in last_use}
        reused = 0
        if operation.type in _IN_PLACE:
            reused = min(_sum(made), _sum(ended))
        peak = max(peak, held + _sum(made) - reused)
        held += _sum(made) - _sum(ended) - _sum(unread)
    return peak


def _last_use(step: _Step, owners: "dict[Any, Any]") -> "dict[Any, int]":
    """Returns the place of the last operation that reads a tensor."""
    places = {}
    for place, operation in enumerate(step.all):
        for tensor in operation.inputs:
            places[owners[tensor.ref()]] = place
    return places


def _owners(operations: "list[tf.Operation]") -> "dict[Any, Any]":
    """Returns for each tensor the one whose memory it has: itself, or an alias's."""
    owners: dict[Any, Any] = {}
    for operation in operations:
        for number, tensor in enumerate(operation.outputs):
            owner = tensor.ref()
            if operation.type in _ALIASES:
                owner = owners[operation.inputs[number].ref()]
            owners[tensor.ref()] = owner
    return owners


def _own_tensors(operation: "tf.Operation", owners: "dict[Any, Any]") -> "set[Any]":
    references = {tensor.ref() for tensor in operation.outputs}
    return {reference for reference in references if owners[reference] == reference}


def _sum(references: "set[Any]") -> int:
    total = 0
    for reference in references:
        tensor = reference.deref()
        if tensor.shape.is_fully_defined():
            total += _numbers(tensor) * tensor.dtype.size
    return total
