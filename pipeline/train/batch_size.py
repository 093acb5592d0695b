"""The batch size: as the parameters say, or the largest that fits, found by trying."""

import gc
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import files, os_errors, progress
from pipeline.data.shards import Split
from pipeline.errors import BadParameter
from pipeline.train import probe
from pipeline.train_params import Train

_FILE = "batch_size.json"

# The first that is tried, per device: small enough for most machines, large enough for
# its memory to show beside that of the weights.
_FIRST = 8

# Of the free memory of a CPU, what a try may take: images being read, and whatever
# else runs, need the rest.
_SHARE_OF_MEMORY = 0.8


def resolve(params: Train, train: Split, work: Path) -> int:
    """Returns the images per step, over all devices together.

    `auto` is found once and kept in the folder of the work, so that a resumed run has
    the same. Raises BadParameter where not one image fits.
    """
    if params.batch_size != "auto":
        return params.batch_size
    kept = work / _FILE
    if kept.exists():
        return int(json.loads(kept.read_text())["batch_size"])
    progress.log("train: looks for the largest batch that fits in memory")
    found = largest(params, train)
    if found == 0:
        raise BadParameter(
            "train.batch_size is auto, and not even one image per device fits in "
            "memory. Lower train.size, or choose a smaller train.backbone or "
            "train.head."
        )
    progress.log(f"train: batch size {found:,}")
    work.mkdir(parents=True, exist_ok=True)
    files.write_json(kept, {"batch_size": found})
    return found


def largest(params: Train, train: Split) -> int:
    """Returns the most images per step that fit: a power of two per device.

    Not more than there are training images; 0 where not one image per device fits.
    """
    limit = _limit(params, train)
    devices = 1

    def peak(per_device: int) -> int | None:
        nonlocal devices
        measured = probe.measure(
            params, train.tags, per_device, on_each_device=True, limit=limit
        )
        if measured is None:
            progress.log(f"train: {per_device:,} images per device do not fit")
            return None
        devices = measured.devices
        gigabytes = measured.peak_bytes / 1e9
        progress.log(
            f"train: {per_device:,} images per device fit, {gigabytes:,.1f} GB"
        )
        if measured.batch_size > train.records:
            return None
        return measured.peak_bytes

    return devices * search(peak, most=train.records, limit=limit)


@contextmanager
def explained(params: Train, train: Split) -> Iterator[None]:
    """Raises BadParameter, from `explain`, where memory runs out in the block."""
    try:
        yield
    except Exception as error:
        if not os_errors.is_out_of_memory(error):
            raise
        raise explain(error, params, train) from error


def explain(error: BaseException, params: Train, train: Split) -> BadParameter:
    """Returns lack of memory while training as the error to raise.

    It names the largest batch that fits. Where a GPU computed, TensorFlow holds its
    memory until this process ends, so that nothing can be tried beside it.
    """
    from pipeline.train import devices

    size = params.batch_size
    message = f"memory ran out while training with train.batch_size: {size}"
    if devices.on_gpu():
        return BadParameter(
            f"{message}. Halve it, or set it to auto, which finds the largest that "
            "fits."
        )
    _release(error)
    progress.log("train: memory ran out; looks for the largest batch that fits")
    found = largest(params, train)
    if found == 0:
        return BadParameter(
            f"{message}, and not even one image fits. Lower train.size or "
            "train.cache_bytes, or choose a smaller train.backbone or train.head."
        )
    return BadParameter(
        f"{message}; the largest that fits is {found}. Set train.batch_size: {found}."
    )


def _release(error: BaseException) -> None:
    """Lets go of the network and its batches, which the frames of an error hold."""
    import keras

    traceback.clear_frames(error.__traceback__)
    keras.utils.clear_session()
    gc.collect()


def search(
    peak: Callable[[int], int | None], *, most: int, limit: int | None = None
) -> int:
    """Returns the largest power of two, at most `most`, that fits; 0 where none does.

    peak: tries a batch size and returns its bytes, None where it does not fit. Two
    tries give a straight line, which says where to try next if there is a limit in
    bytes; but the answer is a size that was tried, and the next one was not to be had
    or did not fit.
    """
    fits = 0
    too_large = _power_of_two(most) * 2
    tried: dict[int, int] = {}
    size = min(_FIRST, too_large // 2)
    while True:
        found = peak(size)
        if found is None:
            too_large = size
        else:
            fits = size
            tried[size] = found
        if too_large <= max(1, 2 * fits):
            return fits
        size = _next(tried, fits, too_large, limit)


def _next(tried: dict[int, int], fits: int, too_large: int, limit: int | None) -> int:
    """Returns the power of two between `fits` and `too_large` to try next."""
    if fits == 0:
        return too_large // 2
    if limit is None or len(tried) < 2:
        return 2 * fits
    (small, small_bytes), (large, large_bytes) = sorted(tried.items())[-2:]
    per_image = max(1.0, (large_bytes - small_bytes) / (large - small))
    guess = _power_of_two(int(large + (limit - large_bytes) / per_image))
    return min(max(guess, 2 * fits), too_large // 2)


def _power_of_two(number: int) -> int:
    """Returns the largest power of two that is not above a number from 1 on."""
    return int(2 ** (max(1, number).bit_length() - 1))


def _limit(params: Train, train: Split) -> int:
    """Returns the bytes of main memory that training steps may take."""
    decoded = train.records * params.size**2 * 3
    cached = decoded + train.records * train.tags
    if decoded > params.cache_bytes:
        cached = 0
    return max(1, int(probe.free_memory() * _SHARE_OF_MEMORY) - cached)
