"""Every parameter of `params.yaml`, parsed once into frozen models.

Unknown names are refused, and an error message gives what is allowed. The description
of a field is the only place where its unit and effect are written: the comments of
params.yaml and of the profiles, and docs/reference.md, are generated from it.
"""

from datetime import date
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

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
StageSizes = Annotated[
    list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=6)
]
Widths = Annotated[list[Annotated[int, Field(ge=8)]], Field(min_length=1, max_length=6)]

# requests/s to the real hosts, the site's documented hard limit (contract section 5)
CEILING_REQUESTS_PER_SECOND = 2.0
# requests/s, what the site requests of its clients (contract section 5)
DEFAULT_REQUESTS_PER_SECOND = 1.0
# folder of sample.tags_file; a dep of `sample` in dvc.yaml, so that a change is seen
LISTS = "lists"
# pixels; the most that Pillow opens without an error
PILLOW_MAX_PIXELS = 178_956_970

MOVED = {
    "harvest.since": "sample.since",
    "manifest.split": "sample.split",
    "manifest.fresh_after": "sample.fresh_after",
    "manifest.group_by_artist": "sample.group_by_artist",
    "download.pack_pictures": "download.pack_images",
}
"""New name of a parameter by its old one.

The error message for an unknown name that is listed here gives the new name."""


