"""What the models of parameters have in common.

A parameter with choices is a discriminated union of pydantic models, told apart by
their `name`. The models stand beside what they choose between, in modules named
`choices`; `pipeline.params` joins them.
"""

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A section of params.yaml: frozen; unknown keys, infinities and NaN refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=False, allow_inf_nan=False
    )


class Choice(Section):
    """One of the values of a parameter with choices, with parameters of its own.

    A subclass gives `name` a literal as type and as default. The first line of its doc
    string is the description of the choice.
    """

    name: str

    def arguments(self) -> dict[str, Any]:
        """Returns the parameters of the choice, which its builder takes by name."""
        return self.model_dump(exclude={"name"})


def choices(field: FieldInfo) -> dict[str, type[Choice]]:
    """Returns the choices of a parameter by their names; none where it has no choices.

    An annotation of one choice is a class, and a union where there are several.
    """
    members = get_args(field.annotation) or (field.annotation,)
    found = {}
    for member in members:
        if isinstance(member, type) and issubclass(member, Choice):
            found[member.model_fields["name"].default] = member
    return found


def description(model: type[Section], name: str) -> str:
    """Returns the description of a parameter, with its unit and effect."""
    if issubclass(model, Choice) and name == "name":
        return str(model.__doc__).splitlines()[0].rstrip(".")
    return str(model.model_fields[name].description)
