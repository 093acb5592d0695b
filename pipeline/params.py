"""Every knob of `params.yaml`, parsed once into frozen models that refuse unknown keys and say what is allowed."""

from datetime import date
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import BadParameter

CategoryName = Literal[
    "general",
    "artist",
    "contributor",
    "copyright",
    "character",
    "species",
    "invalid",
    "meta",
    "lore",
]
Rating = Literal["s", "q", "e"]
Share = Annotated[float, Field(ge=0, le=1)]

CEILING_REQUESTS_PER_SECOND = 2.0  # requests/s to the real hosts, the site's documented hard limit (contract section 5)
DEFAULT_REQUESTS_PER_SECOND = (
    1.0  # requests/s, what the site asks for (contract section 5)
)
LISTS = "lists"  # folder of sample.tags_file; dvc.yaml has it among the deps of `sample`, so that a change is seen


class Section(BaseModel):
    """A section of params.yaml: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Site(Section):
    """Where the metadata and the pictures come from, and how politely."""

    name: Literal["sandbox", "openclipart", "e621", "custom"] = "sandbox"
    base_url: str | None = None
    static_url: str | None = None
    contact: str | None = None
    terms_read: bool = False
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=256)] = 32
    login: str | None = None
    sandbox_posts: Annotated[int, Field(ge=100, le=30_000)] = 30_000
    sandbox_day: Literal[1, 2] = 1

    @model_validator(mode="after")
    def _addresses_belong_to_custom_sites(self) -> Self:
        given = self.base_url is not None and self.static_url is not None
        if self.name == "custom" and not given:
            raise ValueError("site.name custom needs both base_url and static_url")
        if self.name != "custom" and (self.base_url or self.static_url):
            raise ValueError(
                f"base_url and static_url are for site.name: custom, not {self.name}"
            )
        return self


class Harvest(Section):
    """Which metadata to take."""

    source: Literal["exports", "api"] = "exports"
    query: Annotated[str, Field(min_length=1)] | None = None
    since: date = date(2014, 1, 1)

    @model_validator(mode="after")
    def _a_query_belongs_to_the_api(self) -> Self:
        if self.source == "api" and self.query is None:
            raise ValueError(
                "harvest.source api needs harvest.query, such as rating:s date:>=2025-01-01"
            )
        if self.source == "exports" and self.query is not None:
            raise ValueError(
                "harvest.query is for harvest.source: api; exports hold every post"
            )
        return self


class Sample(Section):
    """Which tags and which posts."""

    categories: Annotated[list[CategoryName], Field(min_length=1)] = ["general"]
    vocabulary_size: Annotated[int, Field(ge=2, le=65_536)] = 1024
    min_positives: Annotated[int, Field(ge=1)] = 512
    min_eval_positives: Annotated[int, Field(ge=0)] = 32
    min_tags: Annotated[int, Field(ge=0)] = 16
    size: Annotated[int, Field(ge=1)] | None = None
    ratings: Annotated[list[Rating], Field(min_length=1)] = ["s"]
    strategy: Literal["cover", "quota", "natural"] = "cover"
    tag_bound: Annotated[float, Field(gt=0, le=1)] = 0.75
    quota_offset: Annotated[int, Field(ge=0)] = 0
    tags_file: Annotated[str, Field(min_length=1)] | None = None
    exclude_patterns: list[str] = []
    exclude_tags: list[str] = ["comic"]
    reserve: Share = 0.05
    seed: Annotated[int, Field(ge=0)] = 621

    @model_validator(mode="after")
    def _the_list_is_where_dvc_sees_it(self) -> Self:
        parts = PurePosixPath(self.tags_file or f"{LISTS}/none").parts
        if parts[0] != LISTS or len(parts) < 2 or ".." in parts:
            raise ValueError(
                f"tags_file {self.tags_file} is not below {LISTS}/, the folder in which DVC sees changes: "
                f"put the file there, as {LISTS}/mine.txt"
            )
        return self


class Download(Section):
    """How pictures are fetched."""

    variant: Literal["original", "sample", "preview"] = "sample"
    max_bytes: Annotated[int, Field(ge=1024)] = 52_428_800
    max_pixels: Annotated[int, Field(ge=1, le=178_956_970)] = (
        100_000_000  # at most what Pillow opens
    )
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    pack_pictures: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    max_rejected: Share = 0.02


class SplitShares(Section):
    """Shares of the parent groups that each split receives; they sum to 1."""

    train: Share = 0.9
    validation: Share = 0.05
    test: Share = 0.05

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError("train, validation and test must sum to 1")
        return self


class Manifest(Section):
    """Splits and near-duplicates."""

    near_duplicate_distance: Annotated[int, Field(ge=0, le=16)] = 6
    split: SplitShares = SplitShares()
    group_by_artist: bool = False
    fresh_after: date | None = None


class Shard(Section):
    """The form in which pictures are trained on."""

    shards: Annotated[int, Field(ge=1, le=4096)] = 64
    size: Annotated[int, Field(ge=32, le=1024)] = 256
    fit: Literal["pad", "crop", "stretch"] = "pad"
    quality: Annotated[int, Field(ge=30, le=100)] = 90
    max_rejected: Share = 0.01


class Train(Section):
    """The model and how it learns."""

    # tensorflow or jax: what Keras computes with.
    backend: Literal["tensorflow", "jax"] = "tensorflow"
    # Pixels: pictures are trained on at size x size. Time grows with its square; small traits need it.
    size: Annotated[int, Field(ge=32, le=1024)] = 96
    # Channels per stage of the network; each stage sees half the resolution of the one before, the first size / 4.
    widths: Annotated[
        list[Annotated[int, Field(ge=8)]], Field(min_length=1, max_length=6)
    ] = [32, 64, 128, 256]
    # Residual blocks per stage, as many numbers as widths.
    blocks: Annotated[
        list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=6)
    ] = [1, 1, 1, 1]
    # Share of the pooled features left out at random while training, against overfitting.
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    # Passes over the training pictures.
    epochs: Annotated[int, Field(ge=1)] = 16
    # Pictures per step, over all GPUs together. Larger is faster on a GPU and asks for a higher learning_rate.
    batch_size: Annotated[int, Field(ge=1)] = 64
    # Peak of the one-cycle schedule (AdamW steps). Too high: the loss stops falling or is not a number.
    learning_rate: Annotated[float, Field(gt=0)] = 8e-3
    # AdamW's decay per step, as a factor of the learning rate; not on biases and norms.
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    # Share of all steps in which the learning rate rises; in the others it falls to zero.
    warmup: Share = 0.2
    # Mirror half of the pictures at random: false where tags speak of left and right, or of text.
    flip: bool = True
    # Shift pictures at random by up to this share of their size, in both directions.
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.06
    # Bytes: training pictures that fit, decoded, are held in memory; others are read and decoded in every epoch.
    cache_bytes: Annotated[int, Field(ge=0)] = 1_073_741_824
    # Of the first weights, the order of the pictures and their augmentation.
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 621

    @model_validator(mode="after")
    def _a_depth_for_every_width(self) -> Self:
        if len(self.widths) != len(self.blocks):
            raise ValueError(
                "widths and blocks must have the same length: one entry per stage of the network"
            )
        return self


class Evaluate(Section):
    """How the model is judged."""

    # Resamplings of the pictures behind each confidence interval; 0: no intervals.
    bootstrap: Annotated[int, Field(ge=0, le=10_000)] = 200
    # Of the resamplings.
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 621


class Export(Section):
    """What the bundle holds."""

    # What the model card calls the model.
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = "e6tag"
    # Largest difference between a probability from ONNX and the same from Keras, on test pictures; more fails.
    tolerance: Annotated[float, Field(gt=0, le=1)] = 1e-3
    # Test pictures that are compared.
    compared: Annotated[int, Field(ge=1)] = 64


class Cluster(Section):
    """Where parallel work runs; never changes what it makes."""

    scheduler: str | None = None
    workers: Annotated[int, Field(ge=1)] | None = None


class Params(Section):
    """All of params.yaml."""

    site: Site = Site()
    harvest: Harvest = Harvest()
    sample: Sample = Sample()
    download: Download = Download()
    manifest: Manifest = Manifest()
    shard: Shard = Shard()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    export: Export = Export()
    cluster: Cluster = Cluster()

    @model_validator(mode="after")
    def _pictures_are_not_blown_up_for_training(self) -> Self:
        if self.train.size > self.shard.size:
            raise ValueError(
                f"train.size {self.train.size} is more than shard.size {self.shard.size}"
            )
        return self


def load(path: Path) -> Params:
    """Reads params.yaml; raises BadParameter naming the first wrong key, what it holds and what is allowed."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise BadParameter(
            f"{path} is not UTF-8 text: {error}. Compare it with profiles/sandbox.yaml."
        ) from error
    except FileNotFoundError as error:
        raise BadParameter(
            f"{path} is not there. Run from the folder that holds dvc.yaml, or copy a file of profiles/ to it."
        ) from error
    except yaml.YAMLError as error:
        raise BadParameter(
            f"{path} is not YAML: {' '.join(str(error).split())}. Compare it with profiles/sandbox.yaml."
        ) from error
    try:
        return Params.model_validate(tree or {})
    except ValidationError as error:
        raise BadParameter(_one_line(path, error)) from error


def _one_line(path: Path, error: ValidationError) -> str:
    problems = error.errors()
    first = problems[0]
    name = ".".join(str(part) for part in first["loc"]) or "(top level)"
    if first["type"] == "extra_forbidden":
        text = f"{path}: unknown parameter {name}. Allowed here: {', '.join(_siblings(first['loc']))}."
    else:
        given = (
            ""
            if isinstance(first["input"], dict | BaseModel)
            else f" (it is {first['input']!r})"
        )
        text = f"{path}: {name}: {first['msg']}{given}. Correct it, or take the value from profiles/sandbox.yaml."
    return text + (f" {len(problems) - 1} more wrong." if len(problems) > 1 else "")


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Params
    for part in location[:-1]:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return list(model.model_fields)
