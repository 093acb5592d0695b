"""Measures training steps in a process of their own.

Lack of memory leaves a process that no further step can trust, and TensorFlow gives a
GPU's memory back only when its process ends. So each batch size is tried in a fresh
one: `measure` starts it, and `python -m pipeline.train.probe` is what it runs.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import psutil

from pipeline import os_errors
from pipeline.data.shards import Split
from pipeline.errors import BadParameter, E6tagError
from pipeline.model import backend
from pipeline.train import code
from pipeline.train_params import Train

if TYPE_CHECKING:
    import keras

_POLL_SECONDS = 0.02
_OUT_OF_MEMORY = 64  # exit status of the process
_BAD_PARAMETER = 65
_KILLED = (-9, -6)  # SIGKILL of the kernel; SIGABRT where C++ gets no memory


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the steps of one process took.

    batch_size: images per step over all devices. peak_bytes: the most memory held at
    once, on a CPU that of the process, else that of the first GPU; base_bytes: what
    was held before there was a network. step_seconds: mean without the first step,
    which compiles.
    """

    batch_size: int
    devices: int
    base_bytes: int
    peak_bytes: int
    step_seconds: float
    on_gpu: bool


def measure(
    params: Train,
    tags: int,
    images: int,
    *,
    on_each_device: bool = False,
    steps: int = 1,
    limit: int | None = None,
) -> Measurement | None:
    """Returns what training steps on random images take; None where memory runs out.

    tags: the network's outputs; images: per step, over all devices together or on each
    of them; steps: those that are timed, after a first one. limit: bytes of main memory
    that the process may hold; above it, it is ended. Raises BadParameter where the
    parameters do not work on this machine.
    """
    task = {
        "params": params.model_dump(mode="json"),
        "tags": tags,
        "images": images,
        "on_each_device": on_each_device,
        "steps": steps,
    }
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(code.ROOT), environment.get("PYTHONPATH", "")]
    )
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            [sys.executable, "-m", "pipeline.train.probe", json.dumps(task)],
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment,
        ) as process,
    ):
        status = _wait(process, limit)
        said.seek(0)
        last_line = _last_line(said.read())
        answer = _read_all(process.stdout)
    if status == 0:
        return Measurement(**json.loads(answer))
    if status == _OUT_OF_MEMORY or status in _KILLED:
        return None
    if status == _BAD_PARAMETER:
        raise BadParameter(last_line)
    raise E6tagError(f"a training step of {images} random images failed: {last_line}")


def _read_all(stream: IO[bytes] | None) -> bytes:
    return stream.read() if stream else b""


def _wait(process: "subprocess.Popen[bytes]", limit: int | None) -> int:
    """Returns the exit status; ends a process that holds more than `limit` bytes."""
    while True:
        try:
            return process.wait(_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if limit is not None and _resident_bytes(process.pid) > limit:
                process.kill()


def _resident_bytes(pid: int) -> int:
    """Returns the main memory of a process; 0 where it has just ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed no reason"


def _main(task: dict[str, Any]) -> None:
    """Runs the task and prints the measurement; exits with the status of the reason."""
    params = Train.model_validate(task["params"])
    try:
        found = _run(params, task)
    except E6tagError as error:
        print(error, file=sys.stderr)
        sys.exit(_BAD_PARAMETER)
    except Exception as error:
        if not os_errors.is_out_of_memory(error):
            raise
        sys.exit(_OUT_OF_MEMORY)
    print(json.dumps(asdict(found)))


def _run(params: Train, task: dict[str, Any]) -> Measurement:
    backend.start(params.backend, params.device)
    import keras

    from pipeline.train import devices, loop

    tags, steps = task["tags"], task["steps"]
    count = devices.count()
    batch_size = task["images"]
    if task["on_each_device"]:
        batch_size *= count
    base = _peak_bytes()
    keras.utils.set_random_seed(params.seed)
    positives = np.full(tags, batch_size // 2 + 1, np.int64)
    records = params.accumulation * batch_size + 2
    split = Split("train", (), (), records, positives)
    with devices.distribution(params):
        network = loop.compiled(params, split, batch_size=batch_size).training
    batch = _random_batch(params.size, tags, batch_size)
    _fit(network, batch, 1)
    started = time.monotonic()
    _fit(network, batch, steps)
    seconds = time.monotonic() - started
    return Measurement(
        batch_size=batch_size,
        devices=count,
        base_bytes=base,
        peak_bytes=_peak_bytes(),
        step_seconds=seconds / steps,
        on_gpu=devices.on_gpu(),
    )


def _random_batch(
    size: int, tags: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (batch_size, size, size, 3), np.uint8)
    labels = random.integers(0, 2, (batch_size, tags), np.uint8)
    return images, labels


def _fit(
    network: "keras.Model", batch: tuple[np.ndarray, np.ndarray], steps: int
) -> None:
    import tensorflow as tf

    stream = tf.data.Dataset.from_tensors(batch).repeat(steps)
    network.fit(stream, epochs=1, steps_per_epoch=steps, verbose=0, shuffle=False)


def _peak_bytes() -> int:
    """Returns the most memory held so far: of the GPU where one computes."""
    from pipeline.train import devices

    if devices.on_gpu():
        return devices.peak_gpu_bytes()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, kilobytes elsewhere.
    return peak if sys.platform == "darwin" else peak * 1024


def free_memory() -> int:
    """Returns the bytes of main memory that a further process may take.

    The least of what the machine has free and what the control group of this process
    may still take, as in a container.
    """
    free = [int(psutil.virtual_memory().available)]
    for limit, used in _control_groups():
        if limit.exists() and used.exists():
            text = limit.read_text().strip()
            if text.isdecimal():
                free.append(int(text) - int(used.read_text()))
    return min(free)


def _control_groups() -> list[tuple[Path, Path]]:
    """Returns the files with the limit and the use of memory, of versions 2 and 1."""
    root = Path("/sys/fs/cgroup")
    found = [
        (root / "memory.max", root / "memory.current"),
        (
            root / "memory" / "memory.limit_in_bytes",
            root / "memory" / "memory.usage_in_bytes",
        ),
    ]
    try:
        text = Path("/proc/self/cgroup").read_text()
    except FileNotFoundError:
        return found
    for line in text.splitlines():
        _, controller, group = line.split(":", 2)
        if controller == "":
            folder = root / group.lstrip("/")
            found.append((folder / "memory.max", folder / "memory.current"))
    return found


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
