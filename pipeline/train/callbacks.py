"""What happens while the network is fitted: progress, validation, checkpoints.

Import only after `backend.start`.
"""

import math

import keras

from pipeline import progress
from pipeline.data.shards import Split
from pipeline.errors import BadParameter
from pipeline.metrics import baselines, ranking
from pipeline.model.heads import pool
from pipeline.model.predict import predict
from pipeline.params import Train
from pipeline.train.checkpoints import Checkpoints
from pipeline.train.log import EpochMetrics, TrainingLog

Logs = dict[str, float] | None


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
        loss = _loss(logs)
        note = f"epoch {self._epoch}, loss {loss:.4f}"
        self._meter.advance(self._batch_size, note=note)


class ValidationCallback(keras.callbacks.Callback):
    """After each epoch: evaluates it on validation, saves a checkpoint, logs it.

    Raises BadParameter when the training loss is no longer a number.
    """

    def __init__(
        self,
        params: Train,
        train: Split,
        validation: Split | None,
        checkpoints: Checkpoints,
        log: TrainingLog,
    ) -> None:
        super().__init__()
        self._params = params
        self._validation = validation
        self._checkpoints = checkpoints
        self._log = log
        self._blind_logits = pool.log_odds(train.positives, train.records)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Keras's hook."""
        loss = _loss(logs)
        if not math.isfinite(loss):
            raise BadParameter(
                f"the training loss is {loss} in epoch {epoch + 1}: the steps are too "
                f"long. Lower train.learning_rate, which is "
                f"{self._params.learning_rate:g}."
            )
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        metrics = self._evaluate(epoch + 1, float(rate), loss)
        self._checkpoints.save(self.model, [*self._log.epochs, metrics])
        self._log.write(metrics)
        progress.log(f"train: {metrics.line(self._params.epochs)}")

    def _evaluate(self, epoch: int, rate: float, loss: float) -> EpochMetrics:
        if self._validation is None:
            return EpochMetrics(epoch, rate, loss)
        found = predict(self.model, self._validation, self._params.size)
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


def _loss(logs: Logs) -> float:
    if logs is None:
        return math.nan
    return float(logs.get("loss", math.nan))
