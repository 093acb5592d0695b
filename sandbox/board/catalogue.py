"""The md5 and size of every file of the board, computed once.

With them the exports are true before anything is drawn.

Reads       sandbox/board/catalogue-621.bin
Writes      the same file, by `python -m sandbox catalogue`
Guarantees  an entry is what drawing the post gives, with the Pillow of
            requirements.lock; the file's first n entries serve every board of the same
            seed with n posts; same art, same bytes.
"""

import os
import struct
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import md5
from multiprocessing import get_context
from pathlib import Path

from sandbox.art.encode import file_bytes
from sandbox.board.provenance import origin_of, scene_of

SEED, POSTS = 621, 30_000  # the default board
REPLACED_EVERY = 1_000  # one post in so many gets another file on day 2
_REPLACED_FIRST = 90
_PATH = Path(__file__).with_name("catalogue-621.bin")
_HEADER = struct.Struct("<4sHqI")  # magic, version of the format, seed, posts
_MAGIC, _VERSION = b"E6C\0", 1
_ENTRY = struct.Struct("<16sI")
_CHUNK = 100  # files per task of the pool, about 1.5 s

File = tuple[str, int]
"""md5 in hex, size in bytes."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The files of a board.

    `originals` are by the index of their post; `replacements` take the place of some
    of them on day 2.
    """

    seed: int
    originals: tuple[File, ...]
    replacements: tuple[File, ...]  # of the posts that `is_replaced` names, in order


def new_posts(posts: int) -> int:
    """Returns how many posts come in on day 2 to a board of so many."""
    return max(3, posts // 100)


def is_replaced(index: int) -> bool:
    """Whether the post gets another file on day 2."""
    return index % REPLACED_EVERY == _REPLACED_FIRST


def replacement_of(index: int) -> int:
    """Returns where in `replacements` the file of a replaced post stands."""
    return index // REPLACED_EVERY


def load(seed: int, posts: int) -> Catalogue:
    """Returns the catalogue for a board of so many posts, days 1 and 2.

    Draws what the shipped one does not cover.
    """
    have = Catalogue(seed, (), ())
    if seed == SEED:
        have = _read() or have
    count, replaced = _counts(posts)
    originals = have.originals[:count]
    replacements = have.replacements[:replaced]
    lacking = range(len(originals), count)
    wanted = _files(lacking, range(len(replacements), replaced))
    if not wanted:
        return Catalogue(seed, originals, replacements)
    print(
        f"sandbox: drawing {len(wanted):,} pictures that the catalogue does not cover",
        file=sys.stderr,
    )
    drawn = _draw_all(seed, wanted, quiet=len(wanted) < 2_000)
    return Catalogue(
        seed,
        (*originals, *drawn[: len(lacking)]),
        (*replacements, *drawn[len(lacking) :]),
    )


def rebuild() -> None:
    """Draws the whole default board and writes its catalogue; a few minutes."""
    count, replaced = _counts(POSTS)
    wanted = _files(range(count), range(replaced))
    files = _draw_all(SEED, wanted, quiet=False)
    body = b"".join(_ENTRY.pack(bytes.fromhex(name), size) for name, size in files)
    part = _PATH.with_suffix(".part")
    part.write_bytes(_HEADER.pack(_MAGIC, _VERSION, SEED, POSTS) + body)
    part.rename(_PATH)
    print(f"sandbox: wrote {_PATH.name}, {len(files):,} files", file=sys.stderr)


def _counts(posts: int) -> tuple[int, int]:
    """How many originals (both days) and how many replacements a board has."""
    return posts + new_posts(posts), len(range(_REPLACED_FIRST, posts, REPLACED_EVERY))


def _files(originals: range, replacements: range) -> list[tuple[int, bool]]:
    """Returns index and whether it is the replacement, of files by their place."""
    files = [(index, False) for index in originals]
    files += [
        (REPLACED_EVERY * place + _REPLACED_FIRST, True) for place in replacements
    ]
    return files


def _read() -> Catalogue | None:
    if not _PATH.exists():
        return None
    data = _PATH.read_bytes()
    magic, version, seed, posts = _HEADER.unpack_from(data)
    if (magic, version) != (_MAGIC, _VERSION):
        return None
    count, replaced = _counts(posts)
    entries = _ENTRY.iter_unpack(data[_HEADER.size :])
    files = [(name.hex(), size) for name, size in entries]
    return Catalogue(seed, tuple(files[:count]), tuple(files[count : count + replaced]))


def _draw_all(seed: int, wanted: list[tuple[int, bool]], quiet: bool) -> list[File]:
    chunks = [wanted[start : start + _CHUNK] for start in range(0, len(wanted), _CHUNK)]
    if len(chunks) == 1:
        return _draw_some(seed, chunks[0])
    files: list[File] = []
    reported = time.monotonic()
    spawn = get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
        for some in pool.map(_draw_some, [seed] * len(chunks), chunks):
            files += some
            if not quiet and time.monotonic() - reported > 10:
                reported = time.monotonic()
                print(
                    f"sandbox: {len(files):,} of {len(wanted):,} pictures drawn",
                    file=sys.stderr,
                )
    return files


def _draw_some(seed: int, wanted: list[tuple[int, bool]]) -> list[File]:
    files = []
    for index, replaced in wanted:
        scene = scene_of(seed, index, origin_of(seed, index), replaced)
        data = file_bytes(scene)
        files.append((md5(data, usedforsecurity=False).hexdigest(), len(data)))
    return files
