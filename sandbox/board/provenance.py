"""Which posts are variants of which.

Originals, recoloured or cropped children, re-encoded copies, animations.

All of it is a pure function of (seed, index); the index counts posts from 0 in the
order of their ids.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random

from sandbox.board.random_scenes import compose
from sandbox.board.scenes import Scene, recolour

FIRST_ID = 10_007
_STRIDE = 3  # ids per post; those in between were expunged long ago


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a post comes from.

    `kind`: original, animation, recoloured, cropped, copy; `source` is an index or -1.
    """

    kind: str
    source: int
    parented: bool  # whether the post names its source as its parent
    u: float  # a number for details of the kind


def post_id(seed: int, index: int) -> int:
    """Returns the post's id: growing with the index, with gaps."""
    return (
        FIRST_ID
        + _STRIDE * index
        + sha256(f"{seed}/id/{index}".encode()).digest()[0] % _STRIDE
    )


def gap_id(seed: int, index: int) -> int:
    """Returns an id near the post's that no post has."""
    start = FIRST_ID + _STRIDE * index
    return start + (post_id(seed, index) - start + 1) % _STRIDE


def index_of(identifier: int) -> int:
    """Returns the index of the post that has this id, if any has."""
    return (identifier - FIRST_ID) // _STRIDE


def origin_of(seed: int, index: int) -> Origin:
    """Returns where a post comes from."""
    draw = Random(f"{seed}/lineage/{index}").random
    u, detail, back = draw(), draw(), draw()
    if index == 0 or u >= 0.085:
        return Origin("original", -1, False, detail)
    if u < 0.02:
        return Origin("animation", -1, False, detail)
    source = index - 1 - int(min(index - 1, 400) * back * back)
    while source and origin_of(seed, source).kind != "original":
        source -= 1
    if u < 0.06:
        return Origin("recoloured" if u < 0.045 else "cropped", source, True, detail)
    return Origin("copy", source, draw() < 0.4, detail)


def scene_of(seed: int, index: int, origin: Origin, replaced: bool = False) -> Scene:
    """Returns the scene of any post as its file shows it.

    `replaced`: after the better file of day 2 came in.
    """
    u = origin.u
    scene = compose(seed, index if origin.source < 0 else origin.source)
    if origin.kind == "animation":
        ext = "gif" if u < 0.5 else "webm" if u < 0.75 else "mp4" if u < 0.93 else "swf"
        scene = replace(scene, ext=ext)
    elif origin.kind == "recoloured":
        # A crop of its own keeps two children in the same colour apart: no two posts
        # may share an md5.
        scene = replace(recolour(scene, u), crop=0.01 + 0.03 * (1_000 * u % 1))
    elif origin.kind == "cropped":
        scene = replace(scene, crop=0.03 + 0.04 * u)
    elif origin.kind == "copy":
        scene = replace(
            scene,
            ext="jpg" if u < 0.9 else "webp",
            quality=55 + int(30 * u),
            shrink=0.62 + 0.36 * u,
        )
        if scene.place == "transparent_background":
            scene = replace(scene, place="white_background")
    if replaced:
        scene = replace(
            scene, width=scene.width * 5 // 4, height=scene.height * 5 // 4, quality=96
        )
    return scene
