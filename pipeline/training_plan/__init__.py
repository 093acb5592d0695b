"""What a training would take, before it starts: `e6tag train --plan`.

Reads       data/sample/vocabulary.parquet   an output of the network for each tag
            data/shards/index.parquet        how many images there are; may be missing
Guarantees  writes nothing. The network is counted without being made, so that one is
            counted too that does not fit in memory; a few steps on random images are
            then timed in a process of their own.
"""

from typing import TYPE_CHECKING

from pipeline import parquet
from pipeline.data import shards
from pipeline.errors import BadInput
from pipeline.model import backend
from pipeline.paths import Paths
from pipeline.train import probe
from pipeline.train_params import Train

if TYPE_CHECKING:
    from pipeline.training_plan.cost import StepCost

_TIMED_STEPS = 3

# Images per step that are counted where train.batch_size is auto.
_BATCH_OF_AUTO = 32

# The backward pass has two products for each of the forward pass: one for the gradient
# of the weights, one for that of the inputs.
_FLOPS_OF_STEP = 3


def run(params: Train, paths: Paths) -> None:
    """Prints parameters, FLOPs, memory, steps and hours of a training.

    Raises BadInput where there is no vocabulary.
    """
    tags = _tags(paths)
    records = _records(paths)
    backend.start("tensorflow", params.device)
    # Imported here: it loads Keras.
    from pipeline.training_plan import cost

    batch_size = _batch_size(params, records)
    _print_network(params, tags)
    counted = cost.count(params, tags, batch_size)
    _print_cost(counted, batch_size)
    if params.batch_size == "auto":
        print("batch size        auto: found by trying when training starts")
    measured = probe.measure(
        params, tags, batch_size, steps=_TIMED_STEPS, limit=probe.free_memory()
    )
    if measured is None:
        print(f"time              unknown: {batch_size:,} images do not fit in memory")
        return
    _print_time(params, records, measured)


def _tags(paths: Paths) -> int:
    vocabulary = paths.sample / "vocabulary.parquet"
    if not vocabulary.exists():
        raise BadInput(
            f"{vocabulary} is not there, and the network has an output for each of its "
            "tags. Run dvc repro sample first."
        )
    return parquet.read(vocabulary, columns=["label_id"]).height


def _records(paths: Paths) -> int | None:
    """Returns the number of training images; None where no shards are written."""
    if not (paths.shards / "index.parquet").exists():
        return None
    (train,) = shards.require(shards.read_splits(paths), "train")
    return train.records


def _batch_size(params: Train, records: int | None) -> int:
    wanted = params.batch_size
    size = _BATCH_OF_AUTO if wanted == "auto" else wanted
    return size if records is None else min(size, records)


def _print_network(params: Train, tags: int) -> None:
    print(
        f"network           {params.backbone.name}, {params.head.name}; "
        f"{params.size} x {params.size} pixels, {tags:,} tags"
    )


def _print_cost(counted: "StepCost", batch_size: int) -> None:
    forward = counted.forward_flops / 1e9
    step = forward * _FLOPS_OF_STEP
    print(f"parameters        {counted.parameters:,}")
    print(
        f"FLOPs per image   {forward:,.2f} billion forward, {step:,.2f} billion in a "
        "training step"
    )
    per_image = counted.activation_bytes / batch_size
    print(
        f"memory            {_size(counted.bytes)} estimated, one device, libraries "
        f"aside: weights {_size(counted.weight_bytes)}, gradients "
        f"{_size(counted.gradient_bytes)}, optimizer "
        f"{_size(counted.optimizer_bytes)}, activations {_size(per_image)} per image x "
        f"{batch_size:,}"
    )


def _print_time(
    params: Train, records: int | None, measured: probe.Measurement
) -> None:
    """Prints memory and time as they were measured, and what follows for the whole."""
    where = "GPU" if measured.on_gpu else "CPU"
    held = measured.peak_bytes - measured.base_bytes
    images = measured.batch_size / measured.step_seconds
    print(f"memory measured   {_size(held)} on this {where}, libraries aside")
    print(
        f"speed             {images:,.1f} images/s: {_TIMED_STEPS} steps of "
        f"{measured.batch_size:,} random images here"
    )
    if records is None:
        print("steps, time       unknown: data/shards has no index yet")
        return
    steps = records // measured.batch_size * params.epochs
    hours = steps * measured.step_seconds / 3_600
    print(
        f"steps             {steps:,}: {params.epochs:,} epochs of {records:,} images"
    )
    print(f"time              {hours:,.2f} hours, without reading and validation")


def _size(number: float) -> str:
    if number < 1e9:
        return f"{number / 1e6:,.1f} MB"
    return f"{number / 1e9:,.2f} GB"
