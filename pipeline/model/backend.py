"""Starts Keras on the backend that a parameter names.

Loads Keras and TensorFlow before any other module imports them. The import costs 5 to
17 s and 700 MB, so modules that import Keras at their top are themselves imported after
`start`.
"""

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import BadParameter, MissingPackage
from pipeline.train_params import Device

# Printed by TensorFlow before it reads its own log level: which CPU instructions it
# uses, that no GPU was found.
_CHATTER = re.compile(
    rb"^(WARNING: All log messages before absl|I0000 |.*\bTF-TRT Warning|$)"
)
# An error where a GPU is, and chatter where there is none.
_NO_GPU = re.compile(rb".*failed call to cuInit")
_NVIDIA = Path("/dev/nvidiactl")


# How a backend gets the libraries of GPUs.
_GPU_PACKAGES = {
    "tensorflow": "pip install -e .[pipeline,gpu]",
    "jax": "pip install jax[cuda12]",
}


def start(name: str, device: Device = "auto", *, deterministic: bool = False) -> None:
    """Loads Keras on backend `name`.

    device: `cpu` hides the GPUs from it. deterministic: the process computes sums of
    floats in a fixed order, for good. Raises MissingPackage with the command where the
    backend is not installed, and BadParameter where `gpu` is asked for and the backend
    sees none.
    """
    if importlib.util.find_spec(name) is None:
        raise MissingPackage(
            f"train.backend is {name}, which is not installed here. "
            f"Run .venv/bin/pip install {name}, or set train.backend: tensorflow."
        )
    os.environ["KERAS_BACKEND"] = name
    if deterministic:
        # Read by JAX when it first looks for devices. On CPUs it needs no flag.
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".lstrip()
    # Errors and fatal ones; 3 would hide errors of CUDA too.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _without_chatter():
        import keras
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
    if keras.backend.backend() != name:
        raise RuntimeError(
            f"Keras already runs on {keras.backend.backend()} in this process, {name} "
            "was requested."
        )
    if deterministic:
        # 0.307 s of CPU time a step with it, 0.309 s without (compact, 96 pixels,
        # batches of 64).
        tf.config.experimental.enable_op_determinism()
    if name == "jax":
        _choose_jax_platform(device)
    if name != "tensorflow" or device == "cpu":
        # On another backend TensorFlow only reads shards, and must not take the memory.
        tf.config.set_visible_devices([], "GPU")
        return
    if device == "gpu" and not gpus:
        raise _no_gpu(name)
    for gpu in gpus:
        # Other processes may share the GPU.
        tf.config.experimental.set_memory_growth(gpu, enable=True)


def _choose_jax_platform(device: Device) -> None:
    """Hides the GPUs from JAX, or raises BadParameter where it sees none."""
    import jax

    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if device != "gpu":
        return
    try:
        jax.devices("gpu")
    except RuntimeError as error:
        raise _no_gpu("jax") from error


def _no_gpu(name: str) -> BadParameter:
    return BadParameter(
        f"train.device is gpu, and {name} sees no GPU here. Check that nvidia-smi "
        f"lists one, that CUDA_VISIBLE_DEVICES does not hide it and that {name} can "
        f"use it ({_GPU_PACKAGES[name]}), or set train.device: auto."
    )


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Holds back what the block writes to stderr, also from C++.

    Writes all but known chatter afterwards.
    """
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            kept.seek(0)
            for line in kept:
                if not (
                    _CHATTER.match(line.rstrip())
                    or (_NO_GPU.match(line) and not _NVIDIA.exists())
                ):
                    os.write(2, line)
