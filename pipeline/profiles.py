"""The text of params.yaml and of the profiles: values with their descriptions.

A profile (profiles/NAME.yaml) holds a heading and the parameters that differ from the
defaults. params.yaml holds every parameter, because DVC compares the values that it
finds there. The comments of both are the descriptions in `pipeline.params`.
"""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import BadParameter
from pipeline.param_models import Section, choices, description
from pipeline.params import Params, load, read_tree

WIDTH = 88  # columns of a line of comment


FOLDER = Path("profiles")


def find(name: str) -> Path:
    """Returns the file of a profile; raises BadParameter for an unknown name."""
    known = sorted(FOLDER.glob("*.yaml"))
    path = FOLDER / f"{name}.yaml"
    if path in known:
        return path
    names = ", ".join(path.stem for path in known)
    raise BadParameter(
        f"there is no profile {name}. Known: "
        f"{names or 'none, run from the project folder'}."
    )


def is_unedited(params: Path) -> bool:
    """Returns whether params.yaml is as a profile of this version gives it."""
    text = params.read_text(encoding="utf-8")
    return any(text == params_yaml(path) for path in FOLDER.glob("*.yaml"))


def params_yaml(profile: Path) -> str:
    """Returns the text of params.yaml for a profile; raises BadParameter.

    It has the profile's heading, then every parameter with its value.
    """
    tree = load(profile).model_dump(mode="json")
    return heading(profile) + render(tree)


def with_comments(path: Path) -> str:
    """Returns the text of a file of parameters with its comments written anew.

    Heading and values stay as they are. A comment inside the file is replaced by the
    description of the parameter below it. Raises BadParameter.
    """
    given = read_tree(path)
    values = load(path).model_dump(mode="json")
    tree = {}
    for section, names in given.items():
        tree[section] = {name: values[section][name] for name in names}
    return heading(path) + render(tree)


def heading(path: Path) -> str:
    """Returns the comment lines at the top of a file, up to the first other line."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.startswith("#"):
            break
        lines.append(line)
    return "".join(lines)


def render(tree: dict[str, dict[str, Any]]) -> str:
    """Returns values by section and name as YAML, each below its description.

    A choice is written with its parameters one below the other.
    """
    blocks = []
    for section, values in tree.items():
        model = section_model(section)
        lines = _lines(model, values, "  ")
        blocks.append(f"\n{section}:\n" + "".join(lines))
    return "".join(blocks)


def _lines(
    model: type[Section], values: Mapping[str, Any], indent: str
) -> Iterator[str]:
    for name, value in values.items():
        yield _comment(description(model, name), indent)
        known = choices(model.model_fields[name])
        if known:
            yield f"{indent}{name}:\n"
            yield from _lines(known[value["name"]], value, f"{indent}  ")
        else:
            yield f"{indent}{name}: {_yaml(value)}\n"


def section_model(section: str) -> type[Section]:
    """Returns the model of a section of params.yaml."""
    model = Params.model_fields[section].annotation
    if not (isinstance(model, type) and issubclass(model, Section)):
        raise TypeError(f"{section} is not a section of parameters")
    return model


def _comment(text: str, indent: str) -> str:
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(
        value,
        default_flow_style=True,
        sort_keys=False,
        width=1_000_000,
    )
    return text.removesuffix("...\n").strip()
