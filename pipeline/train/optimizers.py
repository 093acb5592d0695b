"""The optimizer: AdamW on a one-cycle schedule.

Import only after `backend.start`.
"""

import keras

from pipeline.params import Train
from pipeline.train.schedules import OneCycle


def adamw(params: Train, steps: int) -> keras.optimizers.Optimizer:
    """Returns the optimizer. steps: of the whole training."""
    schedule = OneCycle(params.learning_rate, steps, params.warmup)
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=params.weight_decay, beta_2=0.99
    )
    # Decay is for what multiplies images: shrinking a bias or a norm's scale only moves
    # the point to fit.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
