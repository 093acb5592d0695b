"""What happens while the network is fitted: progress, checkpoints, validation.

Import only after `backend.start`.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import keras
import numpy as np

from pipeline import progress
from pipeline.data.shards import Split
from pipeline.errors import BadParameter
from pipeline.metrics import baselines, ranking
from pipeline.model.predict import Prediction, predict
from pipeline.train import devices
from pipeline.train.checkpoints import Checkpoints, Restored
from pipeline.train.ema import AveragedWeights, assign
from pipeline.train.log import EpochMetrics, TrainingLog, stopped_early
from pipeline.train_params import Train

Logs = dict[str, float] | None
PostIds = Callable[[int, int], list[int]]


class ProgressCallback(keras.callbacks.Callback):
    """Advances the progress meter by each batch."""

    def __init__(self, meter: progress.Meter, batch_size: int) -> None:
        super().__init__()
        self._meter = meter
        self._batch_size = batch_size
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:  # noqa: ARG002
        """Keras's hook."""
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:  # noqa: ARG002
        """Keras's hook."""
        loss = _loss(self.model, logs)
        note = f"epoch {self._epoch}, loss {loss:.4f}"
        self._meter.advance(self._batch_size, note=note)


class LossGuard(keras.callbacks.Callback):
    """Raises BadParameter at the step whose loss is not a finite number.

    Keras reports the mean over the epoch so far, which stays so from that step on.
    post_ids: returns those of the batch of an epoch and a step, both counted from 0.
    """

    def __init__(self, params: Train, post_ids: PostIds, restored: Restored) -> None:
        super().__init__()
        self._params = params
        self._post_ids = post_ids
        self._epoch = 0
        self._first_step = restored.step

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:  # noqa: ARG002
        """Keras's hook."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Keras's hook."""
        loss = _loss(self.model, logs)
        if math.isfinite(loss):
            return
        step = self._first_step + batch
        post_ids = self._post_ids(self._epoch, step)
        listed = ", ".join(str(post_id) for post_id in post_ids)
        raise BadParameter(
            f"the training loss is {loss} in epoch {self._epoch + 1} at step "
            f"{step + 1}: {_lower_rate(self._params)} The posts of that step: {listed}"
        )

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:  # noqa: ARG002
        """Keras's hook."""
        self._first_step = 0


class CheckpointCallback(keras.callbacks.Callback):
    """Saves a checkpoint every so many steps, and resumes within an epoch.

    steps: of a whole epoch. Keras counts the steps of the resumed epoch from 0 and
    would take as many as of any other: the epoch is ended by `stop_training`, which is
    taken back before Keras reads it to end the training. To stand before callbacks that
    do end the training after an epoch.
    """

    def __init__(
        self,
        params: Train,
        checkpoints: Checkpoints,
        log: TrainingLog,
        restored: Restored,
        steps: int,
    ) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._log = log
        self._first_step = restored.step
        self._metrics = restored.metrics
        self._steps = steps
        self._checkpoint_steps = params.checkpoint_steps

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:  # noqa: ARG002
        """Keras's hook."""
        if self._first_step > 0:
            # The epoch's mean loss is also that of the steps before the kill.
            assign(self.model.metrics_variables, self._metrics)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:  # noqa: ARG002
        """Keras's hook."""
        step = self._first_step + batch + 1
        if step == self._steps:
            self.model.stop_training = self._first_step > 0
        elif step % self._checkpoint_steps == 0:
            if keras.backend.backend() == "jax":
                # While it fits, JAX's values are outside of the variables.
                self.model.jax_state_sync()
            self._checkpoints.save(self.model, self._log.epochs, step)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:  # noqa: ARG002
        """Keras's hook."""
        self._first_step = 0
        self.model.stop_training = False


class ValidationCallback(keras.callbacks.Callback):
    """After each epoch: evaluates it on validation, saves a checkpoint, logs it.

    Keras trains one model of the network, and `inference` is the other one. Ends the
    training after `train.early_stop` epochs that are no better.
    """

    def __init__(
        self,
        params: Train,
        inference: keras.Model,
        train: Split,
        validation: Split | None,
        checkpoints: Checkpoints,
        log: TrainingLog,
        averaged: AveragedWeights | None,
    ) -> None:
        super().__init__()
        self._params = params
        self._inference = inference
        self._validation = validation
        self._checkpoints = checkpoints
        self._log = log
        self._averaged = averaged
        self._copy: keras.Model | None = None
        self._blind_logits = baselines.log_odds(train.positives, train.records)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Keras's hook."""
        loss = _loss(self.model, logs)
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        metrics = self._evaluate(epoch + 1, float(rate), loss)
        epochs = [*self._log.epochs, metrics]
        self._checkpoints.save(self.model, epochs, averaged=self._averaged)
        self._log.write(metrics)
        progress.log(f"train: {metrics.line(self._params.epochs)}")
        if stopped_early(self._log.epochs, self._params):
            self.model.stop_training = True

    def _evaluate(self, epoch: int, rate: float, loss: float) -> EpochMetrics:
        if self._validation is None:
            return EpochMetrics(epoch, rate, loss)
        with self._weights_to_evaluate():
            found = self._predict(self._validation)
        if not np.isfinite(found.logits).all():
            # The loss may still be one: batch normalisation has other statistics while
            # it trains.
            raise BadParameter(
                f"after epoch {epoch} the network's outputs for validation images are "
                f"not finite numbers: {_lower_rate(self._params)}"
            )
        labels = found.labels
        blind = baselines.blind_scores(self._blind_logits, len(labels))
        auc = ranking.roc_auc_per_tag(labels, found.logits)
        precision = ranking.average_precision_per_tag(labels, found.logits)
        prevalence = ranking.prevalence_per_tag(labels)
        return EpochMetrics(
            epoch,
            rate,
            loss,
            validation_loss=ranking.cross_entropy(labels, found.logits),
            validation_loss_baseline=ranking.cross_entropy(labels, blind),
            macro_auc=ranking.mean(auc),
            macro_auc_baseline=baselines.MACRO_AUC,
            macro_map=ranking.mean(precision),
            macro_map_baseline=ranking.mean(prevalence),
        )

    def _weights_to_evaluate(self) -> AbstractContextManager[None]:
        if self._averaged is None:
            return nullcontext()
        return self._averaged.lent(self.model)

    def _predict(self, split: Split) -> Prediction:
        """Returns the prediction of the network as it is.

        On several devices of JAX by a copy on one: the last batch of a split cannot be
        shared equally, and each host needs all outputs.
        """
        size = self._params.size
        if not devices.is_distributed_on_jax():
            return predict(self._inference, split, size)
        weights = self._inference.get_weights()
        with devices.undistributed():
            if self._copy is None:
                self._copy = keras.models.clone_model(self._inference)
            self._copy.set_weights(weights)
            return predict(self._copy, split, size)


def _lower_rate(params: Train) -> str:
    """Returns why a training explodes, and the parameter to change."""
    schedule = params.schedule
    rate = getattr(schedule, schedule.peak)
    return (
        f"the learning rate is too high. Lower train.schedule.{schedule.peak}, which "
        f"is {rate:g}."
    )


def _loss(network: keras.Model, logs: Logs) -> float:
    """Returns the mean over tags of the objective, which is their sum."""
    if logs is None:
        return math.nan
    tags = network.output_shape[-1]
    return float(logs.get("loss", math.nan)) / tags
