"""A network of keras.applications without its classifier, by its name.

Each gets its input as it was trained with: that scaling is part of the graph, and
Keras's own is left out. Import only after `backend.start`.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import layers

from pipeline import os_errors
from pipeline.errors import BadInput, SiteUnreachable

# As in `compact`: Keras's 0.99 lags behind in runs of some 500 steps, and the 0.999 of
# MobileNetV3 in runs of some 5,000.
NORM_MOMENTUM = 0.9

IMAGENET = "imagenet"

# Of colours from 0 to 1 over ImageNet.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)

# What the first letters of a name say of its input. All others take -1 to 1.
_STANDARDISED = ("ConvNeXt", "DenseNet", "EfficientNetV2B")
_DIVIDED_BY_128 = ("EfficientNetV2S", "EfficientNetV2M")

# Keras puts a scaling of its own into these unless told not to.
_WITH_PREPROCESSING = ("ConvNeXt", "EfficientNetV2", "MobileNetV3")

# In the plain Exception that Keras raises where it cannot download.
_NO_DOWNLOAD = "URL fetch failure"


def feature_map(
    images: "keras.KerasTensor",
    *,
    model: str = "EfficientNetV2B0",
    weights: str | None = None,
) -> "keras.KerasTensor":
    """Returns [n, height, width, channels] of images scaled to -1 to 1.

    A position stands for 32 x 32 pixels. model: a name in `keras.applications`;
    weights: `imagenet`, a file with the weights of this model without its classifier,
    or None. Raises SiteUnreachable where Keras cannot download, BadInput where the file
    is missing or of another model.
    """
    scaled = _scaled(images, model)
    arguments: dict[str, Any] = {"include_top": False, "input_tensor": scaled}
    if model.startswith(_WITH_PREPROCESSING):
        arguments["include_preprocessing"] = False
    build = getattr(keras.applications, model)
    shape = images.shape[1:]
    if weights == IMAGENET:
        application = _with_imagenet(build, model, arguments)
    else:
        application = build(weights=None, **arguments)
        if weights is not None:
            stored = build(include_top=False, weights=None, input_shape=shape)
            _load(stored, model, Path(weights))
            application.set_weights(stored.get_weights())
    for layer in application.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = NORM_MOMENTUM
    return application.output


def _scaled(images: "keras.KerasTensor", model: str) -> "keras.KerasTensor":
    """Returns images of -1 to 1 as the model was trained with."""
    if model.startswith(_STANDARDISED):
        mean = [2 * value - 1 for value in _MEAN]
        variance = [(2 * value) ** 2 for value in _DEVIATION]
        standardise = layers.Normalization(
            mean=mean, variance=variance, name="standardised"
        )
        return standardise(images)
    if model.startswith(_DIVIDED_BY_128):
        half = 127.5 / 128
        rescale = layers.Rescaling(half, offset=half - 1, name="divided_by_128")
        return rescale(images)
    return images


def _with_imagenet(
    build: Callable[..., keras.Model], model: str, arguments: dict[str, Any]
) -> keras.Model:
    """Returns the model with Keras's weights, downloaded once per machine."""
    try:
        with warnings.catch_warnings():
            # MobileNetV3 warns that they were trained at 224 pixels: they fit any size.
            warnings.filterwarnings("ignore", message="`input_shape` is undefined")
            return build(weights=IMAGENET, **arguments)
    except Exception as error:
        if _NO_DOWNLOAD not in str(error):
            raise
        why = " ".join(str(error).split())
        raise SiteUnreachable(
            f"the ImageNet weights of {model} cannot be downloaded here ({why}). Run "
            "again where the network is, or download the file elsewhere and name it "
            "in train.backbone.weights."
        ) from error


def _load(stored: keras.Model, model: str, path: Path) -> None:
    """Reads a file into a network as Keras builds it.

    Behind our scaling, layers stand elsewhere, and Keras stores some by their place.
    """
    if not path.is_file():
        raise BadInput(
            f"train.backbone.weights names {path}, which is no file. Give the path of "
            "a .weights.h5 file, imagenet, or null."
        )
    try:
        with warnings.catch_warnings():
            # Keras warns where it finds no weights for some layers, and goes on.
            warnings.filterwarnings("error", category=UserWarning)
            stored.load_weights(path)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        os_errors.raise_for_machine(error, path)
        why = " ".join(str(error).split())[:200]
        raise BadInput(
            f"train.backbone.weights: {path} does not hold the weights of {model} "
            f"without its classifier: {why}"
        ) from error
