"""What the files of a bundle are made from: the network and what is around it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.export.rows import Layout

if TYPE_CHECKING:
    import keras

    from pipeline.export.graphs import Head
    from pipeline.export.ratings import RatingModel


@dataclass(frozen=True, slots=True)
class Built:
    """The network and what is built around it.

    network: its logits are calibrated, as evaluate calibrates them. network_onnx: of
    the network alone, as `network.to_onnx` returns it. head_name: of `train.head`.
    resize: resizing.matrix. ratings: None where the training images have one rating
    alone.
    """

    network: "keras.Model"
    network_onnx: Any
    head_name: str
    resize: np.ndarray
    layout: Layout
    head: "Head"
    ratings: "RatingModel | None"
