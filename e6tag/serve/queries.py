"""The parameters of a request, read strictly: what is not understood is refused."""

import re
from collections.abc import Sequence

from aiohttp import web

from e6tag.serve.refusals import Code, Refusal

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[0-9]{1,9}")


class Query:
    """The parameters of one request.

    Each method raises Refusal: for a value out of bounds, and for a parameter given
    more often than it counts. Last comes `end`.
    """

    def __init__(self, request: web.Request) -> None:
        self._given = request.query
        self._known: set[str] = set()

    def end(self) -> None:
        """Raises Refusal for parameters that nobody asked about."""
        unknown = sorted(set(self._given) - self._known)
        if unknown:
            raise _bad(f"There is no parameter {unknown[0]!r}.")

    def texts(self, name: str, *, most: int) -> list[str]:
        """Returns all values of a parameter that may be repeated."""
        self._known.add(name)
        found = self._given.getall(name, [])
        if len(found) > most:
            raise _bad(f"{name} is given {len(found)} times, at most {most} are read.")
        if "" in found:
            raise _bad(f"{name} is empty.")
        return found

    def text(self, name: str) -> str | None:
        """Returns the value of a parameter that may be given once."""
        found = self.texts(name, most=1)
        return found[0] if found else None

    def number(self, name: str, *, least: float, most: float) -> float | None:
        """Returns a number within bounds."""
        text = self.text(name)
        if text is None:
            return None
        if not _NUMBER.fullmatch(text) or not least <= float(text) <= most:
            raise _bad(f"{name} is not a number from {least:g} to {most:g}.")
        return float(text)

    def integer(self, name: str, *, least: int, most: int) -> int | None:
        """Returns a whole number within bounds."""
        text = self.text(name)
        if text is None:
            return None
        if not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
            raise _bad(f"{name} is not a whole number from {least} to {most}.")
        return int(text)

    def choice(self, name: str, allowed: Sequence[str]) -> str | None:
        """Returns one of the values that are allowed."""
        text = self.text(name)
        if text is not None and text not in allowed:
            raise _bad(f"{name} is none of {', '.join(allowed)}.")
        return text

    def choices(self, name: str, allowed: Sequence[str]) -> list[str]:
        """Returns those of the values that are allowed."""
        found = self.texts(name, most=len(allowed))
        for text in found:
            if text not in allowed:
                raise _bad(f"{name} is none of {', '.join(allowed)}.")
        return found


def _bad(message: str) -> Refusal:
    return Refusal(Code.BAD_PARAMETER, message)
