"""Which devices train, and in which precision.

Import only after `backend.start`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import keras
import tensorflow as tf

from pipeline.errors import BadParameter
from pipeline.train.hosts import Host
from pipeline.train_params import Train


def distribution(params: Train) -> AbstractContextManager[object]:
    """Copies the network to every GPU and splits each batch over them.

    To be entered while the network and its optimizer are built. On JAX it lasts until
    `undistributed`, and the GPUs are those of all hosts. Without a GPU, to every
    logical CPU: there is one, unless the backend was told to make several. Raises
    BadParameter where they cannot do what train.accumulation asks for.
    """
    names = _names()
    if len(names) == 1:
        return nullcontext()
    if keras.backend.backend() == "jax":
        # Each host takes its share of a batch itself: see `share`.
        strategy = keras.distribution.DataParallel(auto_shard_dataset=False)
        keras.distribution.set_distribution(strategy)
        return nullcontext()
    if params.accumulation > 1:
        raise BadParameter(
            "train.accumulation needs train.backend: jax on several devices "
            f"({len(names)} here): Keras cannot accumulate over TensorFlow's. Set it "
            "to 1, or CUDA_VISIBLE_DEVICES to one."
        )
    return tf.distribute.MirroredStrategy(names).scope()


@contextmanager
def undistributed() -> Iterator[None]:
    """Lets JAX compute on the first device of this host alone during the block."""
    if keras.backend.backend() != "jax":
        yield
        return
    strategy = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(strategy)


def is_distributed_on_jax() -> bool:
    """Returns whether `distribution` copied the network to several devices of JAX."""
    on_jax = keras.backend.backend() == "jax"
    return on_jax and keras.distribution.distribution() is not None


def count() -> int:
    """Returns how many devices share a batch, over all hosts."""
    return len(_names())


def on_gpu() -> bool:
    """Returns whether GPUs compute."""
    if keras.backend.backend() == "jax":
        import jax

        return bool(jax.default_backend() == "gpu")
    return bool(tf.config.get_visible_devices("GPU"))


def peak_gpu_bytes() -> int:
    """Returns the most memory that the first GPU held at once."""
    if keras.backend.backend() == "jax":
        import jax

        return int(jax.local_devices()[0].memory_stats()["peak_bytes_in_use"])
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def shared_batch(batch_size: int, records: int) -> int:
    """Returns the images per step: `batch_size`, or less where there are less records.

    Raises BadParameter where the devices cannot share a batch equally.
    """
    devices = count()
    if batch_size % devices:
        raise BadParameter(
            f"train.batch_size is {batch_size}, which {devices} devices cannot share "
            f"equally. Set it to a multiple of {devices}."
        )
    most = records - records % devices
    if most == 0:
        raise BadParameter(
            f"{records} training images are fewer than the {devices} devices. Raise "
            "sample.size, or hide devices with CUDA_VISIBLE_DEVICES."
        )
    return min(batch_size, most)


def share(stream: "tf.data.Dataset", host: Host, batch_size: int) -> "tf.data.Dataset":
    """Returns the batches of a stream with this host's images only.

    All hosts read and augment the whole batch, so an image is the same whatever their
    number.
    """
    if host.count == 1:
        return stream
    size = batch_size // host.count
    first = host.number * size

    def own(*parts: "tf.Tensor") -> tuple["tf.Tensor", ...]:
        return tuple(part[first : first + size] for part in parts)

    return stream.map(own).prefetch(2)


def _names() -> list[str]:
    """Returns the devices that share a batch: GPUs where there are any, else CPUs."""
    if keras.backend.backend() == "jax":
        return list(keras.distribution.list_devices())
    kind = "GPU" if tf.config.get_visible_devices("GPU") else "CPU"
    return [device.name for device in tf.config.list_logical_devices(kind)]


def dtype_policy(params: Train) -> str:
    """Returns Keras's name of the precision.

    Unless it is given, half precision only on GPUs, where it doubles the speed;
    bfloat16 where all of them compute in it, which needs no loss scaling.
    """
    if params.precision != "auto":
        return params.precision
    if keras.backend.backend() == "jax":
        import jax

        return "mixed_bfloat16" if jax.default_backend() != "cpu" else "float32"
    gpus = tf.config.get_visible_devices("GPU")
    if not gpus:
        return "float32"
    oldest = min(_compute_capability(gpu) for gpu in gpus)
    return "mixed_bfloat16" if oldest >= (8, 0) else "mixed_float16"


def jit_compile(params: Train) -> bool | str:
    """Returns Keras's `jit_compile`.

    XLA gains 6 % on a CPU and costs 5 s of compilation and 700 MB (measured at 96
    pixels, 2 cores).
    """
    if params.xla != "auto":
        return params.xla
    return "auto" if keras.backend.backend() == "jax" or on_gpu() else False


def _compute_capability(gpu: object) -> tuple[int, int]:
    details = tf.config.experimental.get_device_details(gpu)
    capability: tuple[int, int] = details.get("compute_capability", (0, 0))
    return capability
