"""The optimizers that train.optimizer chooses from.

Keras's own, with what they lack: momentum that cycles, averages and clipping that are
the same however many batches or devices make an update, and convolutions for Muon.
Import only after `backend.start`.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from pipeline.train.schedules import Cycle, PerUpdate, schedule
from pipeline.train_params import Train

# Decay is for what multiplies images: shrinking a bias or a norm's scale only moves the
# point to fit. The offsets are those of trained temperatures and losses.
NOT_DECAYED = (
    "bias",
    "gamma",
    "beta",
    "temperature_offset",
    "alpha_offset",
    "scale_offset",
)

# Not Keras's 0.999: its memory is longer than a short training.
BETA_2 = 0.99

# Paths of weights that Muon is not for: those of embeddings, as learned queries are,
# and of the layers that end a head or a noise model (Liu et al. 2025, arXiv:2502.16982,
# 2.2).
NOT_HIDDEN = ("embedding", r"(^|/)(queries|tags|tags_of_queries|scales|factors)/")

# Paths of kernels whose outputs are split into heads: [inputs, heads, size]. Those of
# Keras's attention, and those of the head `queries`.
SPLIT_INTO_HEADS = r"(^|/)(query|key|value|keys|values)/"


def optimizer(params: Train, updates: int) -> keras.optimizers.Optimizer:
    """Returns what train.optimizer says. updates: of the whole training."""
    chosen = schedule(params, updates)
    builders = {"adamw": adamw, "sgd": sgd, "muon": muon}
    builder: Callable[..., keras.optimizers.Optimizer] = builders[params.optimizer.name]
    several = params.accumulation > 1
    options: dict[str, Any] = {
        "learning_rate": PerUpdate(chosen.rate, params.accumulation),
        "global_clipnorm": params.clip_norm,
        "gradient_accumulation_steps": params.accumulation if several else None,
    }
    if params.ema is not None:
        options |= {"use_ema": True, "ema_momentum": params.ema}
    built = builder(chosen.momentum, **params.optimizer.arguments(), **options)
    built.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return built


def adamw(cycle: Cycle | None, **options: Any) -> keras.optimizers.Optimizer:
    """Returns AdamW. cycle: its beta_1; options: of Keras's constructor."""
    if cycle is None:
        return AdamW(beta_2=BETA_2, **options)
    return CycledAdamW(cycle, beta_2=BETA_2, **options)


def sgd(cycle: Cycle | None, **options: Any) -> keras.optimizers.Optimizer:
    """Returns SGD. cycle: its momentum; options: of Keras's constructor."""
    if cycle is None:
        return SGD(**options)
    return CycledSGD(cycle, **options)


def muon(
    cycle: None,  # noqa: ARG001
    *,
    weight_decay: float,
    **options: Any,
) -> keras.optimizers.Optimizer:
    """Returns Muon, with AdamW for what it is not for.

    cycle: the parameters refuse one; options: of Keras's constructor.
    """
    return Muon(
        weight_decay=weight_decay,
        adam_weight_decay=weight_decay,
        adam_beta_2=BETA_2,
        exclude_layers=list(NOT_HIDDEN),
        **options,
    )


class _PerUpdate(keras.optimizers.Optimizer):
    """Keras's optimizers, whose updates do not depend on batches and devices."""

    def _update_model_variables_moving_average(
        self, trainable_variables: Sequence[keras.Variable]
    ) -> None:
        """Averages once per update, not, as Keras does, once per batch.

        The first update starts the average.
        """
        batches = self.gradient_accumulation_steps or 1
        is_update = ops.equal((self._iterations + 1) % batches, 0)
        is_first = ops.equal(self.iterations, 0)
        momentum = ops.where(is_update, self.ema_momentum, 1.0)
        momentum = ops.where(is_first, 0.0, momentum)
        averages = self._model_variables_moving_average
        for variable, average in zip(trainable_variables, averages, strict=True):
            kept = ops.cast(momentum, average.dtype)
            average.assign(kept * average + (1 - kept) * variable)

    def _clip_gradients(
        self, gradients: list["keras.KerasTensor"]
    ) -> list["keras.KerasTensor"]:
        """Clips the gradient of the whole batch, not of each device's part of it.

        TensorFlow's devices add up their gradients only afterwards.
        """
        if not self.global_clipnorm or keras.backend.backend() != "tensorflow":
            return super()._clip_gradients(gradients)
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return super()._clip_gradients(gradients)
        whole = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        clipped = super()._clip_gradients(whole)
        return [gradient / context.num_replicas_in_sync for gradient in clipped]


