"""A tag of a bundle by what a person calls it."""

import difflib

from e6tag import bundle
from e6tag.bundle import Bundle, Tag
from e6tag.errors import E6tagError
from e6tag.tag_names import ALL_SPELLINGS

MOST_SUGGESTIONS = 5


class UnknownTag(E6tagError):
    """The network of a bundle does not know a tag."""


def find_tag(opened: Bundle, text: str) -> Tag:
    """Returns the tag that a text means; raises UnknownTag with near names.

    text: in any spelling (see tag_names), in capitals or not.
    """
    by_name = {tag.name: tag for tag in opened.tags}
    candidates = [text, *(spelling.read(text) for spelling in ALL_SPELLINGS)]
    candidates += [candidate.lower() for candidate in candidates]
    for candidate in candidates:
        if candidate in by_name:
            return by_name[candidate]
    renamed = dict(
        bundle.read_csv(opened.folder / bundle.RENAMED, bundle.RENAMED_COLUMNS)
    )
    for candidate in candidates:
        if candidate in renamed:
            raise UnknownTag(f"the tag {text} is called {renamed[candidate]} now")
    wanted = ALL_SPELLINGS[-1].read(text).lower()
    near = difflib.get_close_matches(wanted, by_name, n=MOST_SUGGESTIONS, cutoff=0.5)
    hint = f" Near it: {', '.join(near)}." if near else ""
    raise UnknownTag(f"this bundle knows no tag {text}.{hint}")
