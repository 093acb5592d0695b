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
from itertools import chain, filterfalse

MAX_NAME = 100  # characters of a tag name; contract section 6
IMPLIED_SHARE = 0.95  # of the images with a folder's word that must carry the parent's

NOISE = frozenset(
    {
        "clip_art",
        "clipart",
        "openclipart",
        "open_clip_art",
        "externalsource",
        "inkscape",
        "svg",
        "png",
        "image",
        "picture",
        "graphic",
        "hash",
        "example",
        "sample",
        "test",
        "unsorted",
        "duplicates",
        "special",
        "examples",
        "00_strawberry_border",
        "01_gift_certificate",
        "miscellany",
        "misc",
        "stock",
        "generic",
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
    words = list(map(_without_junk, pictures))
    all_names = chain.from_iterable(map(_all_names, words))
    aliases = _find_aliases(Counter(all_names))
    words = [_resolved(picture, aliases) for picture in words]
    meaningful = _shared_names(words).union(*map(_folder_names, words))
    tags = [
        (picture.keywords & meaningful) | _folder_names(picture) for picture in words
    ]
    implications = _find_implications(words, tags)
    closed = tuple(_closed(names, implications) for names in tags)
    return Vocabulary(closed, aliases, implications)


def tag_name(text: str) -> str:
    """The text as a tag name by the site's rules (contract section 6).

    Empty if nothing is left of it.
    """
    name = unicodedata.normalize("NFC", text).strip().lower()
    name = re.sub(r"\s+", "_", name)
    name = re.sub(r'[*,#%$\\"\x00-\x1f]', "", name)
    name = re.sub(r"([_~-])[_~-]+", r"\1", name)
    return name.lstrip("-~_+:(){}[]/`")[:MAX_NAME].rstrip("_")


def split_keywords(text: str) -> Iterator[str]:
    """Names of the tags in one keyword field: some hold a whole list."""
    return filter(None, map(tag_name, re.split("[,;]", text)))


def _without_junk(picture: Words) -> Words:
    own = {picture.artist, *(picture.artist or "").split("_")}
    keywords = filterfalse(_is_junk, picture.keywords - own)
    folders = tuple(map(_without_noise, picture.folders))
    return Words(frozenset(keywords), folders, picture.artist)


def _is_junk(keyword: str) -> bool:
    return keyword in NOISE or JUNK.fullmatch(keyword) is not None


def _without_noise(path: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in path if name not in NOISE)


def _folder_names(picture: Words) -> frozenset[str]:
    return frozenset(chain.from_iterable(picture.folders))


def _all_names(picture: Words) -> frozenset[str]:
    return picture.keywords | _folder_names(picture)


def _find_aliases(counts: Counter[str]) -> dict[str, str]:
    """From every plural and lesser spelling to the name that stands for it.

    No chains.
    """
    aliases = _plural_aliases(counts) | _spelling_aliases(counts)
    return {name: _end_of(name, aliases) for name in aliases}


def _plural_aliases(counts: Counter[str]) -> dict[str, str]:
    aliases = {}
    for name in sorted(counts):
        singulars = [singular for singular in _singulars(name) if singular in counts]
        if singulars:
            aliases[name] = _most_frequent(singulars, counts)
    return aliases


def _spelling_aliases(counts: Counter[str]) -> dict[str, str]:
    """From names that differ in `_` and `-` alone; `_` wins if they are as frequent."""
    spellings = defaultdict(list)
    for name in sorted(counts):
        spellings[re.sub("[_-]", "", name)].append(name)
    aliases = {}
    for group in spellings.values():
        best = max(group, key=lambda name: (counts[name], "_" in name, name))
        for name in group:
            if name != best:
                aliases[name] = best
    return aliases


def _most_frequent(names: Iterable[str], counts: Counter[str]) -> str:
    return max(names, key=lambda name: (counts[name], name))


def _singulars(name: str) -> Iterator[str]:
    if name.endswith("ss"):
        return
    for ending, singular in (("s", ""), ("es", ""), ("ies", "y")):
        if name.endswith(ending) and len(name) > len(ending) + 2:
            yield name.removesuffix(ending) + singular


def _end_of(name: str, aliases: Mapping[str, str]) -> str:
    passed = {name}
    following = aliases.get(name)
    while following and following not in passed:
        passed.add(following)
        name = following
        following = aliases.get(name)
    return name


def _resolved(picture: Words, aliases: Mapping[str, str]) -> Words:
    keywords = frozenset(_resolve(picture.keywords, aliases))
    folders = tuple(_resolve(path, aliases) for path in picture.folders)
    return Words(keywords, folders, picture.artist)


def _resolve(names: Iterable[str], aliases: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(aliases.get(name, name) for name in names)


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
    implications = {}
    for inner, parents in sorted(_parent_folders(words).items()):
        if len(parents) > 1:
            continue
        (outer,) = parents
        if outer and outer != inner and _is_implied(outer, inner, tags):
            implications[inner] = outer
    return implications


def _parent_folders(words: Iterable[Words]) -> dict[str, set[str | None]]:
    """The folders that each folder lies in; None for the top of the library."""
    parents: defaultdict[str, set[str | None]] = defaultdict(set)
    for picture in words:
        for path in picture.folders:
            for inner, outer in zip(path, (None, *path), strict=False):
                parents[inner].add(outer)
    return parents


def _is_implied(outer: str, inner: str, tags: Iterable[frozenset[str]]) -> bool:
    """Whether nearly all images with the inner folder's word carry the outer's."""
    carriers = [names for names in tags if inner in names]
    both = [names for names in carriers if outer in names]
    return len(both) >= IMPLIED_SHARE * len(carriers)


def _closed(names: frozenset[str], implications: Mapping[str, str]) -> frozenset[str]:
    closed = set(names)
    for name in names:
        implied = implications.get(name)
        while implied and implied not in closed:
            closed.add(implied)
            implied = implications.get(implied)
    return frozenset(closed)