class AdamW(_PerUpdate, keras.optimizers.AdamW):
    """Keras's AdamW."""


class CycledAdamW(AdamW):
    """AdamW whose beta_1 is a function of the update."""

    def __init__(self, cycle: Cycle, **options: Any) -> None:
        super().__init__(**options)
        self._cycle = cycle

    @property
    def beta_1(self) -> "keras.KerasTensor":
        """Of this update. Keras's correction of the start takes it for constant."""
        return self._cycle(self.iterations)

    @beta_1.setter
    def beta_1(self, constant: float) -> None:
        """Leaves out the constant that Keras's constructor sets."""


class SGD(_PerUpdate, keras.optimizers.SGD):
    """Keras's SGD."""


class CycledSGD(SGD):
    """SGD whose momentum is a function of the update.

    `momentum` only tells Keras whether to make the velocities.
    """

    def __init__(self, cycle: Cycle, *, momentum: float, **options: Any) -> None:
        del momentum
        super().__init__(momentum=1.0, **options)
        self._cycle = cycle

    def update_step(
        self,
        gradient: "keras.KerasTensor",
        variable: keras.Variable,
        learning_rate: "keras.KerasTensor",
    ) -> None:
        """Keras's step, which compares the momentum with 0 while it is compiled."""
        momentum = ops.cast(self._cycle(self.iterations), variable.dtype)
        step = ops.cast(learning_rate, variable.dtype) * gradient
        velocity = self.momentums[self._get_variable_index(variable)]
        self.assign(velocity, momentum * velocity - step)
        change = momentum * velocity - step if self.nesterov else velocity
        self.assign_add(variable, change)


class Muon(_PerUpdate, keras.optimizers.Muon):
    """Keras's Muon, for every hidden kernel: each is taken as a matrix.

    As its authors' code does it (github.com/KellerJordan/Muon): the rows are all that
    an output sums over, whether positions of a convolution, heads of an attention or
    positions of a dense map.
    """

    def build(self, variables: list[keras.Variable]) -> None:
        """Keras's hook."""
        super().build(variables)
        # Updates on TensorFlow are given its own variables, which have no path.
        self._matrix_shapes = [matrix_shape(variable) for variable in variables]

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        # Attention has biases of two dimensions.
        is_kernel = variable.name == "kernel" and len(variable.shape) > 1
        # A depthwise convolution, of one output, is a vector.
        if not is_kernel or variable.shape[-1] == 1:
            return True
        return any(re.search(name, variable.path) for name in self.exclude_layers)

    def _muon_update_step(
        self,
        gradient: "keras.KerasTensor",
        variable: keras.Variable,
        lr: "keras.KerasTensor",
        m: keras.Variable,
    ) -> None:
        """Keras's step, on the matrix that the kernel is. lr, m: rate and momentum."""
        self.assign_add(m, gradient + m * (self.momentum - 1))
        direction = gradient + self.momentum * m if self.nesterov else m
        shape = self._matrix_shapes[self._get_variable_index(variable)]
        matrix = ops.reshape(direction, shape)
        update = self.zeropower_via_newtonschulz5(matrix, self.ns_steps)
        self.assign_sub(
            variable, ops.reshape(self.lr_adjust(lr * update), variable.shape)
        )


def matrix_shape(kernel: keras.Variable) -> tuple[int, int]:
    """Returns inputs and outputs of a weight, the sides of the matrix that it is."""
    rows = kernel.shape[:-1]
    if re.search(SPLIT_INTO_HEADS, kernel.path):
        rows = kernel.shape[:1]
    inputs = math.prod(rows)
    return inputs, math.prod(kernel.shape) // inputs
