"""Every parameter of `params.yaml`, parsed once into frozen models.

Unknown names are refused, and an error message gives what is allowed. The description
of a field is the only place where its unit and effect are written: the comments of
params.yaml and of the profiles, and docs/reference.md, are generated from it. There is
a module per section; those of `train` are in `pipeline.train_params`. The models of
parameters with choices stand beside what they choose between.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml
from pydantic import BaseModel, ValidationError, model_validator

from pipeline.errors import BadParameter
from pipeline.param_models import Choice, Section, choices
from pipeline.params.cluster import Cluster
from pipeline.params.download import Download
from pipeline.params.evaluate import Evaluate
from pipeline.params.export import Export
from pipeline.params.harvest import Harvest
from pipeline.params.manifest import Manifest
from pipeline.params.mine import Mine
from pipeline.params.sample import Sample
from pipeline.params.shard import Shard
from pipeline.params.site import Site
from pipeline.train_params import Train

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

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
        return f"{name} is now {_with_choices(MOVED[name])}: move its value there."
    allowed = ", ".join(section.model_fields)
    return f"unknown parameter {name}. Allowed here: {allowed}."


def _with_choices(name: str) -> str:
    """Returns a dotted name, and of a choice's parameter the choices that have it."""
    *parents, parameter = name.split(".")
    place, _, known = _place(tuple(parents))
    having = []
    for choice, model in known.items():
        if parameter in model.model_fields:
            having.append(f"{{name: {choice}}}")
    if not having:
        return name
    return f"{name}, where {place} is {' or '.join(having)}"


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
