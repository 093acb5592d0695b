"""The parameters of `train`: the model and how it learns.

`pipeline.params` joins them with the other sections. The choices of the model stand
beside their builders in `pipeline/model/`; those of the optimizer and the schedule are
here, since `pipeline.train` itself reads parameters.
"""

from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pipeline.model.backbones.choices import Backbone, Compact, KerasApplications
from pipeline.model.heads.choices import Head, Pool
from pipeline.model.losses.choices import (
    Loss,
    NotRobust,
    Robust,
    SummedBinaryCrossEntropy,
)
from pipeline.model.noise_choices import LowRank, Noise, NoNoise
from pipeline.param_models import Choice, Section, Share

# folder of train.init; a dep of `train` in dvc.yaml, so that a change is seen
INITIAL_MODELS = "init"

Device = Literal["auto", "cpu", "gpu"]

BatchSize = Annotated[int, Field(ge=1)]

WeightDecay = Annotated[
    float,
    Field(
        ge=0,
        description="decay per update, as a factor of the learning rate; not applied "
        "to biases, norms and trained offsets",
    ),
]
Momentum = Annotated[float, Field(ge=0, lt=1)]
LearningRate = Annotated[
    float,
    Field(
        gt=0,
        description="peak; too high, and the loss stops falling or is not a number",
    ),
]


class AdamW(Choice):
    """Adam with decoupled weight decay (arXiv:1711.05101)."""

    name: Literal["adamw"] = "adamw"
    weight_decay: WeightDecay = 0.05


class SGD(Choice):
    """Stochastic gradient descent with momentum, for rates from about 0.1 on."""

    name: Literal["sgd"] = "sgd"
    momentum: Momentum = Field(
        default=0.9,
        description="share of the previous change that each update repeats; without "
        "effect where train.schedule.momentum cycles it",
    )
    nesterov: bool = Field(
        default=False,
        description="look ahead by the momentum before the gradient is applied",
    )
    weight_decay: WeightDecay = 0.0


class Muon(Choice):
    """Orthogonal updates of the kernels of hidden layers (arXiv:2502.16982)."""

    name: Literal["muon"] = "muon"
    momentum: Momentum = Field(
        default=0.95,
        description="share of the earlier gradients in each update of a kernel; other "
        "weights are updated by Adam",
    )
    weight_decay: WeightDecay = 0.05


Optimizer = Annotated[AdamW | SGD | Muon, Field(discriminator="name")]
"""Any of the choices; a further one is joined by `|`."""

Warmup = Annotated[
    Share,
    Field(
        description="share of the updates in which the learning rate rises; in the "
        "others it falls"
    ),
]
MomentumRange = Annotated[list[Momentum], Field(min_length=2, max_length=2)]


class OneCycle(Choice):
    """Rises linearly, then falls along half a cosine to zero (arXiv:1708.07120)."""

    peak: ClassVar[str] = "learning_rate"
    """Name of the parameter with the highest learning rate."""

    name: Literal["one_cycle"] = "one_cycle"
    learning_rate: LearningRate = 8e-3
    warmup: Warmup = 0.2
    momentum: MomentumRange | None = Field(
        default=None,
        description="[high, low]: the momentum of sgd, beta_1 of adamw, falls to low "
        "while the learning rate rises and comes back while it falls "
        "(arXiv:1803.09820); null: it stays as it is",
    )

    @model_validator(mode="after")
    def _high_before_low(self) -> Self:
        if self.momentum is not None and self.momentum[0] <= self.momentum[1]:
            raise ValueError("momentum is [high, low]: the first must be the larger")
        return self


class Triangle(Choice):
    """Rises and falls linearly, once or several times (arXiv:1506.01186)."""

    peak: ClassVar[str] = "high"
    """Name of the parameter with the highest learning rate."""

    name: Literal["triangle"] = "triangle"
    low: float = Field(
        default=3e-4, gt=0, description="learning rate at the start and at the end"
    )
    high: float = Field(
        default=8e-3,
        gt=0,
        description="learning rate in the middle of each cycle; too high, and the loss "
        "stops falling or is not a number",
    )
    cycles: int = Field(
        default=1, ge=1, description="rises and falls in the whole training"
    )

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.low > self.high:
            raise ValueError("low must be at most high")
        return self


