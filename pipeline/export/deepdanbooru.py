"""deepdanbooru/: the network as a project that DeepDanbooru's own program evaluates.

That program reads a Keras file, feeds it RGB from 0 to 1 at the file's input size, and
applies a tag from a probability on. Nothing in the file may need code of this project.
Import only after `backend.start("tensorflow")`.
"""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from e6tag import bundle
from pipeline.export import folding
from pipeline.export.rows import Layout
from pipeline.model import noise
from pipeline.model.saved import strip_timestamps

THRESHOLD = 0.5
"""What DeepDanbooru uses for all tags unless told otherwise: others are folded in."""


def project() -> dict[str, Any]:
    """Returns the content of project.json, as far as evaluation reads it."""
    return {
        "image_height": bundle.SIZE,
        "image_width": bundle.SIZE,
        "minimum_tag_count": 0,
        "model": bundle.PROJECT_MODEL,
    }


def tags(layout: Layout) -> str:
    """Returns the content of tags.txt: the tags, in the order of the network's outputs.

    DeepDanbooru has no order of its own.
    """
    by_label = sorted(zip(layout.labels.tolist(), layout.tags, strict=True))
    return "".join(f"{tag.name}\n" for _, tag in by_label)


def to_keras(
    network: keras.Model, resize: np.ndarray, layout: Layout, *, fold: bool
) -> bytes:
    """Returns the Keras file: [n, 448, 448, 3], RGB, 0 to 1, to [n, tags] by label id.

    resize: resizing.matrix. fold: whether each tag's own threshold becomes THRESHOLD.
    """
    # Else Keras counts the operations of the process into their names.
    keras.backend.clear_session()
    whole = _wrapped(network, resize, layout, fold=fold)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        whole.save(path)
        return strip_timestamps(path.read_bytes())


def _wrapped(
    network: keras.Model, resize: np.ndarray, layout: Layout, *, fold: bool
) -> keras.Model:
    size, full = resize.shape
    images = keras.Input((full, full, 3), name=bundle.INPUT)
    x = layers.Rescaling(255, name="to_255")(images)
    to_lines = layers.EinsumDense("nhwc,hy->nywc", (size, full, 3), name="to_lines")
    to_columns = layers.EinsumDense("nywc,wx->nyxc", (size, size, 3), name="to_columns")
    x = to_columns(to_lines(x))
    x = layers.ReLU(max_value=255, name="clip")(x)
    logits = _without_own_layers(network)(x)
    if fold:
        # The layer of Keras that adds a constant to each column: it takes the mean off.
        shifts = folding.shifts(layout.thresholds, THRESHOLD)
        shift = layers.Normalization(
            mean=(-shifts).tolist(), variance=[1.0] * len(shifts), name="shift"
        )
        logits = shift(logits)
    outputs = layers.Activation("sigmoid", dtype="float32", name="scores")(logits)
    whole = keras.Model(images, outputs, name="e6tag")
    to_lines.set_weights([resize.T])
    to_columns.set_weights([resize.T])
    return whole


def _without_own_layers(network: keras.Model) -> keras.Model:
    """Returns the network from images to logits, of Keras's own layers alone.

    Those of label noise are taken apart into the operations that they call.
    """

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        if isinstance(layer, noise.ExpectedLogits):
            return _expected_logits(*inputs[0])
        if isinstance(layer, noise.LabelNoise | noise.Deviation):
            return layer.call(*inputs)
        return layer(*inputs, **options)

    copied = keras.models.clone_model(
        network, clone_function=lambda layer: layer, call_function=call
    )
    return keras.Model(copied.inputs, copied.outputs[0], name="network")


def _expected_logits(means: Any, deviations: Any) -> Any:
    """Returns what noise.ExpectedLogits does, of tensors that have no values yet.

    There a NumPy array stands before an operator, and would ask for the values.
    """
    nodes, weights = np.polynomial.hermite.hermgauss(noise.NODES)
    wide = (np.sqrt(2) * nodes).astype(np.float32)
    log_weights = np.log(weights / weights.sum()).astype(np.float32)
    logits = ops.expand_dims(means, -1) + ops.expand_dims(deviations, -1) * wide
    log_rest = ops.negative(ops.softplus(logits)) + log_weights
    positive = ops.logsumexp(log_rest + logits, axis=-1)
    return positive - ops.logsumexp(log_rest, axis=-1)
