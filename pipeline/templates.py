"""The Jinja environment of everything that is written as HTML or Markdown."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2


def environment(folder: Path, *, is_html: bool = True) -> "jinja2.Environment":
    """Returns an environment that reads templates from `folder`.

    Values are escaped in HTML, and an unknown name is an error.
    """
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=is_html,  # noqa: S701 -- Markdown is read as text
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not is_html,
        undefined=jinja2.StrictUndefined,
    )