class Cosine(Choice):
    """Rises linearly, then falls along half a cosine to a share (arXiv:1608.03983)."""

    peak: ClassVar[str] = "learning_rate"
    """Name of the parameter with the highest learning rate."""

    name: Literal["cosine"] = "cosine"
    learning_rate: LearningRate = 8e-3
    warmup: Warmup = 0.05
    final: Share = Field(
        default=0.01, description="share of the peak at the end of the training"
    )


Schedule = Annotated[OneCycle | Triangle | Cosine, Field(discriminator="name")]
"""Any of the choices; a further one is joined by `|`."""


class Train(Section):
    """The model and how it learns."""

    backend: Literal["tensorflow", "jax"] = Field(
        default="tensorflow",
        description="what Keras computes with; jax needs pip install -e .[jax]",
    )
    device: Device = Field(
        default="auto",
        description="what computes: cpu, gpu (training stops where the backend sees "
        "none), or auto, the GPUs where there are any",
    )
    size: int = Field(
        default=96,
        ge=32,
        le=1024,
        description="pixels of a side while training, at most shard.size; the time "
        "grows with its square, and small traits need it",
    )
    backbone: Backbone = Field(
        default=Compact(),
        description="the network from an image to a feature map",
    )
    head: Head = Field(
        default=Pool(),
        description="the network from the feature map to one logit per tag",
    )
    noise: Noise = Field(
        default=NoNoise(),
        description="the model of wrong and missing labels; with any, every prediction "
        "has an uncertainty",
    )
    loss: Loss = Field(
        default=SummedBinaryCrossEntropy(),
        description="the function of logits and labels that training minimises",
    )
    robust: Robust = Field(
        default=NotRobust(),
        description="how large values of the loss count, image by image and tag by tag",
    )
    tag_weights: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="beta of the class-balanced weights (arXiv:1901.05555): with 0.999 "
        "a tag with 100 positives has 6.6 times the weight of one with 1,000; null: "
        "all tags weigh the same",
    )
    init: str | None = Field(
        default=None,
        min_length=1,
        description="a folder below init/ with model.keras and training.json, whose "
        "weights are the start; its backbone must be the same, its tags and its head "
        "need not; null: random weights",
    )
    freeze: Literal["none", "backbone", "embeddings"] = Field(
        default="none",
        description="what stays as train.init has it; backbone: all below the head; "
        "embeddings: the same, and the head learns from features that are computed "
        "once, without augmentation: minutes instead of hours",
    )
    epochs: int = Field(
        default=16,
        ge=1,
        description="passes over the training images",
    )
    batch_size: BatchSize | Literal["auto"] = Field(
        default=64,
        description="images per step, over all devices together; larger is faster on a "
        "GPU and needs a higher learning rate; auto: the largest power of two per "
        "device that fits in memory, found by trying",
    )
    optimizer: Optimizer = Field(
        default=Muon(),
        description="how a gradient changes the weights",
    )
    schedule: Schedule = Field(
        default=Triangle(),
        description="the learning rate of each update",
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of the old average that each update keeps: weights averaged "
        "over about 1 / (1 - ema) updates are evaluated and published "
        "(arXiv:1412.6980, 7.2); null: the weights themselves",
    )
    clip_norm: float | None = Field(
        default=None,
        gt=0,
        description="scale down a gradient whose norm over all weights is larger "
        "(arXiv:1211.5063); null: never",
    )
    accumulation: int = Field(
        default=1,
        ge=1,
        description="batches whose mean gradient makes one update: a larger batch in "
        "the memory of one, except that batch norm sees one",
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = Field(
        default="auto",
        description="of the computation; weights, logits and losses stay float32; "
        "auto: half precision on GPUs",
    )
    xla: Literal["auto", True, False] = Field(
        default="auto",
        description="compile the network by XLA, slow to start and faster then; auto: "
        "on GPUs; jax always does",
    )
    checkpoint_steps: int = Field(
        default=1_000,
        ge=1,
        description="steps between two checkpoints within an epoch, beside the one at "
        "its end; a killed run repeats the steps since the last",
    )
    early_stop: int | None = Field(
        default=None,
        ge=1,
        description="stop after so many epochs without a better macro mAP on "
        "validation; null trains all epochs",
    )
    deterministic: bool = Field(
        default=False,
        description="compute sums of floats in a fixed order: on one machine, the same "
        "parameters and shards give the same weights bit for bit, also after a kill; "
        "no slower on a CPU, perhaps on a GPU",
    )
    flip: bool = Field(
        default=True,
        description="mirror half of the images at random; false where tags speak of "
        "left, right or text",
    )
    shift: float = Field(
        default=0.06,
        ge=0,
        le=0.5,
        description="shift images at random by up to this share of their size, in "
        "both directions",
    )
    rotation: float = Field(
        default=0.0,
        ge=0,
        le=180,
        description="degrees; turn images at random by up to this angle, either way; "
        "corners are filled with the mirrored image",
    )
    zoom: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="enlarge images at random by a factor of 1 - zoom to 1 + zoom",
    )
    contrast: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="multiply the contrast of images at random by a factor of "
        "1 - contrast to 1 + contrast",
    )
    trivial_augment: bool = Field(
        default=False,
        description="change each image in one way drawn from 14, strongly "
        "(TrivialAugment, arXiv:2103.10158); some change colours",
    )
    mixup: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="alpha of the Beta distribution by which two images and their "
        "labels are mixed (MixUp, arXiv:1710.09412), usually 0.1 to 0.4; 0 mixes none",
    )
    cache_bytes: int = Field(
        default=1_073_741_824,
        ge=0,
        description="bytes; training images are held decoded in memory if all of them "
        "fit, else they are read and decoded in every epoch",
    )
    seed: int = Field(
        default=621,
        ge=0,
        lt=2**31,
        description="of the first weights, the order of the images and their "
        "augmentation",
    )

    @model_validator(mode="after")
    def _joint_likelihood_alone(self) -> Self:
        """Raises ValueError where a loss of single tags is given beside the joint one.

        It would not be used.
        """
        if not (isinstance(self.noise, LowRank) and self.noise.joint):
            return self
        for name in ("loss", "robust", "tag_weights"):
            default = type(self).model_fields[name].default
            if getattr(self, name) != default:
                raise ValueError(
                    "noise.joint trains one likelihood of all labels of an image, "
                    f"which {name} does not change: leave {name} out, or set "
                    "noise.joint to false"
                )
        return self

    @model_validator(mode="after")
    def _choices_suit_each_other(self) -> Self:
        cycled = isinstance(self.schedule, OneCycle) and self.schedule.momentum
        if cycled and self.optimizer.name == "muon":
            raise ValueError(
                "schedule.momentum cycles the momentum of sgd or adamw: set it to null "
                "with muon, whose momentum is fixed"
            )
        if self.backend == "jax" and self.xla is False:
            raise ValueError("xla: false is for backend: tensorflow; jax needs XLA")
        return self

    @model_validator(mode="after")
    def _the_start_is_where_dvc_sees_it(self) -> Self:
        if self.init is None:
            return self
        parts = PurePosixPath(self.init).parts
        if parts[0] != INITIAL_MODELS or len(parts) < 2 or ".." in parts:
            raise ValueError(
                f"init {self.init} is not below {INITIAL_MODELS}/, the folder in which "
                f"DVC sees changes: copy the model there, as {INITIAL_MODELS}/first"
            )
        return self

    @model_validator(mode="after")
    def _what_is_frozen_has_learnt(self) -> Self:
        if self.freeze != "none" and self.init is None:
            raise ValueError(
                f"freeze {self.freeze} keeps the weights of train.init, which is null: "
                "name a model there, or set train.freeze: none"
            )
        return self

    @model_validator(mode="after")
    def _images_as_large_as_the_backbone_needs(self) -> Self:
        backbone = self.backbone
        if (
            isinstance(backbone, KerasApplications)
            and self.size < backbone.smallest_size
        ):
            raise ValueError(
                f"size is {self.size}, and {backbone.model} needs at least "
                f"{backbone.smallest_size} pixels"
            )
        return self
