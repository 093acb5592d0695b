"""Every parameter of `params.yaml`, parsed once into frozen models.

Unknown names are refused, and an error message gives what is allowed. The description
of a field is the only place where its unit and effect are written: the comments of
params.yaml and of the profiles, and docs/reference.md, are generated from it. The
models of parameters with choices stand beside what they choose between.
"""

from datetime import date
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, Self, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from e6tag.image_files import MAX_PIXELS
from pipeline.errors import BadParameter
from pipeline.param_models import Choice, Section, Share, choices
from pipeline.train_params import Train

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

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
CATEGORIES: tuple[str, ...] = get_args(CategoryName)
"""Category names by the site's id (contract section 6)."""

Rating = Literal["s", "q", "e"]
RATINGS: tuple[str, ...] = get_args(Rating)

# requests/s to the real hosts, the site's documented hard limit (contract section 5)
CEILING_REQUESTS_PER_SECOND = 2.0
# requests/s, what the site requests of its clients (contract section 5)
DEFAULT_REQUESTS_PER_SECOND = 1.0
# of export.tolerance: what the bundle promises, and its gate demands
LARGEST_TOLERANCE = 1e-4
# of export.compared, or all test images where there are fewer
FEWEST_COMPARED = 256
# folder of sample.tags_file; a dep of `sample` in dvc.yaml, so that a change is seen
LISTS = "lists"
# folder of export.previous; a dep of `export` in dvc.yaml, so that a change is seen
RELEASES = "releases"

MOVED = {
    "harvest.since": "sample.since",
    "manifest.split": "sample.split",
    "manifest.fresh_after": "sample.fresh_after",
    "manifest.group_by_artist": "sample.group_by_artist",
    "download.pack_pictures": "download.pack_images",
    "train.widths": "train.backbone.widths",
    "train.blocks": "train.backbone.blocks",
    "train.dropout": "train.head.dropout",
    "train.learning_rate": "train.schedule.learning_rate",
    "train.warmup": "train.schedule.warmup",
    "train.weight_decay": "train.optimizer.weight_decay",
}
"""New name of a parameter by its old one.

The error message for an unknown name that is listed here gives the new name."""


E621_URL = "https://e621.net"
"""Origin of the API and of the pages of posts."""

SiteName = Literal["sandbox", "openclipart", "e621", "custom"]

SITE_NAMES: tuple[str, ...] = get_args(SiteName)
"""The only names of a site that the lineage and the bundle hold."""


