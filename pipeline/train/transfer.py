"""Takes weights from a released model, and keeps some of them as they are.

Import only after `backend.start`.
"""

import re
from itertools import zip_longest

import keras
import numpy as np

from pipeline.errors import BadInput
from pipeline.model import build, embeddings
from pipeline.train.initial import Initial, SharedTags
from pipeline.train_params import Train

# Keras appends a number to the name of a layer that was not given one.
_COUNTER = re.compile(r"_\d+$")


def initialise(network: keras.Model, initial: Initial, params: Train) -> None:
    """Gives a network the weights of a released model.

    All of the backbone; of the head, the weights of equal path and shape, and in those
    that count tags the rows of the tags of the same name. The others stay as they are.

    Raises BadInput, naming the first layer that differs, where the backbone is another.
    """
    released = initial.model.network()
    _copy_backbone(network, released, initial)
    axes = build.tag_axes(params)
    sources = {weight.path: weight for weight in _head_weights(released)}
    for weight in _head_weights(network):
        if weight.path in sources:
            here, there = np.asarray(weight), np.asarray(sources[weight.path])
            axis = axes.get(weight.path)
            weight.assign(carried_over(here, there, axis, initial.tags))


def carried_over(
    here: np.ndarray, there: np.ndarray, axis: int | None, tags: SharedTags
) -> np.ndarray:
    """Returns a weight `here` of the head with what can be taken of the one `there`.

    axis: the one that counts the tags, or None. A weight of several tags, as the query
    of a group, is taken only where the vocabularies are the same.
    """
    if here.shape == there.shape and tags.here == tags.there:
        return there
    if axis is not None:
        return _rows_carried_over(here, there, axis, tags)
    # A head may count the tags in an axis that it does not name.
    counts_tags = len(tags.here) in here.shape
    return here if counts_tags or here.shape != there.shape else there


def _rows_carried_over(
    here: np.ndarray, there: np.ndarray, axis: int, tags: SharedTags
) -> np.ndarray:
    if here.ndim != there.ndim:
        return here
    new_rows, old_rows = np.moveaxis(here, axis, 0).copy(), np.moveaxis(there, axis, 0)
    is_one_row_a_tag = (len(old_rows), len(new_rows)) == (
        len(tags.there),
        len(tags.here),
    )
    if not is_one_row_a_tag or old_rows.shape[1:] != new_rows.shape[1:]:
        return here
    for old, new in tags.rows:
        new_rows[new] = old_rows[old]
    return np.moveaxis(new_rows, 0, axis)


def freeze_backbone(network: keras.Model) -> None:
    """Keeps the weights of the backbone and the statistics of its norms."""
    for layer in embeddings.backbone(network).layers:
        layer.trainable = False


def _copy_backbone(
    network: keras.Model, released: keras.Model, initial: Initial
) -> None:
    """Copies the weights layer by layer; raises BadInput for the first that differs."""
    pairs = zip_longest(_backbone_layers(network), _backbone_layers(released))
    for here, there in pairs:
        if here is None or there is None or _form(here) != _form(there):
            raise BadInput(
                f"{initial.model.file} has another architecture than train.backbone: "
                f"the first layer that differs is {_described(there)} there and "
                f"{_described(here)} here. Set train.backbone as in the training.json "
                "beside it, or name another model in train.init."
            )
        for weight, source in zip(here.weights, there.weights, strict=True):
            weight.assign(np.asarray(source))


def _backbone_layers(network: keras.Model) -> list[keras.Layer]:
    """Returns the layers up to the feature map; none where no layer is named so."""
    names = {layer.name for layer in network.layers}
    if build.FEATURES not in names:
        return []
    found = embeddings.backbone(network).layers
    return [layer for layer in found if not isinstance(layer, keras.layers.InputLayer)]


def _head_weights(network: keras.Model) -> list[keras.Variable]:
    below = {id(layer) for layer in embeddings.backbone(network).layers}
    found = []
    for layer in network.layers:
        if id(layer) not in below:
            found += layer.weights
    return found


def _form(layer: keras.Layer) -> tuple[str, str, list[tuple[str, tuple[int, ...]]]]:
    """Returns what two layers must have in common: class, name and weights."""
    weights = [(weight.name, tuple(weight.shape)) for weight in layer.weights]
    return type(layer).__name__, _COUNTER.sub("", layer.name), weights


def _described(layer: keras.Layer | None) -> str:
    """Returns a layer as a person reads it: name, class, shape of its first weight."""
    if layer is None:
        return "none"
    text = f"{layer.name} ({type(layer).__name__}"
    if layer.weights:
        shape = " x ".join(str(side) for side in layer.weights[0].shape)
        text += f", {layer.weights[0].name} {shape}"
    return f"{text})"
