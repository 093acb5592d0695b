"""A tagger on the device that was asked for, or a line that says why not."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import onnxruntime

from e6tag.errors import E6tagError
from e6tag.tagger import CPU, Tagger

GPU_PROVIDERS = (
    "CUDAExecutionProvider",
    "ROCMExecutionProvider",
    "MIGraphXExecutionProvider",
    "DmlExecutionProvider",
    "CoreMLExecutionProvider",
)
"""ONNX Runtime's names of what runs on a GPU."""

_FATAL = 4  # the severity of ONNX Runtime's log from which on lines are printed


class GpuNotUsed(E6tagError):
    """The GPU was asked for, and ONNX Runtime does not use it."""


def open_tagger(folder: Path, *, gpu: bool, threads: int = 0) -> Tagger:
    """Opens the bundle in `folder`; raises BundleError or GpuNotUsed.

    threads: on the CPU, of one operation; 0: one per core.
    """
    if not gpu:
        return Tagger(folder, threads=threads)
    wanted = [name for name in GPU_PROVIDERS if name in _available()]
    if not wanted:
        raise GpuNotUsed(
            "the GPU was asked for, but this ONNX Runtime is built without one: it has "
            f"{', '.join(_available())}. Install onnxruntime-gpu in place of "
            "onnxruntime, or use --device cpu."
        )
    tagger = _open_quietly(folder, [*wanted, *CPU], threads)
    used = tagger.session.get_providers()
    if used[0] not in wanted:
        raise GpuNotUsed(
            f"the GPU was asked for, but ONNX Runtime could not start {wanted[0]} and "
            f"uses {used[0]}. Check the GPU's driver and the libraries that this "
            "onnxruntime needs, or use --device cpu."
        )
    return tagger


def _available() -> list[str]:
    return list(onnxruntime.get_available_providers())


def _open_quietly(folder: Path, providers: Sequence[str], threads: int) -> Tagger:
    """Opens a tagger without the many lines of ONNX Runtime about a GPU it cannot use.

    They go to its log and to standard output.
    """
    onnxruntime.set_default_logger_severity(_FATAL)
    with contextlib.redirect_stdout(io.StringIO()):
        if hasattr(onnxruntime, "preload_dlls"):
            # Finds CUDA where pip has installed it.
            onnxruntime.preload_dlls()
        return Tagger(folder, providers=providers, threads=threads)
