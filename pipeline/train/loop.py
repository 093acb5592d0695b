"""One training run: from its last checkpoint, or from nothing, to the last epoch.

Import only after `backend.start`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import keras
import numpy as np

from pipeline import progress
from pipeline.data import loader
from pipeline.data.shards import Split
from pipeline.errors import BadParameter
from pipeline.metrics import baselines
from pipeline.model import build
from pipeline.train import devices, frozen_features, optimizers, transfer
from pipeline.train.callbacks import (
    CheckpointCallback,
    LossGuard,
    PostIds,
    ProgressCallback,
    ValidationCallback,
)
from pipeline.train.checkpoints import Checkpoints, Restored
from pipeline.train.ema import (
    STATISTICS_BATCH_SIZE,
    STATISTICS_BATCHES,
    AveragedWeights,
    Inputs,
)
from pipeline.train.hosts import Host
from pipeline.train.initial import Initial
from pipeline.train.log import TrainingLog, stopped_early
from pipeline.train_params import Train

if TYPE_CHECKING:
    import tensorflow as tf


# TensorFlow takes its own seed modulo this, and while that is 0, it cannot shuffle by a
# seed that is a tensor.
_SEEDS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What a training reads, and where it writes what it has reached.

    start: the model whose weights are the first ones, or None. batch_size: images per
    step, over all devices of all hosts.
    """

    params: Train
    train: Split
    validation: Split | None
    start: Initial | None
    checkpoints: Checkpoints
    log: TrainingLog
    batch_size: int
    host: Host

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self.train.records // self.batch_size


@dataclass(frozen=True, slots=True)
class Batches:
    """What the network learns from, in its order.

    stream: (images or features, labels) from where the training goes on to its end.
    post_ids: returns those of the batch of an epoch and a step, both counted from 0.
    first: gives the inputs of the first records alone, without augmentation.
    """

    stream: "tf.data.Dataset"
    post_ids: PostIds
    first: Inputs


def train_model(run: TrainingRun) -> keras.Model | None:
    """Returns the network with the weights of its best epoch, in float32.

    `run.log` then holds every epoch. A host that writes nothing returns None.
    """
    params = run.params
    keras.utils.set_random_seed(params.seed % _SEEDS or _SEEDS - 1)
    with devices.distribution(params):
        _refuse_embeddings_on_several_devices(params)
        networks = compiled(
            params, run.train, batch_size=run.batch_size, start=run.start
        )
        learning = _compiled_learning_part(networks, params)
        # Within the strategy too: it makes the optimizer's variables.
        restored = run.checkpoints.restore(learning)
    for epoch in restored.epochs:
        run.log.write(epoch)
    epochs = run.log.epochs
    is_over = len(epochs) == params.epochs or stopped_early(epochs, params)
    if not is_over:
        _fit(networks, learning, run, restored)
    if not run.host.writes:
        return None
    with devices.undistributed():
        return _best_in_float32(run)


def compiled(
    params: Train, train: Split, *, batch_size: int, start: Initial | None = None
) -> build.Trainable:
    """Returns the network at its start, with its optimizer and loss.

    It is in the precision of the devices.
    """
    keras.config.set_dtype_policy(devices.dtype_policy(params))
    networks = _build(params, train, batch_size)
    if start is not None:
        transfer.initialise(networks.training, start, params)
        progress.log(f"train: starts from {params.init}: {start.tags.line()}")
    if params.freeze != "none":
        transfer.freeze_backbone(networks.training)
    steps = train.records // batch_size * params.epochs
    networks.training.compile(
        optimizers.optimizer(params, _updates(params, steps)),
        networks.loss,
        jit_compile=devices.jit_compile(params),
    )
    return networks