class Section(BaseModel):
    """A section of params.yaml: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Site(Section):
    """Where the metadata and the images come from, and how politely they are read."""

    name: Literal["sandbox", "openclipart", "e621", "custom"] = Field(
        default="sandbox",
        description="sandbox and openclipart run on this machine; custom is any "
        "server that follows the same contract",
    )
    base_url: str | None = Field(
        default=None,
        description="custom only: origin of the API, such as http://127.0.0.1:8621",
    )
    static_url: str | None = Field(
        default=None,
        description="custom only: origin below which /data/ab/cd/<md5>.<ext> is served",
    )
    contact: str | None = Field(
        default=None,
        description='whom the site can write to, such as "your_name on e621"; sent '
        "with every request, and required for a real site",
    )
    terms_read: bool = Field(
        default=False,
        description="true confirms that you have read the site's terms and bot rules; "
        "required for a real site",
    )
    requests_per_second: float | None = Field(
        default=None,
        gt=0,
        description="limit over all requests together; null: no limit on this "
        "machine, 1 at real sites, which are never sent more than 2",
    )
    concurrency: int = Field(
        default=32,
        ge=1,
        le=256,
        description="requests in flight at once; at 1 request/s, 4 are enough",
    )
    login: str | None = Field(
        default=None,
        description="account name; its API key is read from the environment variable "
        "E6TAG_API_KEY only",
    )
    sandbox_posts: int = Field(
        default=30_000,
        ge=100,
        le=30_000,
        description="posts of the sandbox board; the pin must match (e6tag refresh)",
    )
    sandbox_day: Literal[1, 2] = Field(
        default=1,
        description="2: the same sandbox board a day later; the pin must match (e6tag "
        "refresh)",
    )

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
    """Which metadata is fetched."""

    source: Literal["exports", "api"] = Field(
        default="exports",
        description="exports: the site's daily bulk exports; api: the posts that a "
        "search finds",
    )
    query: str | None = Field(
        default=None,
        min_length=1,
        description="of api: the search, such as rating:s date:>=2025-01-01",
    )

    @model_validator(mode="after")
    def _a_query_belongs_to_the_api(self) -> Self:
        if self.source == "api" and self.query is None:
            raise ValueError(
                "harvest.source api needs harvest.query, such as "
                "rating:s date:>=2025-01-01"
            )
        if self.source == "exports" and self.query is not None:
            raise ValueError(
                "harvest.query is for harvest.source: api; exports hold every post"
            )
        return self


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


class Sample(Section):
    """Which tags and which posts are selected."""

    categories: list[CategoryName] = Field(
        default=["general"],
        min_length=1,
        description="tag categories that the vocabulary is taken from",
    )
    vocabulary_size: int = Field(
        default=1024,
        ge=2,
        le=65_536,
        description="tags at most; the most common ones are taken",
    )
    min_positives: int = Field(
        default=512,
        ge=1,
        description="images with each tag in the training split; a tag that cannot "
        "reach it is left out and listed",
    )
    min_eval_positives: int = Field(
        default=32,
        ge=0,
        description="images with each tag in the validation split, and as many in the "
        "test split",
    )
    min_tags: int = Field(
        default=16,
        ge=0,
        description="posts with fewer tags (all categories, implied ones counted) are "
        "poorly tagged and left out",
    )
    size: int | None = Field(
        default=None,
        ge=1,
        description="posts at least; those beyond what the tags need are drawn at "
        "random, so that they look like the board. Decides the cost of the download",
    )
    ratings: list[Rating] = Field(
        default=["s"],
        min_length=1,
        description="ratings of the posts that may be sampled, within the rules of "
        "pipeline/policy.py",
    )
    since: date = Field(
        default=date(2014, 1, 1),
        description="day, in quotes because DVC reads no dates; posts uploaded before "
        "it are not sampled",
    )
    strategy: Literal["cover", "quota", "natural"] = Field(
        default="cover",
        description="cover: few posts that give every tag its positives; quota: the "
        "newest posts, each for its rarest tag; natural: at random",
    )
    tag_bound: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="of cover: posts with more tags than this share of the candidates "
        "have are taken only where a tag needs them",
    )
    quota_offset: int = Field(
        default=0,
        ge=0,
        description="of quota: newest posts that are skipped",
    )
    tags_file: str | None = Field(
        default=None,
        min_length=1,
        description="a file below lists/ with one wanted tag per line: only these are "
        "learnt; null: all tags of the categories",
    )
    exclude_patterns: list[str] = Field(
        default=[],
        description="tags left out of the vocabulary, with the wildcards * and ?; "
        "posts that have them may be sampled",
    )
    exclude_tags: list[str] = Field(
        default=["comic"],
        description="posts with one of these tags are left out",
    )
    reserve: Share = Field(
        default=0.05,
        description="share of positives beyond the minimum, for images that turn out "
        "to be gone or broken",
    )
    seed: int = Field(
        default=621,
        ge=0,
        description="decides between posts that serve equally well",
    )

    split: SplitShares = Field(
        default=SplitShares(),
        description="shares of the families of parents and children",
    )
    group_by_artist: bool = Field(
        default=False,
        description="true: all posts of an artist are in one split, and posts whose "
        "artists belong to several splits are in none",
    )
    fresh_after: date | None = Field(
        default=None,
        description="day, in quotes; families uploaded from it on are a fourth split, "
        "fresh; null: there is none",
    )

    @model_validator(mode="after")
    def _the_list_is_where_dvc_sees_it(self) -> Self:
        if self.tags_file is None:
            return self
        parts = PurePosixPath(self.tags_file).parts
        if parts[0] != LISTS or len(parts) < 2 or ".." in parts:
            raise ValueError(
                f"tags_file {self.tags_file} is not below {LISTS}/, the folder in "
                f"which DVC sees changes: put the file there, as {LISTS}/mine.txt"
            )
        return self


class Download(Section):
    """How images are fetched."""

    variant: Literal["original", "sample", "preview"] = Field(
        default="sample",
        description="which file of each post is fetched; sample: the shorter side has "
        "at most 850 pixels, preview: 256",
    )
    max_bytes: int = Field(
        default=52_428_800,
        ge=1024,
        description="bytes; larger images are rejected",
    )
    max_pixels: int = Field(
        default=100_000_000,
        ge=1,
        le=PILLOW_MAX_PIXELS,
        description="pixels; larger images are rejected as decompression bombs",
    )
    retries: int = Field(
        default=5,
        ge=0,
        le=20,
        description="further attempts after a temporary failure, with growing waits",
    )
    pack_images: int = Field(
        default=2_000,
        ge=1,
        le=100_000,
        description="images in a pack; decides how many are rewritten when one is "
        "removed",
    )
    max_rejected: Share = Field(
        default=0.02,
        description="share of the images that may be rejected before the stage fails",
    )


class Manifest(Section):
    """What becomes of duplicates."""

    near_duplicate_distance: int = Field(
        default=6,
        ge=0,
        le=16,
        description="bits of 64 in which two perceptual hashes may differ and still "
        "be one image",
    )


class Shard(Section):
    """The form in which images are trained on."""

    shards: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="training shards; each other split gets an eighth as many",
    )
    size: int = Field(
        default=256,
        ge=32,
        le=1024,
        description="pixels of a side of the square images",
    )
    fit: Literal["pad", "crop", "stretch"] = Field(
        default="pad",
        description="how an image becomes square; pad: white borders keep the aspect "
        "ratio, crop: the centre is taken",
    )
    quality: int = Field(
        default=90,
        ge=30,
        le=100,
        description="JPEG quality of the stored images",
    )
    max_rejected: Share = Field(
        default=0.01,
        description="share of the images that may turn out broken before the stage "
        "fails",
    )


class Train(Section):
    """The model and how it learns."""

    backend: Literal["tensorflow", "jax"] = Field(
        default="tensorflow",
        description="what Keras computes with; jax needs pip install -e .[jax]",
    )
    size: int = Field(
        default=96,
        ge=32,
        le=1024,
        description="pixels of a side while training, at most shard.size; the time "
        "grows with its square, and small traits need it",
    )
    widths: Widths = Field(
        default=[32, 64, 128, 256],
        description="channels per stage of the network; each stage works at half the "
        "resolution of the one before, the first at size / 4",
    )
    blocks: StageSizes = Field(
        default=[1, 1, 1, 1],
        description="residual blocks per stage, as many numbers as widths",
    )
    dropout: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of the pooled features left out at random while training, "
        "against overfitting",
    )
    epochs: int = Field(
        default=16,
        ge=1,
        description="passes over the training images",
    )
    batch_size: int = Field(
        default=64,
        ge=1,
        description="images per step, over all GPUs together; larger is faster on a "
        "GPU and needs a higher learning_rate",
    )
    learning_rate: float = Field(
        default=8e-3,
        gt=0,
        description="peak of the one-cycle schedule of AdamW; too high, and the loss "
        "stops falling or is not a number",
    )
    weight_decay: float = Field(
        default=0.05,
        ge=0,
        description="AdamW's decay per step, as a factor of the learning rate; not "
        "applied to biases and norms",
    )
    warmup: Share = Field(
        default=0.2,
        description="share of the steps in which the learning rate rises; in the "
        "others it falls to zero",
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
    def _a_depth_for_every_width(self) -> Self:
        if len(self.widths) != len(self.blocks):
            raise ValueError(
                "widths and blocks must have the same length: one entry per stage of "
                "the network"
            )
        return self


class Evaluate(Section):
    """How the model is evaluated."""

    bootstrap: int = Field(
        default=200,
        ge=0,
        le=10_000,
        description="resamplings of the images behind each confidence interval; 0: no "
        "intervals",
    )
    seed: int = Field(default=621, ge=0, lt=2**31, description="of the resamplings")


class Export(Section):
    """What the bundle holds."""

    name: str = Field(
        default="e6tag",
        pattern=r"^[A-Za-z0-9._-]+$",
        description="name of the model in the model card",
    )
    tolerance: float = Field(
        default=1e-3,
        gt=0,
        le=1,
        description="largest difference allowed between ONNX and Keras probabilities "
        "on test images; a larger one fails the stage",
    )
    compared: int = Field(default=64, ge=1, description="test images that are compared")


class Cluster(Section):
    """Where parallel work runs; never changes what it makes."""

    scheduler: str | None = Field(
        default=None,
        description="tcp://host:8786: an existing Dask scheduler; null: processes on "
        "this machine",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="processes on this machine; null: one per core",
    )


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
    def _images_are_not_enlarged_for_training(self) -> Self:
        if self.train.size > self.shard.size:
            raise ValueError(
                f"train.size {self.train.size} is more than shard.size "
                f"{self.shard.size}"
            )
        return self


def load(path: Path) -> Params:
    """Reads params.yaml; raises BadParameter.

    The message names the first wrong key, its value and what is allowed.
    """
    tree = read_tree(path)
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise BadParameter(_one_line(path, error)) from error


def read_tree(path: Path) -> dict[str, Any]:
    """Reads a file of parameters without checking them; raises BadParameter."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise BadParameter(
            f"{path} is not UTF-8 text: {error}. Compare it with a file of profiles/."
        ) from error
    except FileNotFoundError as error:
        raise BadParameter(
            f"{path} is not there. Run from the folder that holds dvc.yaml, or run "
            "e6tag use sandbox."
        ) from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise BadParameter(
            f"{path} is not YAML: {reason}. Compare it with a file of profiles/."
        ) from error
    return tree or {}


def _one_line(path: Path, error: ValidationError) -> str:
    problems = error.errors()
    first = problems[0]
    location = first["loc"]
    name = ".".join(str(part) for part in location) or "(top level)"
    if first["type"] != "extra_forbidden":
        given = _given(first["input"])
        text = (
            f"{path}: {name}: {first['msg']}{given}. Correct it, or take the value of "
            "docs/reference.md."
        )
    elif name in MOVED:
        text = f"{path}: {name} is now {MOVED[name]}: move its value there."
    else:
        allowed = ", ".join(_siblings(location))
        text = f"{path}: unknown parameter {name}. Allowed here: {allowed}."
    if len(problems) > 1:
        text += f" {len(problems) - 1} more wrong."
    return text


def _given(value: Any) -> str:
    if isinstance(value, dict | BaseModel):
        return ""
    return f" (it is {value!r})"


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Params
    for part in location[:-1]:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return list(model.model_fields)
