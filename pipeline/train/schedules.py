"""Learning rates and momentum by update.

An update changes the weights; with train.accumulation several batches make one. Import
only after `backend.start`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
from keras.optimizers.schedules import LearningRateSchedule

from pipeline.train_params import Train

# Of the peak: where the warm-up starts (Smith and Topin 2019, arXiv:1708.07120).
INITIAL_RATE = 1 / 25

Cycle = Callable[["keras.KerasTensor"], "keras.KerasTensor"]
"""From an update, counted from 0, to its momentum."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What changes from update to update. momentum: None where it does not."""

    rate: LearningRateSchedule
    momentum: Cycle | None = None


def schedule(params: Train, updates: int) -> Schedule:
    """Returns what train.schedule says. updates: of the whole training."""
    builders: dict[str, Callable[..., Schedule]] = {
        "one_cycle": one_cycle,
        "triangle": triangle,
        "cosine": cosine,
    }
    builder = builders[params.schedule.name]
    return builder(updates, **params.schedule.arguments())


def one_cycle(
    updates: int, *, learning_rate: float, warmup: float, momentum: list[float] | None
) -> Schedule:
    """Returns a peak, and momentum [high, low] that is low where the rate is high."""
    rate = OneCycle(learning_rate, updates, warmup)
    if momentum is None:
        return Schedule(rate)
    return Schedule(rate, InverseCycle(momentum, updates, warmup))


def triangle(updates: int, *, low: float, high: float, cycles: int) -> Schedule:
    """Returns `cycles` linear rises from `low` to `high`, each with its fall."""
    return Schedule(Triangle(low, high, updates, cycles))


def cosine(
    updates: int, *, learning_rate: float, warmup: float, final: float
) -> Schedule:
    """Returns a linear rise, then half a cosine to the share `final` of the peak."""
    rising = max(1, round(warmup * updates))
    rate = keras.optimizers.schedules.CosineDecay(
        learning_rate * INITIAL_RATE,
        decay_steps=max(1, updates - rising),
        alpha=final,
        warmup_target=learning_rate,
        warmup_steps=rising,
    )
    return Schedule(rate)


@keras.saving.register_keras_serializable("e6tag")
class OneCycle(LearningRateSchedule):
    """Rises linearly to `peak`, then falls to zero along half a cosine.

    steps: of the whole training; warmup: the share of them in which the rate rises.
    """

    def __init__(self, peak: float, steps: int, warmup: float) -> None:
        self.peak = peak
        self.steps = steps
        self.warmup = warmup

    def __call__(self, step: "keras.KerasTensor") -> "keras.KerasTensor":
        """Returns the learning rate of a step, counted from 0."""
        up, down, rises = _one_cycle(step, self.steps, self.warmup)
        up = INITIAL_RATE + (1 - INITIAL_RATE) * up
        return self.peak * keras.ops.where(rises, up, down)

    def get_config(self) -> dict[str, float]:
        """Returns what the constructor takes."""
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup}


class InverseCycle:
    """Momentum that falls while the rate of `OneCycle` rises, and rises with its fall.

    momentum: [high, low]; high at the start and at the end, low at the peak of the rate
    (Smith 2018, arXiv:1803.09820, 4.3).
    """

    def __init__(self, momentum: Sequence[float], steps: int, warmup: float) -> None:
        self.high, self.low = momentum
        self.steps = steps
        self.warmup = warmup

    def __call__(self, step: "keras.KerasTensor") -> "keras.KerasTensor":
        """Returns the momentum of a step, counted from 0."""
        up, down, rises = _one_cycle(step, self.steps, self.warmup)
        return self.high - (self.high - self.low) * keras.ops.where(rises, up, down)


def _one_cycle(
    step: "keras.KerasTensor", steps: int, warmup: float
) -> tuple["keras.KerasTensor", "keras.KerasTensor", "keras.KerasTensor"]:
    """Returns the line from 0 to 1, the half cosine from 1 to 0, and which one holds.

    True: the line.
    """
    rising = max(1.0, warmup * steps)
    falling = max(1.0, steps - rising)
    step = keras.ops.cast(step, "float32")
    done = keras.ops.clip((step - rising) / falling, 0.0, 1.0)
    down = 0.5 * (1 + keras.ops.cos(math.pi * done))
    return step / rising, down, step < rising


@keras.saving.register_keras_serializable("e6tag")
class Triangle(LearningRateSchedule):
    """Rises linearly from `low` to `high` and falls back, `cycles` times.

    steps: of the whole training (Smith 2015, arXiv:1506.01186).
    """

    def __init__(self, low: float, high: float, steps: int, cycles: int) -> None:
        self.low = low
        self.high = high
        self.steps = steps
        self.cycles = cycles

    def __call__(self, step: "keras.KerasTensor") -> "keras.KerasTensor":
        """Returns the learning rate of a step, counted from 0."""
        cycle = keras.ops.cast(step, "float32") * (self.cycles / self.steps)
        phase = cycle - keras.ops.floor(cycle)
        rise = 1 - keras.ops.abs(2 * phase - 1)
        return self.low + (self.high - self.low) * rise

    def get_config(self) -> dict[str, float]:
        """Returns what the constructor takes."""
        return {
            "low": self.low,
            "high": self.high,
            "steps": self.steps,
            "cycles": self.cycles,
        }


@keras.saving.register_keras_serializable("e6tag")
class PerUpdate(LearningRateSchedule):
    """A schedule of updates for an optimizer that counts batches.

    Keras asks a schedule by the batch, also where `batches` of them make one update.
    """

    def __init__(self, updates: LearningRateSchedule, batches: int) -> None:
        self.updates = updates
        self.batches = batches

    def __call__(self, step: "keras.KerasTensor") -> "keras.KerasTensor":
        """Returns the learning rate of a batch, counted from 0."""
        return self.updates(keras.ops.floor_divide(step, self.batches))

    def get_config(self) -> dict[str, object]:
        """Returns what the constructor takes."""
        return {"updates": self.updates, "batches": self.batches}