def _fit(
    networks: build.Trainable,
    learning: keras.Model,
    run: TrainingRun,
    restored: Restored,
) -> None:
    """Trains from where the training was restored to the last epoch."""
    params = run.params
    batches = _batches(networks, run, restored)
    averaged = None if params.ema is None else AveragedWeights(batches.first)
    first_epoch = len(restored.epochs)
    steps_done = first_epoch * run.steps + restored.step
    images = params.epochs * run.steps * run.batch_size
    with progress.meter("train", unit="images", total=images) as meter:
        meter.skip_done(steps_done * run.batch_size)
        callbacks = [
            LossGuard(params, batches.post_ids, restored),
            ProgressCallback(meter, run.batch_size),
            CheckpointCallback(params, run.checkpoints, run.log, restored, run.steps),
            ValidationCallback(
                params,
                networks.inference,
                run.train,
                run.validation,
                run.checkpoints,
                run.log,
                averaged,
            ),
        ]
        learning.fit(
            devices.share(batches.stream, run.host, run.batch_size),
            initial_epoch=first_epoch,
            epochs=params.epochs,
            steps_per_epoch=run.steps,
            verbose=0,
            shuffle=False,
            callbacks=callbacks,
        )


def _batches(
    networks: build.Trainable, run: TrainingRun, restored: Restored
) -> Batches:
    """Returns the batches of images, or of features that are computed here."""
    size, first_epoch = run.batch_size, len(restored.epochs)
    if run.params.freeze == "embeddings":
        found = frozen_features.compute(networks.training, run.train, run.params)
        stream = frozen_features.stream(
            found,
            run.params,
            batch_size=size,
            first_epoch=first_epoch,
            first_step=restored.step,
        )
        post_ids = partial(
            frozen_features.post_ids_of_batch, found, run.params, batch_size=size
        )
        first = partial(_first_features, found.features)
    else:
        stream = loader.training(
            run.train,
            run.params,
            batch_size=size,
            first_epoch=first_epoch,
            first_step=restored.step,
        )
        post_ids = partial(
            loader.post_ids_of_batch, run.train, run.params, batch_size=size
        )
        first = partial(_first_images, run.train, run.params.size)
    return Batches(stream, lambda epoch, step: post_ids(epoch=epoch, step=step), first)


def _first_images(train: Split, size: int) -> Iterator[np.ndarray]:
    batches = loader.batches(train, size, STATISTICS_BATCH_SIZE)
    for batch in islice(batches, STATISTICS_BATCHES):
        yield batch.images


def _first_features(features: np.ndarray) -> Iterator[np.ndarray]:
    count = min(len(features), STATISTICS_BATCHES * STATISTICS_BATCH_SIZE)
    for start in range(0, count, STATISTICS_BATCH_SIZE):
        yield features[start : min(start + STATISTICS_BATCH_SIZE, count)]


def _build(params: Train, train: Split, batch_size: int) -> build.Trainable:
    return build.trainable(
        params,
        baselines.log_odds(train.positives, train.records),
        positives=train.positives,
        epoch_steps=train.records // batch_size,
    )


def _updates(params: Train, steps: int) -> int:
    """Returns how often the weights change; batches left over at the end do nothing.

    Raises BadParameter where they never change.
    """
    updates = steps // params.accumulation
    if updates == 0:
        raise BadParameter(
            f"train.accumulation is {params.accumulation:,} and the whole training has "
            f"{steps:,} batches: no update would be made. Lower it."
        )
    return updates


def _learning_part(network: keras.Model, params: Train) -> keras.Model:
    """Returns what is fitted and saved: the network, or its head alone."""
    if params.freeze == "embeddings":
        return frozen_features.head_of(network, params)
    return network


def _compiled_learning_part(networks: build.Trainable, params: Train) -> keras.Model:
    network = networks.training
    learning = _learning_part(network, params)
    if learning is not network:
        learning.compile(
            network.optimizer, networks.loss, jit_compile=devices.jit_compile(params)
        )
    return learning


def _refuse_embeddings_on_several_devices(params: Train) -> None:
    if params.freeze == "embeddings" and devices.is_distributed_on_jax():
        raise BadParameter(
            "train.freeze: embeddings computes the features on one device of jax, and "
            f"there are {devices.count()}. Set train.freeze: backbone, or "
            "CUDA_VISIBLE_DEVICES to one."
        )


def _best_in_float32(run: TrainingRun) -> keras.Model:
    """Returns the network for inference, with the best epoch's weights, in float32."""
    keras.config.set_dtype_policy("float32")
    networks = _build(run.params, run.train, run.batch_size)
    if run.start is not None:
        # Checkpoints of a head alone do not hold the backbone.
        transfer.initialise(networks.training, run.start, run.params)
    learning = _learning_part(networks.training, run.params)
    learning.load_weights(run.checkpoints.best)
    return networks.inference
