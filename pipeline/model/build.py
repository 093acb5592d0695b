"""Builds the network and its loss from the choices of the parameters.

Images in, one logit per tag out, in backend-neutral Keras. The builder of a backbone,
head or loss is the module of its name in the folder of its kind, and only the builders
that are chosen are imported: a model depends on no other. A builder takes the
parameters of its choice by their names. Import only after `backend.start`.
"""

import importlib
from dataclasses import dataclass
from types import ModuleType

import keras
import numpy as np
from keras import layers

from pipeline.model import noise
from pipeline.model.losses import choices, frequency_weighting, robust
from pipeline.model.losses.elementwise import ElementwiseLoss
from pipeline.model.noise_choices import LowRank, NoNoise
from pipeline.param_models import Choice
from pipeline.train_params import Train

FEATURES = "features"
"""Name of the layer that ends the backbone: its output is the feature map."""


@dataclass(frozen=True, slots=True)
class Trainable:
    """A network as it is trained and as it is used: two models of the same layers.

    training: images to what `loss` takes for logits; it alone has the layers that only
    the loss needs. inference: what `build` returns. loss: a sum over tags, mean over
    images.
    """

    training: keras.Model
    inference: keras.Model
    loss: keras.losses.Loss


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What the images of a network lead to.

    logits: of each tag's expected probability. normal, uncertainty: the distribution of
    the logits and its deviations; None without label noise.
    """

    images: "keras.KerasTensor"
    logits: "keras.KerasTensor"
    normal: noise.NormalLogits | None = None
    uncertainty: "keras.KerasTensor | None" = None


def build(params: Train, bias: np.ndarray) -> keras.Model:
    """Returns the network from RGB float32 [n, size, size, 3] to logits [n, tags].

    Images hold 0 to 255. The sigmoid of a logit is the expected probability. With label
    noise there is a second output, the uncertainty: each tag's standard deviation of
    the logit, float32 [n, tags]. `bias`, float32 [tags], is the network's output before
    it has learnt (with label noise, a little nearer to 0).
    """
    return _inference(_outputs(params, bias))


def trainable(
    params: Train, bias: np.ndarray, *, positives: np.ndarray, epoch_steps: int
) -> Trainable:
    """Returns the network of `build` with what it is trained by.

    positives: training records that have each tag, int [tags]; epoch_steps: batches of
    an epoch.
    """
    outputs = _outputs(params, bias)
    normal, chosen = outputs.normal, params.noise
    if normal is not None and isinstance(chosen, LowRank) and chosen.joint:
        logits = noise.samples(normal, chosen.samples, params.seed)
        loss = noise.joint_loss()
    else:
        logits, loss = _elementwise(params, outputs.logits, positives, epoch_steps)
    training = keras.Model(outputs.images, logits, name="e6tag_training")
    return Trainable(training, _inference(outputs), loss)


def _inference(outputs: _Outputs) -> keras.Model:
    found = outputs.logits
    if outputs.uncertainty is not None:
        found = [outputs.logits, outputs.uncertainty]
    return keras.Model(outputs.images, found, name="e6tag")


def _outputs(params: Train, bias: np.ndarray) -> _Outputs:
    backbone = _builder("backbones", params.backbone)
    head = _builder("heads", params.head)
    images = keras.Input((params.size, params.size, 3), name="picture")
    scaled = layers.Rescaling(1 / 127.5, offset=-1, name="normalise")(images)
    features = backbone.feature_map(scaled, **params.backbone.arguments())
    features = layers.Identity(name=FEATURES)(features)
    logits = head.logits(features, bias=bias, **params.head.arguments())
    if isinstance(params.noise, NoNoise):
        return _Outputs(images, logits)
    normal = _normal(params, features, logits)
    uncertainty = noise.deviations(normal)
    expected = noise.expected_logits(normal.means, uncertainty)
    return _Outputs(images, expected, normal, uncertainty)


def _normal(
    params: Train, features: "keras.KerasTensor", means: "keras.KerasTensor"
) -> noise.NormalLogits:
    """Returns the distribution of the logits.

    Whatever the head, it depends on the average of the feature map. The last vector of
    `attention_residual` has as many channels as there are tags, twice or four times:
    the factors would have tags^2 x rank weights.
    """
    pooled = layers.GlobalAveragePooling2D(name="label_noise_pool")(features)
    chosen = params.noise
    if isinstance(chosen, LowRank):
        return noise.low_rank(pooled, means, chosen.rank, chosen.temperature)
    return noise.diagonal(pooled, means, **chosen.arguments())


def _elementwise(
    params: Train,
    logits: "keras.KerasTensor",
    positives: np.ndarray,
    epoch_steps: int,
) -> tuple["keras.KerasTensor", ElementwiseLoss]:
    """Returns the outputs for training and the loss that is chosen.

    Each value of the loss is made robust, then multiplied with its tag's weight.
    """
    logits, loss = _base(params, logits, epoch_steps)
    match params.robust:
        case choices.FixedRobust(alpha=alpha, scale=scale):
            loss = robust.loss(loss, alpha, scale)
        case choices.TrainedRobust(alpha=alpha, scale=scale):
            parameters = robust.RobustParameters(alpha, scale)
            logits = parameters(logits)
            loss = robust.trained_loss(loss, parameters)
    if params.tag_weights is not None:
        loss = frequency_weighting.loss(loss, positives.tolist(), params.tag_weights)
    return logits, loss


def _base(
    params: Train, logits: "keras.KerasTensor", epoch_steps: int
) -> tuple["keras.KerasTensor", ElementwiseLoss]:
    """Returns the outputs for training and the loss by itself."""
    chosen = params.loss
    builder = _builder("losses", chosen)
    arguments = chosen.arguments()
    if isinstance(chosen, choices.SelfPacedLossCorrection):
        counter = builder.StepCounter()
        logits = counter(logits)
        arguments["counter"] = counter
        arguments["warmup_steps"] = round(chosen.warmup_epochs * epoch_steps)
    return logits, builder.loss(**arguments)


def tag_axes(params: Train) -> dict[str, int]:
    """Returns which axis of a weight counts the tags, by its path.

    Of the head and of the label noise, where there is any.
    """
    axes: dict[str, int] = _builder("heads", params.head).TAG_AXES
    return {**axes, **noise.TAG_AXES}


def _builder(folder: str, choice: Choice) -> ModuleType:
    return importlib.import_module(f"pipeline.model.{folder}.{choice.name}")
