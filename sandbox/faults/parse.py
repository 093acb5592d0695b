"""Faults by name, for the command line.

Such as `down`, `throttled:retry_after=5,times=3`, `dripping:/data/,pause=0.5`.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from sandbox import faults
from sandbox.records import Board
from sandbox.server.service import Fault

_KINDS: tuple[type[Any], ...] = (
    faults.Forbidden,
    faults.Throttled,
    faults.Down,
    faults.Failing,
    faults.Challenge,
    faults.Missing,
    faults.Redirected,
    faults.Reset,
    faults.Truncated,
    faults.Shortened,
    faults.Unfinished,
    faults.Stalled,
    faults.Silent,
    faults.Dripping,
    faults.Flipped,
    faults.WrongBytes,
    faults.Html,
    faults.Bomb,
    faults.WrongChecksum,
    faults.Swapped,
    faults.MissingColumn,
    faults.ExtraColumns,
    faults.DoubledRows,
    faults.ExportBomb,
    faults.ExtraKeys,
    faults.DoubledPosts,
    faults.RepeatingCursor,
    faults.ShortPages,
    faults.V2Anyway,
    faults.JsonBomb,
)


def _name(kind: type[Any]) -> str:
    """`WrongBytes` is `wrong-bytes`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower()


FAULTS: dict[str, type[Any]] = {_name(kind): kind for kind in _KINDS}
"""By name; MANY_TAGS, which alters the board, is not among them."""

MANY_TAGS = "many-tags"


def spoil(
    board: Board, tomorrow: Callable[[], Board], texts: list[str]
) -> tuple[Board, Fault | None]:
    """The board and the fault that the texts ask for, NAME[:ARG,...] each.

    Raises ValueError in one line.

    `tomorrow` opens the board a day later.
    """
    found: list[Fault] = []
    for text in texts:
        name, _, arguments = text.partition(":")
        if name == MANY_TAGS:
            values = _values(name, {"tags": int, "post_id": int}, arguments)
            board = faults.ManyTags(board, **values)
        else:
            found.append(_fault(name, arguments, tomorrow))
    if not found:
        return board, None
    return board, faults.all_of(*found)


def described() -> str:
    """The names with what they do and what they take, one a line."""
    lines = [f"{MANY_TAGS}: {_summary(faults.ManyTags)} [tags, post_id]"]
    for name, kind in FAULTS.items():
        fields = ", ".join(_fields(kind))
        lines.append(f"{name}: {_summary(kind)} [{fields}]")
    return "\n".join(sorted(lines))


def _fault(name: str, arguments: str, tomorrow: Callable[[], Board]) -> Fault:
    kind = FAULTS.get(name)
    if kind is None:
        known = ", ".join([*FAULTS, MANY_TAGS])
        raise ValueError(
            f"there is no fault {name!r}; choose among {known}, or ask for help"
        )
    values = _values(name, _fields(kind), arguments)
    if kind is faults.Swapped:
        values["board"] = tomorrow()
    missing = [field for field in _required_fields(kind) if field not in values]
    if missing:
        raise ValueError(
            f"the fault {name} needs {missing[0]}: --fault {name}:{missing[0]}=..."
        )
    fault: Fault = kind(**values)
    return fault


def _fields(kind: type[Any]) -> dict[str, Any]:
    """What may be given as text, with its type, in order."""
    types = get_type_hints(kind)
    types["where"] = str  # md5s in a text: /data/.*(one|another)
    names = [one.name for one in dataclasses.fields(kind) if one.init]
    return {name: types[name] for name in names if name != "board"}


def _required_fields(kind: type[Any]) -> list[str]:
    """The fields without a default."""
    required = []
    for one in dataclasses.fields(kind):
        has_value = one.default is not dataclasses.MISSING
        has_factory = one.default_factory is not dataclasses.MISSING
        if one.init and not has_value and not has_factory:
            required.append(one.name)
    return required


def _values(name: str, fields: dict[str, Any], arguments: str) -> dict[str, Any]:
    """Reads `5,times=3`: what has no name is for the first field."""
    values: dict[str, Any] = {}
    for argument in filter(None, arguments.split(",")):
        key, given, value = argument.partition("=")
        if not given:
            key = next(iter(fields))
            value = argument
        if key not in fields:
            raise ValueError(
                f"the fault {name} takes no {key!r}; it takes {', '.join(fields)}"
            )
        if key in values:
            raise ValueError(
                f"the fault {name} has {key} twice: {values[key]} and {value}"
            )
        try:
            values[key] = TypeAdapter(fields[key]).validate_python(value)
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise ValueError(
                f"the fault {name} cannot have {key}={value}: {why}"
            ) from error
    return values


def _summary(kind: type[Any]) -> str:
    """Its doc string in one line."""
    text = inspect.getdoc(kind) or ""
    return " ".join(text.split())
