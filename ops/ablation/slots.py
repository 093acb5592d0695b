"""The GPUs and cores of each run that may go on at the same time."""

import os
import queue
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import BadParameter


class Slots:
    """What runs at the same time share: each takes a slot, and gives it back.

    count: how many there are.
    """

    def __init__(self, jobs: int | None) -> None:
        """Shares out GPUs and cores. jobs: as of `device_slots`, which may raise."""
        devices = device_slots(jobs)
        self.count = len(devices)
        self._free: queue.SimpleQueue[tuple[str | None, set[int]]] = queue.SimpleQueue()
        for slot in zip(devices, core_shares(self.count), strict=True):
            self._free.put(slot)

    @contextmanager
    def one(self) -> Iterator[str | None]:
        """Yields the GPUs of a free slot, with the calling thread on its cores."""
        slot = self._free.get()
        devices, cores = slot
        _pin_thread(cores)
        try:
            yield devices
        finally:
            self._free.put(slot)


def _pin_thread(cores: set[int]) -> None:
    """Keeps the calling thread, and processes that it starts, on some cores.

    TensorFlow starts as many threads as its process has cores. Without effect where the
    system pins no process.
    """
    if sys.platform == "linux":
        os.sched_setaffinity(0, cores)


def device_slots(jobs: int | None) -> list[str | None]:
    """Returns the GPUs of each run that may go on at the same time; None without any.

    Several GPUs are shared out between the runs. Raises BadParameter where there are
    fewer GPUs than jobs: two runs do not fit the memory of one.
    """
    gpus = visible_gpus()
    if jobs is not None and gpus and jobs > len(gpus):
        raise BadParameter(
            f"--jobs {jobs} with {len(gpus)} GPUs: a run needs one of its own. Give at "
            f"most --jobs {len(gpus)}."
        )
    count = jobs or max(1, len(gpus))
    if not gpus:
        return [None] * count
    return [",".join(gpus[slot::count]) for slot in range(count)]


def core_shares(count: int) -> list[set[int]]:
    """Returns the cores of each run of some at the same time.

    Each has cores of its own where there are enough of them. Two trainings on all cores
    wait for each other.
    """
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
    else:
        cores = list(range(os.cpu_count() or 1))
    return [set(cores[slot::count] or cores) for slot in range(count)]


def visible_gpus() -> list[str]:
    """Returns the names of NVIDIA's GPUs that this process may use."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name and name != "-1"]
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    if shutil.which(command[0]) is None:
        return []
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return listed.stdout.split() if listed.returncode == 0 else []