class Site(Section):
    """Where the metadata and the images come from, and how politely they are read."""

    name: SiteName = Field(
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

    @model_validator(mode="after")
    def _addresses_hold_no_password(self) -> Self:
        for url in (self.base_url, self.static_url):
            if "@" in urlsplit(url or "").netloc:
                raise ValueError(
                    "base_url and static_url must hold no user name and no password: "
                    "snapshot.json repeats base_url. Set site.login and export "
                    "E6TAG_API_KEY"
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
        description="source api only: the search query, such as "
        "rating:s date:>=2025-01-01",
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
    """Shares of the families of parents and children in each split; they sum to 1."""

    train: Share = Field(default=0.9, description="what the model learns from")
    validation: Share = Field(
        default=0.05, description="what chooses the epoch and the thresholds"
    )
    test: Share = Field(default=0.05, description="what the metrics are computed on")

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
        description="maximum number of tags; the most common ones are taken",
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
        description="minimum number of posts; those beyond what the tags need are "
        "drawn at random, to look like the board. Decides the cost of the download",
    )
    ratings: list[Rating] = Field(
        default=["s"],
        min_length=1,
        description="ratings of the posts that may be sampled, within the rules of "
        "pipeline/policy.py",
    )
    since: date = Field(
        default=date(2014, 1, 1),
        description="day, in quotes because DVC cannot hash YAML dates; posts uploaded "
        "before it are not sampled",
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
        description="strategy cover only: posts with more tags than this share of the "
        "candidates have are taken only where a tag needs them",
    )
    quota_offset: int = Field(
        default=0,
        ge=0,
        description="strategy quota only: newest posts that are skipped",
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
        "to be gone or broken; a tag that cannot have it is left out and listed",
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
        le=MAX_PIXELS,
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


class Regression(Section):
    """What a model must reach, or `export` does not run."""

    margin_over_baseline: Share = Field(
        default=0.02,
        description="by how much the macro mAP on test must be above that of the "
        "image-blind baseline, at the low end of its interval",
    )


class Evaluate(Section):
    """How the model is evaluated."""

    bootstrap: int = Field(
        default=200,
        ge=0,
        le=10_000,
        description="resamplings of the images behind each confidence interval; 0: no "
        "intervals",
    )
    seed: int = Field(
        default=621, ge=0, lt=2**31, description="random seed of the resamplings"
    )
    originals: int = Field(
        default=1_000,
        ge=200,
        description="test images that are also predicted from their original files, as "
        "users of the bundle do; all where there are fewer",
    )
    calibration: Literal["none", "temperature", "isotonic"] = Field(
        default="isotonic",
        description="map of the logits, fitted on validation, that makes scores "
        "probabilities: none; temperature: divided by one number; isotonic: increasing "
        "and linear between a few points. Thresholds and bundle have it too",
    )
    threshold_support: int = Field(
        default=40,
        ge=0,
        description="images: the threshold of a tag that so many validation images "
        "have is drawn half way from its own best F1 to the one threshold that is best "
        "for all tags together, those of rarer tags further; 0: none is drawn",
    )
    min_precision: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="least precision on validation that each tag's threshold is raised "
        "to; a tag that reaches it nowhere gets its most precise threshold and is "
        "listed in calibration.json; null: none",
    )
    regression: Regression = Field(
        default=Regression(),
        description="what a model must reach, or its gate fails and nothing is "
        "exported; margin_over_baseline: by how much the macro mAP on test must be "
        "above that of the image-blind baseline, at the low end of its interval. It "
        "must also not be worse than the release that export.previous names",
    )


class Mine(Section):
    """Which labels people are asked to look at again."""

    proposals: int = Field(
        default=5_000,
        ge=0,
        description="labels that are proposed at most, the likeliest ones",
    )
    per_tag: int = Field(
        default=500,
        ge=1,
        description="of these, labels of one tag at most",
    )
    min_probability: Share = Field(
        default=0.5,
        description="a label is proposed that is missing, or wrong, with at least this "
        "probability",
    )
    min_rare_posts: int = Field(
        default=20,
        ge=2,
        description="records that a tag outside the vocabulary must be on, so that it "
        "is proposed for others",
    )
    max_rare_tags: int = Field(
        default=1_000,
        ge=0,
        description="tags outside the vocabulary that are proposed, the most frequent "
        "ones; 0: none",
    )
    folds: int = Field(
        default=5,
        ge=2,
        le=20,
        description="parts of the records; what is said of one part is learnt from the "
        "others",
    )
    seed: int = Field(
        default=621,
        ge=0,
        lt=2**31,
        description="random seed of the parts",
    )


class Export(Section):
    """What the bundle holds."""

    name: str = Field(
        default="e6tag",
        pattern=r"^[A-Za-z0-9._-]+$",
        description="name of the model in the model card",
    )
    license: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9.-]+$",
        description="license of the weights in the model card, by the name that hubs "
        "of models give it, such as mit; null: the card names none",
    )
    contact: str | None = Field(
        default=None,
        pattern=r"^[^\n:/]+$",
        description="whom to write to about an image or an artist in the data, a name "
        "or a mail address, in both cards; null: the cards name nobody",
    )
    fold_thresholds: bool = Field(
        default=True,
        description="shift the probabilities of model.onnx so that each tag's own "
        "threshold is at the 0.35 (characters: 0.85) that clients of the WD taggers "
        "use for all; its output scores is as evaluate gives it",
    )
    tolerance: float = Field(
        default=LARGEST_TOLERANCE,
        gt=0,
        le=LARGEST_TOLERANCE,
        description="largest difference allowed between ONNX and Keras probabilities "
        "on test images; a larger one fails the stage",
    )
    compared: int = Field(
        default=FEWEST_COMPARED,
        ge=FEWEST_COMPARED,
        description="test images that are compared; all where there are fewer",
    )
    previous: str | None = Field(
        default=None,
        min_length=1,
        description="a folder below releases/ with the thresholds.csv and the "
        "metrics.json of the bundle that was released last: its tags that the site has "
        "renamed since are listed, and a model that is worse beyond its interval is "
        "not exported; null: neither",
    )

    @model_validator(mode="after")
    def _the_release_is_where_dvc_sees_it(self) -> Self:
        if self.previous is None:
            return self
        parts = PurePosixPath(self.previous).parts
        if parts[0] != RELEASES or len(parts) < 2 or ".." in parts:
            raise ValueError(
                f"previous {self.previous} is not below {RELEASES}/, the folder in "
                f"which DVC sees changes: put the bundle there, as {RELEASES}/first"
            )
        return self


