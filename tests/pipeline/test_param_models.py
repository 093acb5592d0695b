"""Parameters with choices: what they choose between, and what a builder is given."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from pipeline.param_models import Choice, Section, choices, description


class Plain(Choice):
    """A choice without parameters."""

    name: Literal["plain"] = "plain"


class Wide(Choice):
    """A choice with a parameter."""

    name: Literal["wide"] = "wide"
    width: int = Field(default=3, description="channels")


class Model(Section):
    """A section with parameters that have two choices, one choice, and none."""

    several: Annotated[Plain | Wide, Field(discriminator="name")] = Plain()
    one: Annotated[Wide, Field(discriminator="name")] = Wide()
    rate: float | None = None
    sizes: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("several", {"plain": Plain, "wide": Wide}),
        ("one", {"wide": Wide}),
        ("rate", {}),
        ("sizes", {}),
    ],
)
def test_choices_are_found_by_their_names(
    parameter: str, expected: dict[str, type[Choice]]
) -> None:
    assert choices(Model.model_fields[parameter]) == expected


def test_a_choice_is_made_by_its_name() -> None:
    model = Model.model_validate({"several": {"name": "wide", "width": 5}})
    assert model.several == Wide(width=5)
    assert model.several.arguments() == {"width": 5}
    assert model.one.arguments() == {"width": 3}
    assert Plain().arguments() == {}


def test_description_of_a_choice_is_the_first_line_of_its_doc_string() -> None:
    assert description(Wide, "name") == "A choice with a parameter"
    assert description(Wide, "width") == "channels"
