"""What a post shows: a scene of one to three figures, in tag words.

A scene says everything the art needs.
"""

from dataclasses import dataclass, replace

_COATS = ("white", "grey", "black", "brown", "orange", "blue")


@dataclass(slots=True)
class Figure:
    """One animal of a scene.

    Words are tags, or parts of tags (`colour` "grey" is `grey_body`, `grey_fur`).
    """

    species: str
    anthro: bool
    colour: str
    pose: str  # standing, sitting, lying, jumping; "" when the framing hides it
    eyes: str  # colour, "heterochromia", or "" when none are seen
    lids: str  # "", eyes_closed, one_eye_closed
    gaze: str  # "", looking_at_viewer, looking_aside, looking_up
    mouth: str  # "", smile, open_mouth, tongue_out, frown, teeth, :3
    hair: str  # colour or ""
    long_hair: bool
    marks: tuple[str, ...]  # markings and parts that not all of the species have
    worn: tuple[str, ...]
    held: str


@dataclass(slots=True)
class Scene:
    """One picture before it is drawn.

    `key` seeds the brush, so that variants of a scene differ only where meant.
    """

    key: str
    artist: int  # index into ARTISTS
    character: int  # index into CHARACTERS of the first figure, or -1
    framing: str  # full_body, half-length_portrait, headshot_portrait
    view: str  # front_view, side_view, rear_view
    figures: tuple[Figure, ...]
    place: str  # a kind of simple background, "outside" or "inside"
    things: tuple[str, ...]  # everything else that is seen, as tags
    finish: str  # "", greyscale, monochrome
    width: int
    height: int
    ext: str
    crop: float = 0.0  # share cut off each side
    quality: int = 90  # of the encoder, where the format has one
    # A re-encoded copy is drawn at full size, then made smaller by this.
    shrink: float = 1.0


def recolour(scene: Scene, u: float) -> Scene:
    """Returns the scene with its first figure in another coat: an artist's variant."""
    first = scene.figures[0]
    others = [colour for colour in _COATS if colour != first.colour]
    painted = replace(first, colour=others[int(u * len(others))])
    return replace(scene, figures=(painted, *scene.figures[1:]), character=-1)
