"""Faults by name, for the command line.

`down`, `throttled:retry_after=5,times=3`, `dripping:/data/,pause=0.5`.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from sandbox import faults
from sandbox.board.records import Board
from sandbox.server.service import Fault

FAULTS: dict[str, type[Any]] = {
    re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower(): kind
    for kind in (
        *(
            faults.Forbidden,
            faults.Throttled,
            faults.Down,
            faults.Failing,
            faults.Challenge,
            faults.Missing,
        ),
        *(
            faults.Redirected,
            faults.Reset,
            faults.Truncated,
            faults.Shortened,
            faults.Unfinished,
            faults.Stalled,
        ),
        *(
            faults.Silent,
            faults.Dripping,
            faults.Flipped,
            faults.WrongBytes,
            faults.Html,
            faults.Bomb,
        ),
        *(
            faults.WrongChecksum,
            faults.Swapped,
            faults.MissingColumn,
            faults.ExtraColumns,
            faults.DoubledRows,
        ),
        *(
            faults.ExportBomb,
            faults.ExtraKeys,
            faults.DoubledPosts,
            faults.RepeatingCursor,
            faults.ShortPages,
        ),
        *(faults.V2Anyway, faults.JsonBomb),
    )
}
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
            board = faults.ManyTags(
                board, **_values(name, {"tags": int, "post_id": int}, arguments)
            )
        else:
            found.append(_fault(name, arguments, tomorrow))
    return board, faults.all_of(*found) if found else None


def described() -> str:
    """The names with what they do and what they take, one a line."""
    lines = [
        f"{name}: {_summary(kind)} [{', '.join(_fields(kind))}]"
        for name, kind in FAULTS.items()
    ]
    lines.append(f"{MANY_TAGS}: {_summary(faults.ManyTags)} [tags, post_id]")
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
    missing = [
        one.name
        for one in dataclasses.fields(kind)
        if one.init
        and one.name not in values
        and one.default is dataclasses.MISSING
        and one.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(
            f"the fault {name} needs {missing[0]}: --fault {name}:{missing[0]}=..."
        )
    fault: Fault = kind(**values)
    return fault


def _fields(kind: type[Any]) -> dict[str, Any]:
    """What may be given as text, with its type, in order."""
    hints = {
        **get_type_hints(kind),
        "where": str,
    }  # md5s in a text: /data/.*(one|another)
    return {
        one.name: hints[one.name]
        for one in dataclasses.fields(kind)
        if one.init and one.name != "board"
    }


def _values(name: str, fields: dict[str, Any], arguments: str) -> dict[str, Any]:
    """Reads `5,times=3`: what has no name is for the first field."""
    values = {}
    for argument in filter(None, arguments.split(",")):
        key, given, value = argument.partition("=")
        if not given:
            key, value = next(iter(fields)), argument
        if key not in fields:
            raise ValueError(
                f"the fault {name} takes no {key!r}; it takes {', '.join(fields)}"
            )
        try:
            values[key] = TypeAdapter(fields[key]).validate_python(value)
        except ValidationError as error:
            raise ValueError(
                f"the fault {name} cannot have {key}={value}: "
                f"{error.errors()[0]['msg']}"
            ) from error
    return values


def _summary(kind: type[Any]) -> str:
    return (inspect.getdoc(kind) or "").split("\n", 1)[0]
