"""Starts Keras on the backend that a parameter names.

The first and only place where Keras and TensorFlow are loaded.

The import costs 5 to 17 s and 700 MB, so modules that import Keras at their top are
themselves imported after `start`.
"""

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import MissingPackage

# Printed by TensorFlow before it reads its own log level: which CPU instructions it
# uses, that no GPU was found.
_CHATTER = re.compile(
    rb"^(WARNING: All log messages before absl|I0000 |.*\bTF-TRT Warning|$)"
)
_NO_GPU = re.compile(
    rb".*failed call to cuInit"
)  # an error where a GPU is, and chatter where there is none
_NVIDIA = Path("/dev/nvidiactl")


def start(name: str) -> None:
    """Loads Keras on backend `name`.

    Raises MissingPackage with the command where it is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise MissingPackage(
            f"train.backend is {name}, which is not installed here. "
            f"Run .venv/bin/pip install {name}, or set train.backend: tensorflow."
        )
    os.environ["KERAS_BACKEND"] = name
    os.environ.setdefault(
        "TF_CPP_MIN_LOG_LEVEL", "2"
    )  # errors and fatal; 3 would hide errors of CUDA too
    with _without_chatter():
        import keras
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
    if keras.backend.backend() != name:
        raise RuntimeError(
            f"Keras already runs on {keras.backend.backend()} in this process, {name} "
            "was asked for."
        )
    if name != "tensorflow":
        tf.config.set_visible_devices(
            [], "GPU"
        )  # TensorFlow only reads shards there, and must not take the memory
        return
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(
            gpu, enable=True
        )  # other processes may share the GPU


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Holds back what the block writes to stderr, also from C++.

    And then lets through all but known chatter.
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
