"""One training run: from its last finished epoch, or from nothing, to the last.

Import only after `backend.start`.
"""

from pathlib import Path

import keras

from pipeline import progress
from pipeline.data import loader
from pipeline.data.shards import Split
from pipeline.model.build import build
from pipeline.model.heads import pool
from pipeline.model.losses import binary_cross_entropy
from pipeline.params import Train
from pipeline.train import devices, optimizers
from pipeline.train.callbacks import ProgressCallback, ValidationCallback
from pipeline.train.checkpoints import Checkpoints
from pipeline.train.log import TrainingLog


def train_model(
    params: Train,
    train: Split,
    validation: Split | None,
    work: Path,
    log: TrainingLog,
) -> keras.Model:
    """Returns the network with the weights of its best epoch, in float32.

    `log` then holds every epoch.
    """
    keras.utils.set_random_seed(params.seed)
    batch_size = min(params.batch_size, train.records)
    steps = train.records // batch_size
    with devices.distribution():
        keras.config.set_dtype_policy(devices.dtype_policy())
        network = _compiled(params, train, steps * params.epochs)
    checkpoints = Checkpoints(work)
    for epoch in checkpoints.restore(network):
        log.write(epoch)
    first = len(log.epochs)
    if first < params.epochs:
        stream = loader.training(
            train, params, batch_size=batch_size, first_epoch=first
        )
        images = (params.epochs - first) * steps * batch_size
        with progress.meter("train", unit="pictures", total=images) as meter:
            callbacks = [
                ProgressCallback(meter, batch_size),
                ValidationCallback(params, train, validation, checkpoints, log),
            ]
            network.fit(
                stream,
                initial_epoch=first,
                epochs=params.epochs,
                steps_per_epoch=steps,
                verbose=0,
                shuffle=False,
                callbacks=callbacks,
            )
    return _best_in_float32(params, train, checkpoints)


def _build(params: Train, train: Split) -> keras.Model:
    bias = pool.log_odds(train.positives, train.records)
    return build(params.size, params.widths, params.blocks, params.dropout, bias)


def _compiled(params: Train, train: Split, steps: int) -> keras.Model:
    network = _build(params, train)
    network.compile(
        optimizers.adamw(params, steps),
        binary_cross_entropy.loss(),
        jit_compile=devices.jit_compile(),
    )
    return network


def _best_in_float32(
    params: Train, train: Split, checkpoints: Checkpoints
) -> keras.Model:
    """Returns the best epoch's weights in a network without optimizer, in float32."""
    keras.config.set_dtype_policy("float32")
    network = _build(params, train)
    network.load_weights(checkpoints.best)
    return network
