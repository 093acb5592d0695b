"""docs/reference.md and params.yaml say what the models and schemas say."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import PolicyViolation
from pipeline.params import Params, Section, load
from pipeline.policy import require_consent

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "reference.py"))


def names(section: type[Section] | Section) -> set[str]:
    return set(
        type(section).model_fields
        if isinstance(section, Section)
        else section.model_fields
    )


def test_committed_reference_is_what_the_generator_writes(
    reference: dict[str, Any],
) -> None:
    written = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert written == reference["page"](), "run python docs/reference.py"


@pytest.mark.parametrize(
    "file", ["params.yaml", "profiles/e621.yaml", "profiles/openclipart.yaml"]
)
def test_file_lists_every_parameter(file: str) -> None:
    tree = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    assert {section: set(values) for section, values in tree.items()} == {
        section: names(values) for section, values in Params()
    }


def test_shipped_values_are_the_defaults_of_the_models() -> None:
    shipped, defaults = (
        load(ROOT / "params.yaml").model_dump(mode="json"),
        Params().model_dump(mode="json"),
    )
    differing = [
        f"{section}.{name}" for section in defaults for name in defaults[section]
        if shipped[section][name] != defaults[section][name]
    ]  # fmt: skip
    assert not differing


def test_comments_are_found_by_section_and_name(reference: dict[str, Any]) -> None:
    text = "one:\n  a: [x, 1]  # pixels: of a side\n  b: null\ntwo:\n  a: 0.5 # share\n"
    assert reference["effects"](text) == {
        "one": {"a": "pixels: of a side", "b": ""},
        "two": {"a": "share"},
    }


def test_e621_profile_asks_nothing_before_contact_and_terms_are_given() -> None:
    site = load(ROOT / "profiles" / "e621.yaml").site
    with pytest.raises(PolicyViolation, match=r"site\.contact is empty"):
        require_consent(site)
    with pytest.raises(PolicyViolation, match=r"site\.terms_read is false"):
        require_consent(site.model_copy(update={"contact": "someone@example.org"}))
    require_consent(
        site.model_copy(update={"contact": "someone@example.org", "terms_read": True})
    )
