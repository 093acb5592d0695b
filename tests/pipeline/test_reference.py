"""docs/reference.md, params.yaml and the profiles are what their generator writes."""

import runpy
from enum import Enum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.errors import PolicyViolation
from pipeline.param_models import choices, description
from pipeline.params import Params, load
from pipeline.policy import require_consent
from pipeline.schemas import reasons
from tests.builders.project import ROOT


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "reference.py"))


@pytest.fixture(scope="module")
def page(reference: dict[str, Any]) -> str:
    return str(reference["page"]())


def test_committed_files_are_what_the_generator_writes(
    reference: dict[str, Any],
) -> None:
    generated = reference["generated"]()
    stale = []
    for path, text in generated.items():
        if path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
    assert not stale, "run python docs/reference.py"


def test_reference_and_every_file_of_parameters_are_generated(
    reference: dict[str, Any],
) -> None:
    names = {str(path.relative_to(ROOT)) for path in reference["generated"]()}
    profiles = {f"profiles/{path.name}" for path in ROOT.glob("profiles/*.yaml")}
    assert names == {"docs/reference.md", "params.yaml"} | profiles


def test_every_parameter_is_in_the_reference_with_its_description(page: str) -> None:
    rows = page.splitlines()
    for section, model in Params():
        for name, field in type(model).model_fields.items():
            described = str(field.description).replace("<", "&lt;")
            assert f"### `{section}`" in rows
            assert any(row.startswith(f"| `{name}` |") for row in rows)
            assert any(row.endswith(f"| {described} |") for row in rows)


def test_every_choice_is_in_the_reference_with_its_parameters(page: str) -> None:
    rows = page.splitlines()
    headings = []
    for section, model in Params():
        for name, field in type(model).model_fields.items():
            for choice in choices(field).values():
                known = choice().name
                headings.append(f"#### `{section}.{name}: {{name: {known}}}`")
                assert any(row.startswith(f"| `{name}` | `") for row in rows)
                for part in set(choice.model_fields) - {"name"}:
                    described = description(choice, part)
                    assert any(row.endswith(f"| {described} |") for row in rows), part
    assert "#### `train.backbone: {name: compact}`" in headings
    assert set(headings) == {row for row in rows if row.startswith("####")}


def test_a_parameter_with_choices_lists_their_names(page: str) -> None:
    names = "`attention_residual`, `pool`, `queries`"
    assert f"| `head` | `pool` | a choice by name: {names} |" in page


def test_every_schema_of_the_package_is_in_the_reference(
    reference: dict[str, Any], page: str
) -> None:
    modules = {Path(module.__file__).stem for module in reference["SCHEMA_MODULES"]}
    files = {path.stem for path in (ROOT / "pipeline" / "schemas").glob("*.py")}
    assert modules == files - {"__init__", "fields", "reasons"}
    for module in reference["SCHEMA_MODULES"]:
        for name, value in vars(module).items():
            if isinstance(value, pa.Schema):
                assert f"### `{name}`\n" in page


@pytest.mark.parametrize("kind", reasons.Reason.__subclasses__())
def test_every_reason_is_in_the_reference_with_its_sentence(
    page: str, kind: type[reasons.Reason]
) -> None:
    assert f"### `{kind.__name__}`\n" in page
    for reason in kind:
        assert reason.sentence
        assert f"| `{reason.value}` | " in page


def test_a_reason_is_found_by_its_value() -> None:
    assert issubclass(reasons.Reason, Enum)
    deleted = reasons.PostExclusion("deleted")
    assert deleted is reasons.PostExclusion.DELETED
    assert deleted.sentence == "deleted on the site (policy rule 1)"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        pytest.param(
            {"type": "integer", "minimum": 2}, "whole number from 2", id="low"
        ),
        pytest.param(
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "number above 0 to 1",
            id="bounds",
        ),
        pytest.param(
            {"type": "integer", "minimum": 0, "exclusiveMaximum": 65_536},
            "whole number from 0 to less than 65,536",
            id="below",
        ),
        pytest.param(
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "text or `null`",
            id="null",
        ),
        pytest.param({"enum": ["pad", "crop"]}, "`pad`, `crop`", id="choice"),
        pytest.param({"const": 1}, "`1`", id="constant"),
        pytest.param({"type": "string", "format": "date"}, "day", id="day"),
        pytest.param(
            {"type": "string", "pattern": "^a$"}, "text like `^a$`", id="like"
        ),
        pytest.param(
            {"type": "array", "minItems": 1, "items": {"type": "string"}},
            "list of 1 or more of text",
            id="list",
        ),
        pytest.param(
            {"type": "array", "minItems": 1, "maxItems": 6, "items": {"type": "null"}},
            "list of 1 to 6 of `null`",
            id="bounded list",
        ),
        pytest.param({"$ref": "#/$defs/Side"}, "number", id="reference"),
        pytest.param(
            {"discriminator": {"mapping": {"pool": "", "queries": ""}}, "oneOf": []},
            "a choice by name: `pool`, `queries`",
            id="choice by name",
        ),
    ],
)
def test_limits_are_given_in_words(
    reference: dict[str, Any], rule: dict[str, Any], words: str
) -> None:
    assert reference["allowed"](rule, {"Side": {"type": "number"}}) == words


def test_e621_profile_requests_nothing_before_contact_and_terms_are_given() -> None:
    site = load(ROOT / "profiles" / "e621.yaml").site
    with pytest.raises(PolicyViolation, match=r"site\.contact is empty"):
        require_consent(site)
    reachable = site.model_copy(update={"contact": "someone@example.org"})
    with pytest.raises(PolicyViolation, match=r"site\.terms_read is false"):
        require_consent(reachable)
    require_consent(reachable.model_copy(update={"terms_read": True}))
