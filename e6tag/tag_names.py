"""How names of tags are written: underscores or spaces, parentheses escaped or not.

Names are the site's: no white space, no commas. Kaomoji such as `^_^` keep their
underscores, since no reader takes `^ ^` for one. A backslash escapes where prompts are
read by programs to which parentheses mean emphasis.
"""

import re
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]{2,}")
"""Two letters or digits in a row: a name without any is a kaomoji, such as `o_o`."""

_ESCAPABLE = re.compile(r"([\\()])")
_ESCAPED = re.compile(r"\\([\\()])")


@dataclass(frozen=True, slots=True)
class Spelling:
    """How names are written.

    has_spaces: for underscores. is_escaped: whether a backslash stands before each
    parenthesis and each backslash.
    """

    has_spaces: bool = False
    is_escaped: bool = False

    def write(self, name: str) -> str:
        """Returns how the site's name of a tag is written."""
        text = name
        if self.has_spaces and _may_have_spaces(name):
            text = name.replace("_", " ")
        if self.is_escaped:
            text = _ESCAPABLE.sub(r"\\\1", text)
        return text

    def read(self, text: str) -> str:
        """Returns the site's name of a tag that was written this way."""
        if self.is_escaped:
            text = _ESCAPED.sub(r"\1", text)
        return text.strip().replace(" ", "_")


ALL_SPELLINGS = (
    Spelling(),
    Spelling(has_spaces=True),
    Spelling(is_escaped=True),
    Spelling(has_spaces=True, is_escaped=True),
)


def written_forms(name: str) -> frozenset[str]:
    """Returns all ways in which files of this or other programs may have a name."""
    forms = {spelling.write(name) for spelling in ALL_SPELLINGS}
    # Programs that know no kaomoji.
    forms.add(name.replace("_", " "))
    return frozenset(forms)


def _may_have_spaces(name: str) -> bool:
    """Returns whether underscores stand between words, and not in a kaomoji."""
    if name.startswith("_") or name.endswith("_"):
        return False
    return _WORD.search(name) is not None
