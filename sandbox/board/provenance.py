"""Which posts are variants of which.

Originals, recoloured or cropped children, re-encoded copies, animations.

All of it is a pure function of (seed, index); the index counts posts from 0 in the
order of their ids.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random

from sandbox.board.random_scenes import compose
from sandbox.world.random_choice import by_threshold
from sandbox.world.scenes import Scene, recolour

FIRST_ID = 10_007
_ANIMATIONS = ((0.5, "gif"), (0.75, "webm"), (0.93, "mp4"), (1.0, "swf"))
_COPIES = ((0.9, "jpg"), (1.0, "webp"))
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
    digest = sha256(f"{seed}/id/{index}".encode()).digest()
    return FIRST_ID + _STRIDE * index + digest[0] % _STRIDE


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
    if u < 0.045:
        return Origin("recoloured", source, True, detail)
    if u < 0.06:
        return Origin("cropped", source, True, detail)
    return Origin("copy", source, draw() < 0.4, detail)


def scene_of(seed: int, index: int, origin: Origin, replaced: bool = False) -> Scene:
    """Returns the scene of any post as its file shows it.

    `replaced`: after the better file of day 2 came in.
    """
    u = origin.u
    drawn = index if origin.source < 0 else origin.source
    scene = compose(seed, drawn)
    if origin.kind == "animation":
        scene = replace(scene, ext=by_threshold(u, _ANIMATIONS))
    elif origin.kind == "recoloured":
        # A crop of its own keeps two children in the same colour apart: no two posts
        # may share an md5.
        scene = replace(recolour(scene, u), crop=0.01 + 0.03 * (1_000 * u % 1))
    elif origin.kind == "cropped":
        scene = replace(scene, crop=0.03 + 0.04 * u)
    elif origin.kind == "copy":
        scene = _copied(scene, u)
    if replaced:
        width, height = scene.width * 5 // 4, scene.height * 5 // 4
        scene = replace(scene, width=width, height=height, quality=96)
    return scene


def _copied(scene: Scene, u: float) -> Scene:
    """Returns the scene as somebody encoded it again, smaller and without holes."""
    place = scene.place
    if place == "transparent_background":
        place = "white_background"
    return replace(
        scene,
        ext=by_threshold(u, _COPIES),
        quality=55 + int(30 * u),
        shrink=0.62 + 0.36 * u,
        place=place,
    )
