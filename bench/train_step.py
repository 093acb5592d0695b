"""Seconds of a training step: ours beside plain Keras, or the share of a GPU's peak.

    python bench/train_step.py [--steps 20] [--epochs 4] [--runs 2] [--backend NAME]
    python bench/train_step.py --gpu [--batch 64] [--steps 30]

Without --gpu: the default network at 96 pixels on toy shards, once as `train` runs it
(its loop with the loader, augmentation, progress and a checkpoint after each epoch, no
validation) and once by Keras's `fit` on the same images in memory, shuffled, with
Keras's AdamW at a constant rate. Both are started anew in each run and take turns; the
first epoch of each, which compiles, is left out. Medians over epochs are printed, of
the clock and of processor time, which other work on the machine disturbs less.

With --gpu: images per second and FLOP/s of `fit` in mixed bfloat16 on JAX, of resnet_v4
at 224 pixels and the default network at 256 and 448, each batch copied to the device;
and their share of what a large bfloat16 product reaches. It needs JAX, Keras and NumPy
alone. FLOPs are those of convolutions and dense layers, two a multiply-add, with the
gradients twice as many as the prediction.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # where nothing is installed

if TYPE_CHECKING:
    import keras

    from pipeline.data.shards import Split

TAGS = 1_024  # of the networks on a GPU
SIDE = 8_192  # rows and columns of the large product
PRODUCTS = 50  # of them in a run; the best of 5 runs counts

# Network and pixels of a side on a GPU.
ON_GPU = (("resnet_v4", 224), ("compact", 256), ("compact", 448))

# The defaults of train.backbone, whose models need pydantic.
BACKBONES: dict[str, dict[str, Any]] = {
    "resnet_v4": {},
    "compact": {"widths": [32, 64, 128, 256], "blocks": [1, 1, 1, 1]},
}


class Seconds(NamedTuple):
    """Of the clock, and of all threads of this process."""

    clock: float
    processor: float


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20, help="in an epoch")
    parser.add_argument("--epochs", type=int, default=4, help="in a run")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--gpu", action="store_true")
    arguments = parser.parse_args()
    if arguments.gpu:
        _share_of_peak(arguments.batch, arguments.steps)
    else:
        _beside_plain_keras(arguments)


def _beside_plain_keras(arguments: argparse.Namespace) -> None:
    from pipeline.model import backend

    backend.start(arguments.backend)
    ours: list[Seconds] = []
    plain: list[Seconds] = []
    records = arguments.steps * arguments.batch
    with tempfile.TemporaryDirectory() as folder:
        split = _toy_split(Path(folder), records)
        for run in range(arguments.runs):
            work = Path(folder) / f"run-{run}"
            ours += _seconds_of_ours(split, work, arguments)
            plain += _seconds_of_plain(split, arguments)
    print("| training | ms a step | fastest | slowest | ms of processor time |")
    print("|---|--:|--:|--:|--:|")
    _print_row("as train runs it", ours)
    _print_row("plain Keras fit", plain)
    print(f"\n{len(ours)} epochs each")


def _print_row(name: str, seconds: list[Seconds]) -> None:
    """Prints milliseconds of a step. seconds: of a step, by epoch."""
    clock = [epoch.clock for epoch in seconds]
    processor = statistics.median(epoch.processor for epoch in seconds)
    values = [statistics.median(clock), min(clock), max(clock), processor]
    cells = " | ".join(f"{1_000 * value:.1f}" for value in values)
    print(f"| {name} | {cells} |")


def _toy_split(root: Path, records: int) -> "Split":
    from pipeline.data import shards
    from tests.builders import toy_shards

    paths = toy_shards.project(root, records={"train": records})
    return shards.read_splits(paths)["train"]


def _seconds_of_ours(
    split: "Split", work: Path, arguments: argparse.Namespace
) -> list[Seconds]:
    """Returns seconds per step of each epoch but the first."""
    from pipeline.train import loop
    from pipeline.train.checkpoints import Checkpoints
    from pipeline.train.hosts import Host
    from pipeline.train.log import EpochMetrics, TrainingLog

    times: list[Seconds] = []

    class TimedLog(TrainingLog):
        def write(self, metrics: EpochMetrics) -> None:
            super().write(metrics)
            times.append(_now())

    params = _params(arguments)
    log = TimedLog(work / "log")
    loop.train_model(
        loop.TrainingRun(
            params=params,
            train=split,
            validation=None,
            start=None,
            checkpoints=Checkpoints(work / "checkpoints"),
            log=log,
            batch_size=arguments.batch,
            host=Host(),
        )
    )
    log.close()
    return _per_step(times, arguments.steps)


def _seconds_of_plain(split: "Split", arguments: argparse.Namespace) -> list[Seconds]:
    import keras
    import tensorflow as tf

    from pipeline.data import loader
    from pipeline.model import build
    from pipeline.train import devices

    params = _params(arguments)
    decoded = next(loader.batches(split, params.size, split.records))
    data = tf.data.Dataset.from_tensor_slices((decoded.images, decoded.labels))
    data = data.shuffle(split.records).batch(arguments.batch, drop_remainder=True)
    network = build.build(params, np.zeros(split.tags, np.float32))
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    network.compile(
        keras.optimizers.AdamW(1e-3), loss, jit_compile=devices.jit_compile(params)
    )
    timer = EpochTimer()
    network.fit(
        data.prefetch(2),
        epochs=arguments.epochs,
        verbose=0,
        shuffle=False,
        callbacks=[timer.callback],
    )
    return _per_step(timer.times, arguments.steps)


class EpochTimer:
    """Notes when each epoch ends."""

    def __init__(self) -> None:
        import keras

        self.times: list[Seconds] = []
        self.callback = keras.callbacks.LambdaCallback(on_epoch_end=self._note)

    def _note(self, epoch: int, logs: object) -> None:
        del epoch, logs
        self.times.append(_now())


def _now() -> Seconds:
    return Seconds(time.perf_counter(), time.process_time())


def _per_step(times: list[Seconds], steps: int) -> list[Seconds]:
    return [Seconds(*found) for found in np.diff(times, axis=0) / steps]


def _params(arguments: argparse.Namespace) -> Any:
    from pipeline.train_params import AdamW, Train

    return Train(
        backend=arguments.backend,
        epochs=arguments.epochs,
        batch_size=arguments.batch,
        optimizer=AdamW(),  # as plain Keras has it
    )


def _share_of_peak(batch: int, steps: int) -> None:
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import keras

    (device, *_) = jax.devices()
    peak = _peak()
    print(f"{device.device_kind}, JAX {jax.__version__}, Keras {keras.__version__}")
    print(f"product of {SIDE:,} x {SIDE:,} in bfloat16: {peak / 1e12:.1f} TFLOP/s\n")
    print("| network | pixels | batch | images/s | TFLOP/s | share of the peak |")
    print("|---|--:|--:|--:|--:|--:|")
    keras.config.set_dtype_policy("mixed_bfloat16")
    for name, size in ON_GPU:
        network = _network(name, size)
        seconds = _seconds_of_fit(network, size, batch, steps)
        rate = batch / seconds
        speed = rate * training_flops(network)
        print(
            f"| {name} | {size} | {batch} | {rate:,.0f} | {speed / 1e12:.2f} | "
            f"{speed / peak:.1%} |"
        )


def _peak() -> float:
    """Returns FLOP/s of the large product."""
    import jax
    import jax.numpy as jnp

    matrix = jnp.full((SIDE, SIDE), 1e-4, jnp.bfloat16)
    product = jax.jit(jnp.matmul)
    product(matrix, matrix).block_until_ready()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(PRODUCTS):
            result = product(matrix, matrix)
        result.block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 * PRODUCTS / min(seconds)


def _network(name: str, size: int) -> "keras.Model":
    """Returns a backbone with the head `pool`, as pipeline.model.build builds it."""
    import importlib

    import keras

    from pipeline.model.heads import pool

    backbone = importlib.import_module(f"pipeline.model.backbones.{name}")
    images = keras.Input((size, size, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
    features = backbone.feature_map(scaled, **BACKBONES[name])
    bias = np.zeros(TAGS, np.float32)
    return keras.Model(images, pool.logits(features, dropout=0.1, bias=bias))


def _seconds_of_fit(network: "keras.Model", size: int, batch: int, steps: int) -> float:
    """Returns the median over epochs of the seconds of a step."""
    import keras

    random = np.random.default_rng(621)
    images = random.integers(0, 256, (batch, size, size, 3), np.uint8)
    labels = random.integers(0, 2, (batch, TAGS)).astype(np.float32)

    class SameBatch(keras.utils.PyDataset):
        def __len__(self) -> int:
            return steps

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return images, labels

    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    network.compile(keras.optimizers.AdamW(1e-4), loss)
    timer = EpochTimer()
    network.fit(SameBatch(), epochs=4, verbose=0, callbacks=[timer.callback])
    epochs = _per_step(timer.times, steps)
    return statistics.median(epoch.clock for epoch in epochs)


def training_flops(network: "keras.Model") -> int:
    """Returns the FLOPs of a training step for one image."""
    from keras import layers

    multiply_adds = 0
    for layer in network.layers:
        if isinstance(layer, layers.Conv2D):
            positions = math.prod(layer.output.shape[1:3])
            multiply_adds += positions * math.prod(layer.kernel.shape)
        elif isinstance(layer, layers.Dense):
            multiply_adds += math.prod(layer.kernel.shape)
    return 3 * 2 * multiply_adds


if __name__ == "__main__":
    main()
