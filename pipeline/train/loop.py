"""One training run: from its last finished epoch, or from nothing, to the weights of its best epoch.

Import only after `backend.start`.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import keras
import numpy as np

from pipeline import progress
from pipeline.data import loader
from pipeline.data.shards import Split
from pipeline.errors import BadParameter
from pipeline.metrics import ranking
from pipeline.model import build
from pipeline.params import Train
from pipeline.train.checkpoints import Checkpoints, EpochMetrics, TrainingLog

FIRST_RATE = (
    1 / 25
)  # of the peak: where the warm-up starts (Smith and Topin 2019, arXiv:1708.07120)
Logs = dict[str, float] | None
PREDICTED_AT_ONCE = 256  # pictures; bounds memory only


def train_model(
    params: Train,
    train: Split,
    validation: Split | None,
    work: Path,
    diary: TrainingLog,
) -> keras.Model:
    """Returns the network with the weights of its best epoch, in float32.

    `diary` then holds every epoch.
    """
    keras.utils.set_random_seed(params.seed)
    batch_size = min(params.batch_size, train.records)
    steps = train.records // batch_size
    with _devices():
        keras.config.set_dtype_policy(_precision())
        network = _compiled(params, train, steps * params.epochs)
    checkpoints = Checkpoints(work)
    for epoch in checkpoints.restore(network):
        diary.write(epoch)
    first = len(diary.epochs)
    if first < params.epochs:
        stream = loader.training(
            train, params, batch_size=batch_size, first_epoch=first
        )
        with progress.meter(
            "train", unit="pictures", total=(params.epochs - first) * steps * batch_size
        ) as meter:
            network.fit(
                stream, initial_epoch=first, epochs=params.epochs,
                steps_per_epoch=steps, verbose=0, shuffle=False,
                callbacks=[_ProgressCallback(meter, batch_size),
                _ValidationCallback(params, train, validation, checkpoints, diary)],
            )  # fmt: skip
    return _published(params, train, checkpoints)


def predict(
    network: keras.Model, split: Split, size: int
) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Returns logits float32 [records, tags], post ids, md5s and labels of a split, in the order of its shards."""
    logits, post_ids, md5s, labels = [], [], [], []
    for batch in loader.batches(split, size, PREDICTED_AT_ONCE):
        logits.append(np.asarray(network.predict_on_batch(batch.pictures), np.float32))
        post_ids.append(batch.post_ids)
        md5s += batch.md5s
        labels.append(batch.labels)
    return (
        np.concatenate(logits),
        np.concatenate(post_ids),
        md5s,
        np.concatenate(labels),
    )