class Cluster(Section):
    """Where parallel work runs; never changes what it makes."""

    scheduler: str | None = Field(
        default=None,
        description="tcp://host:8786: an existing Dask scheduler, whose workers see "
        "this project's folder at the same path and have the same code; null: "
        "processes on this machine",
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
    mine: Mine = Mine()
    export: Export = Export()
    cluster: Cluster = Cluster()

    @model_validator(mode="after")
    def _images_are_not_enlarged_for_training(self) -> Self:
        if self.train.size > self.shard.size:
            raise ValueError(
                f"train.size {self.train.size} is more than shard.size "
                f"{self.shard.size}: lower train.size to that, or raise shard.size"
            )
        return self


def load(path: Path) -> Params:
    """Reads params.yaml; raises BadParameter.

    The message names the first wrong key, its value and what is allowed.
    """
    return parse(read_tree(path), str(path))


def parse(tree: dict[str, Any], source: str) -> Params:
    """Returns the parameters of a tree as params.yaml has it; raises BadParameter.

    source: what the message names as the place of a wrong key.
    """
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise BadParameter(_one_line(source, error)) from error


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


def _one_line(source: str, error: ValidationError) -> str:
    problems = error.errors()
    text = f"{source}: {_sentences(problems[0])}"
    if len(problems) > 1:
        text += f" {len(problems) - 1} more wrong."
    return text


def _sentences(problem: "ErrorDetails") -> str:
    """Returns what is wrong with one parameter, and what to do."""
    name, section, known = _place(problem["loc"])
    value = problem["input"]
    names = ", ".join(known)
    if problem["type"] == "union_tag_invalid":
        return f"{name}.name is {value['name']!r}, known are {names}."
    if problem["type"] == "union_tag_not_found":
        return f"{name} has no name, known are {names}."
    if known:
        return (
            f"{name} is {value!r}: write the choice as {{name: ...}}, known are "
            f"{names}."
        )
    if problem["type"] != "extra_forbidden":
        return (
            f"{name or '(top level)'}: {problem['msg']}{_given(value)}. Correct it, or "
            "take the value of docs/reference.md."
        )
    if name in MOVED:
        return f"{name} is now {MOVED[name]}: move its value there."
    allowed = ", ".join(section.model_fields)
    return f"unknown parameter {name}. Allowed here: {allowed}."


def _given(value: Any) -> str:
    if isinstance(value, dict | BaseModel):
        return ""
    return f" (it is {value!r})"


def _place(
    location: tuple[int | str, ...],
) -> tuple[str, type[BaseModel], dict[str, type[Choice]]]:
    """Returns the dotted name of a place in params.yaml, and the model it is in.

    The third value is what the place itself has to choose from. pydantic names the
    choice between a parameter and those of the choice; the file has no such step.
    """
    names: list[str] = []
    section: type[BaseModel] = Params
    known: dict[str, type[Choice]] = {}
    for part in map(str, location):
        if known:
            section, known = known[part], {}
            continue
        names.append(part)
        if part not in section.model_fields:
            continue
        field = section.model_fields[part]
        known = choices(field)
        kind = field.annotation
        if not known and isinstance(kind, type) and issubclass(kind, BaseModel):
            section = kind
    return ".".join(names), section, known
