"""Learning rates by step.

Import only after `backend.start`.
"""

import math

import keras

# Of the peak: where the warm-up starts (Smith and Topin 2019, arXiv:1708.07120).
INITIAL_RATE = 1 / 25


@keras.saving.register_keras_serializable("e6tag")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to `peak`, then falls to zero along half a cosine.

    steps: of the whole training; warmup: the share of them in which the rate rises.
    """

    def __init__(self, peak: float, steps: int, warmup: float) -> None:
        self.peak = peak
        self.steps = steps
        self.warmup = warmup

    def __call__(self, step: "keras.KerasTensor") -> "keras.KerasTensor":
        """Returns the learning rate of a step, counted from 0."""
        rising = max(1.0, self.warmup * self.steps)
        falling = max(1.0, self.steps - rising)
        step = keras.ops.cast(step, "float32")
        up = self.peak * (INITIAL_RATE + (1 - INITIAL_RATE) * step / rising)
        done = keras.ops.clip((step - rising) / falling, 0.0, 1.0)
        down = self.peak * 0.5 * (1 + keras.ops.cos(math.pi * done))
        return keras.ops.where(step < rising, up, down)

    def get_config(self) -> dict[str, float]:
        """Returns what the constructor takes."""
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup}