@keras.saving.register_keras_serializable("e6tag")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Rises in a line to `peak` over the share `warmup` of all steps.

    Then falls to zero along half a cosine.
    """

    def __init__(self, peak: float, steps: int, warmup: float) -> None:
        self.peak, self.steps, self.warmup = peak, steps, warmup

    def __call__(self, step: "keras.KerasTensor") -> "keras.KerasTensor":
        """Returns the learning rate of a step, counted from 0."""
        rising = max(1.0, self.warmup * self.steps)
        falling = max(1.0, self.steps - rising)
        step = keras.ops.cast(step, "float32")
        up = self.peak * (FIRST_RATE + (1 - FIRST_RATE) * step / rising)
        done = keras.ops.clip((step - rising) / falling, 0.0, 1.0)
        down = self.peak * 0.5 * (1 + keras.ops.cos(math.pi * done))
        return keras.ops.where(step < rising, up, down)

    def get_config(self) -> dict[str, float]:
        """Returns what the constructor takes."""
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup}


class _ProgressCallback(keras.callbacks.Callback):
    """Moves the meter on."""

    def __init__(self, meter: progress.Meter, batch_size: int) -> None:
        super().__init__()
        self._meter, self._batch_size, self._epoch = meter, batch_size, 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:  # noqa: ARG002
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:  # noqa: ARG002
        loss = float((logs or {}).get("loss", math.nan))
        self._meter.advance(
            self._batch_size, note=f"epoch {self._epoch}, loss {loss:.4f}"
        )


class _ValidationCallback(keras.callbacks.Callback):
    """After each epoch: judges it on validation, writes it down.

    And makes it the point to resume from.
    """

    def __init__(
        self,
        params: Train,
        train: Split,
        validation: Split | None,
        checkpoints: Checkpoints,
        diary: TrainingLog,
    ) -> None:
        super().__init__()
        self._params, self._validation, self._checkpoints, self._diary = (
            params,
            validation,
            checkpoints,
            diary,
        )
        self._blind = build.log_odds(train.positives, train.records)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        loss = float((logs or {}).get("loss", math.nan))
        if not math.isfinite(loss):
            raise BadParameter(
                f"the training loss is {loss} in epoch {epoch + 1}: the steps are too "
                "long. "
                f"Lower train.learning_rate, which is {self._params.learning_rate:g}."
            )
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        judged = self._judge(epoch + 1, rate, loss)
        self._checkpoints.save(self.model, [*self._diary.epochs, judged])
        self._diary.write(judged)
        progress.log(f"train: {judged.line(self._params.epochs)}")

    def _judge(self, number: int, rate: float, loss: float) -> EpochMetrics:
        if self._validation is None:
            return EpochMetrics(number, rate, loss)
        logits, _, _, labels = predict(self.model, self._validation, self._params.size)
        return EpochMetrics(
            number, rate, loss,
            validation_loss=ranking.cross_entropy(labels, logits),
            validation_loss_baseline=ranking.cross_entropy(labels,
            np.broadcast_to(self._blind, logits.shape)),
            macro_auc=ranking.mean(ranking.roc_auc_per_tag(labels, logits)),
            macro_auc_baseline=0.5,
            macro_map=ranking.mean(ranking.average_precision_per_tag(labels, logits)),
            macro_map_baseline=ranking.mean(ranking.prevalence_per_tag(labels)),
        )  # fmt: skip


def _devices() -> AbstractContextManager[object]:
    """Copies the network to every GPU of this machine.

    And shares each batch out among them.
    """
    if keras.backend.backend() == "jax":
        if len(keras.distribution.list_devices()) > 1:
            keras.distribution.set_distribution(keras.distribution.DataParallel())
        return nullcontext()
    import tensorflow as tf

    several = len(tf.config.list_logical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy().scope() if several else nullcontext()


def _precision() -> str:
    """Half precision only on GPUs, where it doubles the speed.

    Which kind depends on what they compute in.
    """
    if keras.backend.backend() == "jax":
        import jax

        return "mixed_bfloat16" if jax.default_backend() != "cpu" else "float32"
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    capabilities = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        for gpu in gpus
    ]
    if not gpus:
        return "float32"
    return "mixed_bfloat16" if min(capabilities) >= (8, 0) else "mixed_float16"


def _built(params: Train, train: Split) -> keras.Model:
    bias = build.log_odds(train.positives, train.records)
    return build.build(params.size, params.widths, params.blocks, params.dropout, bias)


def _compiled(params: Train, train: Split, steps: int) -> keras.Model:
    network = _built(params, train)
    optimizer = keras.optimizers.AdamW(
        OneCycle(params.learning_rate, steps, params.warmup),
        weight_decay=params.weight_decay,
        beta_2=0.99,
    )
    # Decay is for what multiplies pictures: shrinking a bias or a norm's scale only
    # moves the point to fit.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    # XLA gains 6 % on a CPU and costs 5 s of compilation and 700 MB (measured at 96
    # pixels, 2 cores).
    on_cpu = keras.backend.backend() == "tensorflow" and _precision() == "float32"
    network.compile(
        optimizer,
        keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=False if on_cpu else "auto",
    )
    return network


def _published(params: Train, train: Split, checkpoints: Checkpoints) -> keras.Model:
    """The best epoch's weights in a network without optimizer, in float32 whatever it was trained in."""
    keras.config.set_dtype_policy("float32")
    network = _built(params, train)
    network.load_weights(checkpoints.best)
    return network
