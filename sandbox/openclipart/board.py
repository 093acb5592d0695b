"""A board of real pictures.

The Debian packages `openclipart-png` and `openclipart-svg`, drawings in the public
domain.

Reads       /usr/share/openclipart/png/**/*.png and the metadata of
            the SVG file at the same path
Guarantees  posts, tags, relations and ids depend on the packages' contents alone;
            nothing is written

A post is one distinct file: of the 8,121 paths 1,221 are links that show a drawing in a
second folder, so there are 6,900 posts, each with the words of all its paths. Words are
the SVG's keywords (`dc:subject`) and the folders; the artist is the `dc:creator`. Which
words become tags, and which are junk, is the rule of `keywords.py`. Drawings of one
artist that differ in a number at the end of the file name are a series: the first is
the parent of the others.
"""

import hashlib
import re
import struct
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from sandbox.openclipart.keywords import (
    Vocabulary,
    Words,
    build_vocabulary,
    split_keywords,
    tag_name,
)
from sandbox.records import CATEGORIES, Post, Relation, Tag

ROOT = Path("/usr/share/openclipart")  # where the packages put their files

# Of the first post; the library grew from 2004 to 2010
OPENED = datetime(2005, 1, 1, tzinfo=UTC)
PACE = timedelta(hours=8)  # from post to post, which ends in 2011
NOW = datetime(2012, 1, 1, 5, 0, tzinfo=UTC)

DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
# Remarks and addresses that stand beside some creators' names
MAIL = re.compile(r"[\[(<].*?[\])>]|\S+@\S+")
SERIES = re.compile(r"[ _-]*\d+$")  # what tells the drawings of a series apart

UNKNOWN_UPLOADER = 99  # user id where no artist is named; those of artists follow


class OpenclipartMissing(RuntimeError):
    """The packages are not installed."""


@dataclass(slots=True)
class Drawing:
    """One distinct PNG file with what all its paths say of it.

    Grows while the folders are read.
    """

    paths: list[str]
    md5: str
    width: int
    height: int
    file_size: int
    keywords: set[str] = field(default_factory=set)
    artist: str | None = None

    @property
    def words(self) -> Words:
        """Its keywords, and the folders of every path."""
        folders = tuple(map(_folders, self.paths))
        return Words(frozenset(self.keywords), folders, self.artist)


def _folders(path: str) -> tuple[str, ...]:
    parts = path.split("/")[:-1]
    return tuple(map(tag_name, parts))


class OpenclipartBoard:
    """See `sandbox.records.Board`.

    `unreadable`: paths whose SVG is no XML, so that keywords are lacking.
    """

    name = "openclipart"
    day = 1
    now = NOW

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        if not (root / "png").is_dir() or not (root / "svg").is_dir():
            raise OpenclipartMissing(
                f"there are no drawings in {root}: run apt-get install openclipart-png "
                "openclipart-svg (156 MB)"
            )
        drawings = _read_drawings(root / "png")
        self.unreadable = _read_metadata(root / "svg", drawings)
        vocabulary = build_vocabulary([drawing.words for drawing in drawings])
        artist_tags = _name_artists(drawings, vocabulary)
        self.posts: Sequence[Post] = tuple(_posts(drawings, vocabulary, artist_tags))
        self.tags: Sequence[Tag] = _tags(
            self.posts, vocabulary, frozenset(artist_tags.values())
        )
        self.aliases: Sequence[Relation] = _relations(vocabulary.aliases.items())
        self.implications: Sequence[Relation] = _relations(
            vocabulary.implications.items()
        )
        self._files = {drawing.md5: drawing.paths[0] for drawing in drawings}

    def original(self, md5: str) -> bytes:
        """Returns the PNG file as installed; raises KeyError for an unknown md5."""
        return (self._root / "png" / self._files[md5]).read_bytes()


def _read_drawings(folder: Path) -> list[Drawing]:
    """Distinct files, by the first of their sorted paths."""
    drawings: dict[str, Drawing] = {}
    for file in sorted(folder.rglob("*.png")):
        data = file.read_bytes()
        path = file.relative_to(folder).as_posix()
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if md5 in drawings:
            drawings[md5].paths.append(path)
        else:
            width, height = struct.unpack(">II", data[16:24])  # a PNG's first chunk
            drawings[md5] = Drawing([path], md5, width, height, len(data))
    return list(drawings.values())


def _read_metadata(folder: Path, drawings: Iterable[Drawing]) -> tuple[str, ...]:
    """Fills in keywords and artists; returns the paths that are missing or no XML."""
    unreadable = []
    for drawing in drawings:
        for path in drawing.paths:
            try:
                metadata = _metadata(folder / Path(path).with_suffix(".svg"))
            except (OSError, ET.ParseError):
                unreadable.append(path)
                continue
            for keyword in _texts(metadata, "subject", "}li"):
                drawing.keywords.update(split_keywords(keyword))
            for creator in _texts(metadata, "creator", "}title"):
                drawing.artist = drawing.artist or _artist(creator)
    return tuple(unreadable)


