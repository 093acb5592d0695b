"""ablation.yaml: which parameters of `train` are varied, and how much is spent on it.

One factor at a time leaves the baseline. A run is the baseline or one level, with one
of the seeds. Imports nothing of the stages: `ops.ablation` runs the plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from pipeline.errors import BadParameter
from pipeline.param_models import Section
from pipeline.params import Params, parse

BASELINE = "baseline"
"""Factor and level of the runs without a change, as results name them."""

SEED_LIMIT = 2**31
"""Seeds are below it, as train.seed is."""

Seed = Annotated[int, Field(ge=0, lt=SEED_LIMIT)]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._+-]+$")]

Parameter = Annotated[str, Field(pattern=r"^train\.[a-z_.]+$")]

Overrides = dict[Parameter, Any]
"""Values by the dotted names of parameters of `train`. A choice is written whole, as
{name: ...}; a name within a choice changes that choice."""


class Budget(Section):
    """What every run may spend; a level that names the same parameter overrides it."""

    epochs: int | None = Field(
        default=None,
        ge=1,
        description="passes over the training images; null: train.epochs",
    )
    size: int | None = Field(
        default=None,
        ge=32,
        le=1024,
        description="pixels of a side while training; null: train.size",
    )

    def overrides(self) -> Overrides:
        """Returns what is given, by dotted names of parameters."""
        given = self.model_dump(exclude_none=True)
        return {f"train.{name}": value for name, value in given.items()}


class Factor(Section):
    """One question: parameters that are varied together, and the values compared."""

    description: str = Field(description="what the factor decides, for the report")
    reference: Name | None = Field(
        default=None,
        description="level that the others are compared with; null: the baseline",
    )
    levels: dict[Name, Overrides] = Field(
        min_length=1,
        description="by its name, what each level changes in the baseline",
    )

    @model_validator(mode="after")
    def _levels_are_known(self) -> Self:
        if self.reference is not None and self.reference not in self.levels:
            names = ", ".join(self.levels)
            raise ValueError(
                f"reference {self.reference} is none of the levels: {names}"
            )
        if BASELINE in self.levels:
            raise ValueError(f"a level must not be named {BASELINE}")
        for name, changes in self.levels.items():
            if "train.seed" in changes:
                raise ValueError(f"level {name} sets train.seed: seeds are listed once")
        return self


class Ablation(Section):
    """All of ablation.yaml."""

    budget: Budget = Field(
        default=Budget(), description="what every run may spend, the same for all"
    )
    seeds: list[Seed] = Field(
        min_length=1,
        description="of weights, order and augmentation; each level is run with every "
        "one, and differences are paired by it",
    )
    baseline: Overrides = Field(
        default={},
        description="what the baseline changes in params.yaml; nothing by default",
    )
    factors: dict[Name, Factor] = Field(
        min_length=1, description="by its name, what is varied, one at a time"
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        if BASELINE in self.factors:
            raise ValueError(f"a factor must not be named {BASELINE}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must differ")
        if "train.seed" in self.baseline:
            raise ValueError("baseline sets train.seed: seeds are listed apart")
        return self


@dataclass(frozen=True, slots=True)
class Condition:
    """The baseline or one level of a factor: what is run with each seed.

    `reference` is the level of the same factor that it is compared with, or BASELINE;
    empty where it is that itself.
    """

    factor: str
    level: str
    reference: str
    params: Params

    @property
    def label(self) -> str:
        """Returns the condition as people read it."""
        return BASELINE if self.factor == BASELINE else f"{self.factor}: {self.level}"

    def with_seed(self, seed: int) -> Params:
        """Returns the parameters of one run."""
        train = self.params.train.model_copy(update={"seed": seed})
        return self.params.model_copy(update={"train": train})


def load(path: Path) -> Ablation:
    """Reads ablation.yaml; raises BadParameter, whose message names the first fault."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadParameter(
            f"{path} is not there. Run from the folder that holds dvc.yaml, or run "
            "git checkout ablation.yaml."
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise BadParameter(f"{path} is not YAML in UTF-8: {reason}.") from error
    try:
        return Ablation.model_validate(tree or {})
    except ValidationError as error:
        raise BadParameter(f"{path}: {_sentence(error)}") from error


def _sentence(error: ValidationError) -> str:
    """Returns the first fault in words."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    if problem["type"] == "extra_forbidden":
        return f"unknown name {place}. docs/ablation.md lists what is allowed."
    message = problem["msg"].removeprefix("Value error, ")
    if problem["loc"][-1:] == ("[key]",):
        message = "is not the name of a parameter of train, such as train.head"
    return f"{place or '(top level)'}: {message}."


def conditions(ablation: Ablation, params: Params, source: Path) -> list[Condition]:
    """Returns the baseline and every level, with all of their parameters.

    params: those of params.yaml, which the baseline starts from. source: ablation.yaml,
    for the message of BadParameter where a level names what `train` does not know.
    """
    shared = ablation.budget.overrides() | ablation.baseline
    tree = params.model_dump(mode="json")
    where = f"{source}, {BASELINE}"
    baseline = parse(_with(tree, shared, where), where)
    found = [Condition(BASELINE, BASELINE, "", baseline)]
    tree = baseline.model_dump(mode="json")
    for name, factor in ablation.factors.items():
        for level, changes in factor.levels.items():
            where = f"{source}, level {level} of {name}"
            changed = parse(_with(tree, changes, where), where)
            reference = factor.reference or BASELINE
            reference = "" if reference == level else reference
            found.append(Condition(name, level, reference, changed))
    return found


def check_seeds(seeds: Sequence[int]) -> None:
    """Raises BadParameter for a seed that train.seed cannot be."""
    for seed in seeds:
        if not 0 <= seed < SEED_LIMIT:
            raise BadParameter(
                f"the seed {seed} is not 0 to {SEED_LIMIT - 1:,}: choose another."
            )


def select(
    every: Sequence[Condition], factors: Sequence[str] | None
) -> list[Condition]:
    """Returns the baseline and the levels of some factors; of all where None.

    Raises BadParameter for a factor that is not known.
    """
    known = list(dict.fromkeys(condition.factor for condition in every))
    for name in factors or ():
        if name not in known:
            raise BadParameter(
                f"there is no factor {name} in ablation.yaml. Known: "
                f"{', '.join(known)}."
            )
    wanted = {BASELINE, *(factors or known)}
    return [condition for condition in every if condition.factor in wanted]


def _with(tree: Mapping[str, Any], overrides: Overrides, where: str) -> dict[str, Any]:
    """Returns a copy of a tree of parameters in which some have other values."""
    changed = dict(tree)
    for name, value in overrides.items():
        changed = _with_value(changed, name.split("."), value, where)
    return changed


def _with_value(
    tree: Mapping[str, Any], path: Sequence[str], value: Any, where: str
) -> dict[str, Any]:
    first, *rest = path
    if not rest:
        return {**tree, first: value}
    inner = tree.get(first)
    if not isinstance(inner, Mapping):
        raise BadParameter(
            f"{where}: {first} has no part {'.'.join(rest)}: it is {inner!r}."
        )
    return {**tree, first: _with_value(inner, rest, value, where)}
