"""Turns keywords and folders of an image library into tags, aliases and implications.

A keyword becomes a tag unless it is junk:

- a name of the image's own artist, whole or in part;
- a word about the collection or the file and not about the image (`NOISE`), which also
  keeps folders out;
- a number, a single letter, a web or mail address, or the `hash(0x8a3eca4)` that a
  script once wrote into every file;
- a keyword that one artist alone uses and that is no folder's name: it separates that
  artist from others more than one image from another.

Folders are tags as well. Where both forms occur, a plural is an alias of its singular
(`stars`, `star`) and a spelling of the most frequent one (`northamerica`,
`north_america`). A folder implies its parent folder (`bird`, `animal`) if it has only
one, and if nearly all images that carry its word, by keyword too, carry the parent's:
`africa` is a folder of flags, but a map of Africa is no flag.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

MAX_NAME = 100  # characters of a tag name; contract section 6
# Of the pictures with a folder's word that must carry the one above it, to make it
# implied
IMPLIED_SHARE = 0.95

NOISE = frozenset(
    {
        *(
            "clip_art",
            "clipart",
            "openclipart",
            "open_clip_art",
            "externalsource",
            "inkscape",
        ),
        *(
            "svg",
            "png",
            "image",
            "picture",
            "graphic",
            "hash",
            "example",
            "sample",
            "test",
        ),
        *(
            "unsorted",
            "duplicates",
            "special",
            "examples",
            "00_strawberry_border",
            "01_gift_certificate",
        ),
        *("miscellany", "misc", "stock", "generic"),
    }
)
JUNK = re.compile(r".|[\d._-]+|hash\(.*|www\..*|.*://.*|.*@.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Words:
    """What a library says of one picture.

    `folders` holds a path of folder names for each place it lies in.
    """

    keywords: frozenset[str]
    folders: tuple[tuple[str, ...], ...]
    artist: str | None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`tags`: of each image, in order, aliases resolved and implications followed."""

    tags: tuple[frozenset[str], ...]
    aliases: Mapping[str, str]
    implications: Mapping[str, str]


def build_vocabulary(pictures: Sequence[Words]) -> Vocabulary:
    """Applies the rules above to a whole library; names must come from `tag_name`."""
    words = [_without_junk(picture) for picture in pictures]
    aliases = _find_aliases(
        Counter(name for picture in words for name in _all_names(picture))
    )
    words = [_resolved(picture, aliases) for picture in words]
    meaningful = _shared_names(words).union(*map(_folder_names, words))
    tags = [
        (picture.keywords & meaningful) | _folder_names(picture) for picture in words
    ]
    implications = _find_implications(words, tags)
    return Vocabulary(
        tuple(_closed(names, implications) for names in tags), aliases, implications
    )


def tag_name(text: str) -> str:
    """The text as a tag name by the site's rules (contract section 6).

    Empty if nothing is left of it.
    """
    name = re.sub(r"\s+", "_", unicodedata.normalize("NFC", text).strip().lower())
    name = re.sub(r'[*,#%$\\"\x00-\x1f]', "", name)
    name = re.sub(r"([_~-])[_~-]+", r"\1", name)
    return name.lstrip("-~_+:(){}[]/`")[:MAX_NAME].rstrip("_")


def split_keywords(text: str) -> Iterator[str]:
    """Names of the tags in one keyword field: some hold a whole list."""
    return filter(None, map(tag_name, re.split("[,;]", text)))


def _without_junk(picture: Words) -> Words:
    own = {picture.artist, *(picture.artist or "").split("_")}
    keywords = {
        name for name in picture.keywords if name not in own and name not in NOISE
    }
    folders = tuple(
        tuple(name for name in path if name not in NOISE) for path in picture.folders
    )
    return Words(
        frozenset(name for name in keywords if not JUNK.fullmatch(name)),
        folders,
        picture.artist,
    )


def _folder_names(picture: Words) -> frozenset[str]:
    return frozenset(name for path in picture.folders for name in path)


def _all_names(picture: Words) -> frozenset[str]:
    return picture.keywords | _folder_names(picture)


def _find_aliases(counts: Counter[str]) -> dict[str, str]:
    """From every plural and lesser spelling to the name that stands for it.

    No chains.
    """
    aliases: dict[str, str] = {}
    spellings = defaultdict(list)
    for name in sorted(counts):
        spellings[re.sub("[_-]", "", name)].append(name)
        singulars = [candidate for candidate in _singulars(name) if candidate in counts]
        if singulars:
            aliases[name] = max(
                singulars, key=lambda candidate: (counts[candidate], candidate)
            )
    for group in spellings.values():
        best = max(group, key=lambda name: (counts[name], "_" in name, name))
        aliases |= {name: best for name in group if name != best}
    return {name: _end_of(name, aliases) for name in aliases}


def _singulars(name: str) -> Iterator[str]:
    for ending, singular in (("s", ""), ("es", ""), ("ies", "y")):
        if (
            name.endswith(ending)
            and not name.endswith("ss")
            and len(name) > len(ending) + 2
        ):
            yield name.removesuffix(ending) + singular


def _end_of(name: str, aliases: Mapping[str, str]) -> str:
    passed = {name}
    while (following := aliases.get(name)) and following not in passed:
        passed.add(following)
        name = following
    return name


def _resolved(picture: Words, aliases: Mapping[str, str]) -> Words:
    keywords = frozenset(aliases.get(name, name) for name in picture.keywords)
    folders = tuple(
        tuple(aliases.get(name, name) for name in path) for path in picture.folders
    )
    return Words(keywords, folders, picture.artist)


def _shared_names(words: Iterable[Words]) -> frozenset[str]:
    """Keywords used by two artists or more; those of unknown ones count for nobody."""
    users = defaultdict(set)
    for picture in words:
        if picture.artist:
            for name in picture.keywords:
                users[name].add(picture.artist)
    return frozenset(name for name, artists in users.items() if len(artists) > 1)


def _find_implications(
    words: Iterable[Words], tags: Sequence[frozenset[str]]
) -> dict[str, str]:
    above: defaultdict[str, set[str | None]] = defaultdict(set)
    for picture in words:
        for path in picture.folders:
            for inner, outer in zip(path, (None, *path), strict=False):
                above[inner].add(outer)
    implications = {}
    for inner, places in sorted(above.items()):
        outer = next(iter(places))
        if len(places) == 1 and outer and outer != inner:
            carriers = [names for names in tags if inner in names]
            if sum(outer in names for names in carriers) >= IMPLIED_SHARE * len(
                carriers
            ):
                implications[inner] = outer
    return implications


def _closed(names: frozenset[str], implications: Mapping[str, str]) -> frozenset[str]:
    closed = set(names)
    for name in names:
        implied = implications.get(name)
        while implied and implied not in closed:
            closed.add(implied)
            implied = implications.get(implied)
    return frozenset(closed)
