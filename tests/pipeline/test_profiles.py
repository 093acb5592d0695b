"""params.yaml and the profiles: values with the descriptions of the parameters."""

from pathlib import Path

import pytest
import yaml

from pipeline import profiles
from pipeline.param_models import choices
from pipeline.params import Params, load
from tests.builders.project import ROOT

PROFILES = sorted(ROOT.glob("profiles/*.yaml"))
TO_FILL_IN = {"site.contact", "site.terms_read"}
"""What a profile of a real site lists although it has the default."""


def every_name() -> dict[str, list[str]]:
    return {section: list(type(model).model_fields) for section, model in Params()}


def test_shipped_parameters_are_those_of_the_sandbox_profile() -> None:
    shipped = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert shipped == profiles.params_yaml(ROOT / "profiles" / "sandbox.yaml")


def test_shipped_values_are_the_defaults_of_the_models() -> None:
    assert load(ROOT / "params.yaml") == Params()


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_profile_holds_only_what_differs_from_the_defaults(path: Path) -> None:
    defaults = Params().model_dump(mode="json")
    values = load(path).model_dump(mode="json")
    listed = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    same = set()
    for section, names in listed.items():
        for name in names:
            if values[section][name] == defaults[section][name]:
                same.add(f"{section}.{name}")
    assert same <= TO_FILL_IN


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_params_yaml_of_a_profile_has_every_parameter_and_its_values(
    path: Path, tmp_path: Path
) -> None:
    text = profiles.params_yaml(path)
    tree = yaml.safe_load(text)
    assert {section: list(values) for section, values in tree.items()} == every_name()
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    assert load(tmp_path / "params.yaml") == load(path)
    assert text.startswith(path.read_text(encoding="utf-8").split("\n\n")[0])


@pytest.mark.parametrize("path", [ROOT / "params.yaml", *PROFILES], ids=str)
def test_generated_lines_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert max(len(line) for line in lines) <= profiles.WIDTH


def test_comments_are_written_anew_and_values_stay(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("# Mine.\n\nsample:\n  # old words\n  min_tags: 4 # old\n")
    text = profiles.with_comments(path)
    described = (
        "  # posts with fewer tags (all categories, implied ones counted) are poorly "
        "tagged and\n  # left out\n"
    )
    assert text == f"# Mine.\n\nsample:\n{described}  min_tags: 4\n"


def test_values_are_written_on_one_line_each() -> None:
    text = profiles.render(
        {
            "harvest": {"query": None},
            "sample": {
                "split": {"train": 0.8, "validation": 0.1, "test": 0.1},
                "since": "2000-01-01",
                "exclude_tags": ["comic", "text: english"],
            },
        }
    )
    lines = [line for line in text.splitlines() if line.startswith("  ")]
    values = [line.strip() for line in lines if not line.startswith("  #")]
    assert values == [
        "query: null",
        "split: {train: 0.8, validation: 0.1, test: 0.1}",
        "since: '2000-01-01'",
        "exclude_tags: [comic, 'text: english']",
    ]


def test_a_choice_is_written_with_its_parameters_below_it() -> None:
    choice = {"name": "compact", "widths": [8], "blocks": [1]}
    text = profiles.render({"train": {"backbone": choice, "epochs": 3}})
    lines = [line for line in text.splitlines() if "#" not in line]
    assert lines == [
        "",
        "train:",
        "  backbone:",
        "    name: compact",
        "    widths: [8]",
        "    blocks: [1]",
        "  epochs: 3",
    ]
    assert "    # A compact SiLU ResNet of basic blocks (arXiv:1512.03385)\n" in text
    assert "    # residual blocks per stage, as many numbers as widths\n" in text


def test_every_parameter_has_a_description() -> None:
    lacking = []
    for section, model in Params():
        for name, field in type(model).model_fields.items():
            if not field.description:
                lacking.append(f"{section}.{name}")
            for known, choice in choices(field).items():
                if not choice.__doc__:
                    lacking.append(f"{section}.{name}: {known}")
                for part, inner in choice.model_fields.items():
                    if part != "name" and not inner.description:
                        lacking.append(f"{section}.{name}.{known}.{part}")
    assert not lacking
