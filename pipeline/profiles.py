"""The text of params.yaml and of the profiles: values with their descriptions.

A profile (profiles/NAME.yaml) holds a heading and the parameters that differ from the
defaults. params.yaml holds every parameter, because DVC compares the values that it
finds there. The comments of both are the descriptions in `pipeline.params`.
"""

import textwrap
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import BadParameter
from pipeline.params import Params, Section, load, read_tree

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
    """Returns values by section and name as YAML, each below its description."""
    blocks = []
    for section, values in tree.items():
        model = section_model(section)
        lines = [f"\n{section}:\n"]
        for name, value in values.items():
            lines.append(_comment(str(model.model_fields[name].description)))
            lines.append(f"  {name}: {_yaml(value)}\n")
        blocks.append("".join(lines))
    return "".join(blocks)


def section_model(section: str) -> type[Section]:
    """Returns the model of a section of params.yaml."""
    model = Params.model_fields[section].annotation
    if not (isinstance(model, type) and issubclass(model, Section)):
        raise TypeError(f"{section} is not a section of parameters")
    return model


def _comment(description: str) -> str:
    lines = textwrap.wrap(
        description,
        WIDTH,
        initial_indent="  # ",
        subsequent_indent="  # ",
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
