"""The Jinja environment of everything that is written as HTML or Markdown."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2


def environment(folder: Path) -> "jinja2.Environment":
    """Returns an environment that reads templates from `folder`.

    Values are escaped, and an unknown name is an error.
    """
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