def _metadata(file: Path) -> ET.Element | None:
    """The metadata element; what follows it, the drawing itself, is not parsed."""
    for _, element in ET.iterparse(file):  # noqa: S314  # files of a signed package, not from the network
        if element.tag.endswith("metadata"):
            return element
    return None


def _texts(metadata: ET.Element | None, name: str, ending: str) -> Iterable[str]:
    """Returns texts of the elements with that name inside Dublin Core elements."""
    if metadata is None:
        return
    for outer in metadata.iter(DUBLIN_CORE + name):
        for inner in outer.iter():
            if inner.tag.endswith(ending) and inner.text:
                yield inner.text


def _artist(creator: str) -> str | None:
    name = tag_name(MAIL.sub("", creator))
    if len(name) < 2 or name.startswith("hash("):
        return None
    return name


def _name_artists(
    drawings: Iterable[Drawing], vocabulary: Vocabulary
) -> dict[str, str]:
    """The tag of each artist: the name, marked where it is a word as well."""
    words = frozenset().union(vocabulary.aliases, *vocabulary.tags)
    names = sorted({drawing.artist for drawing in drawings if drawing.artist})
    tags = {}
    for name in names:
        tags[name] = f"{name}_(artist)" if name in words else name
    return tags


def _posts(
    drawings: Sequence[Drawing], vocabulary: Vocabulary, artist_tags: dict[str, str]
) -> Iterable[Post]:
    parents = _parents(drawings)
    uploaders = dict(zip(artist_tags, count(UNKNOWN_UPLOADER + 1), strict=False))
    tagged = zip(drawings, vocabulary.tags, strict=True)
    for number, (drawing, words) in enumerate(tagged, start=1):
        tags = words.union(_size_tags(drawing))
        uploader_id = UNKNOWN_UPLOADER
        if drawing.artist:
            tags |= {artist_tags[drawing.artist]}
            uploader_id = uploaders[drawing.artist]
        created = OPENED + (number - 1) * PACE
        yield Post(
            id=number,
            uploader_id=uploader_id,
            created_at=created,
            updated_at=created,
            md5=drawing.md5,
            ext="png",
            width=drawing.width,
            height=drawing.height,
            file_size=drawing.file_size,
            rating="s",
            tags=tuple(sorted(tags)),
            change_seq=number,
            parent_id=parents.get(drawing.md5),
            source="\n".join(drawing.paths),
            # Drawn for paper: on the site's dark blue, black lines would be lost
            bg_color="ffffff",
        )


def _parents(drawings: Iterable[Drawing]) -> dict[str, int]:
    """The parent's post id by md5: the first drawing of the same series."""
    first_members: dict[tuple[str, str], int] = {}
    parents = {}
    for number, drawing in enumerate(drawings, start=1):
        stem = Path(drawing.paths[0]).stem
        if not drawing.artist or not SERIES.search(stem):
            continue
        series = (drawing.artist, SERIES.sub("", stem).lower())
        first = first_members.setdefault(series, number)
        if first != number:
            parents[drawing.md5] = first
    return parents


def _size_tags(drawing: Drawing) -> Iterable[str]:
    """What the site derives from the size alone (contract section 6)."""
    width = drawing.width
    height = drawing.height
    if width >= 1600 or height >= 1200:
        yield "hi_res"
    if width >= 3200 or height >= 2400:
        yield "absurd_res"
    if width >= 10_000 and height >= 10_000:
        yield "superabsurd_res"
    if width <= 500 and height <= 500:
        yield "low_res"
    if width <= 250 and height <= 250:
        yield "thumbnail"


SIZE_TAGS = frozenset(
    {"hi_res", "absurd_res", "superabsurd_res", "low_res", "thumbnail"}
)


def _tags(
    posts: Iterable[Post], vocabulary: Vocabulary, artists: frozenset[str]
) -> tuple[Tag, ...]:
    """Every tag on a post, and those that are only aliased away, with no posts."""
    counts: Counter[str] = Counter()
    for post in posts:
        counts.update(post.tags)
    categories = {
        **dict.fromkeys(artists, "artist"),
        **dict.fromkeys(SIZE_TAGS, "meta"),
    }
    names = sorted({*counts, *vocabulary.aliases})
    tags = []
    for number, name in enumerate(names, start=1):
        category = CATEGORIES.index(categories.get(name, "general"))
        tags.append(Tag(number, name, category, counts[name], OPENED, OPENED))
    return tuple(tags)


def _relations(pairs: Iterable[tuple[str, str]]) -> tuple[Relation, ...]:
    relations = []
    for number, (before, after) in enumerate(sorted(pairs), start=1):
        relation = Relation(
            number,
            before,
            after,
            "active",
            OPENED,
            OPENED,
            creator_id=UNKNOWN_UPLOADER,
        )
        relations.append(relation)
    return tuple(relations)
