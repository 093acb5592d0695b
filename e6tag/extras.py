"""Packages that only some commands need: loaded when used, named where missing."""

import importlib
from types import ModuleType

from e6tag.errors import E6tagError


class MissingExtra(E6tagError):
    """A package is not installed that one of e6tag's extras brings."""


def load(module: str, *, extra: str) -> ModuleType:
    """Imports a module; raises MissingExtra where its package is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingExtra(
            f"{package} is not installed. In a checkout of e6tag, run pip install "
            f"'.[{extra}]'."
        ) from error
