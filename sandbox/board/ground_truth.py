"""The tags that are true of a scene, as no person typed them."""

from sandbox.world.scenes import Figure, Scene
from sandbox.world.species import BY_NAME, Species
from sandbox.world.traits import ARTISTS, CHARACTERS, CLOSURE

_TAGS_OF_THINGS = {"potted": "plant"}
_CAST = {1: "solo", 2: "duo", 3: "group"}


def truth(scene: Scene) -> tuple[str, ...]:
    """Returns all true tags, implied ones included, each once, in a fixed order."""
    cast = _CAST[len(scene.figures)]
    direct = [ARTISTS[scene.artist], cast, scene.framing, scene.view]
    direct += _character_tags(scene.character)
    coloured = not scene.finish
    for figure in scene.figures:
        direct += _figure_tags(figure, scene, coloured)
    direct += [_TAGS_OF_THINGS.get(thing, thing) for thing in scene.things]
    direct += _place_tags(scene.place, coloured)
    if scene.finish:
        direct.append(scene.finish)
    closed: dict[str, None] = {}
    for name in direct:
        closed.update(dict.fromkeys(CLOSURE[name]))
    return tuple(closed)


def _character_tags(number: int) -> list[str]:
    if number < 0:
        return []
    character, _, series = CHARACTERS[number]
    if series:
        return [character, series]
    return [character]


def _place_tags(place: str, coloured: bool) -> list[str]:
    if place in ("outside", "inside"):
        return [place, "detailed_background"]
    if place == "blue_background" and not coloured:
        return ["simple_background"]
    return [place]


def _figure_tags(figure: Figure, scene: Scene, coloured: bool) -> list[str]:
    species = BY_NAME[figure.species]
    tags = [figure.species, "anthro" if figure.anthro else "feral"]
    words = (species.covering, figure.pose, figure.lids, figure.gaze, figure.mouth)
    tags += [word for word in words if word]
    if figure.pose == "lying" and figure.lids == "eyes_closed":
        tags.append("sleeping")
    if coloured:
        tags.append(f"{figure.colour}_body")
        tags += _eye_tags(figure.eyes)
    if figure.mouth == "tongue_out":
        tags.append("open_mouth")
    tags += _hair_tags(figure, coloured)
    tags += _part_tags(species, scene)
    if figure.held:
        tags.append(figure.held)
        if figure.held != "waving":
            tags.append("holding_object")
    return [*tags, *figure.marks, *figure.worn]


def _part_tags(species: Species, scene: Scene) -> list[str]:
    """What is seen of beak and tail."""
    tags = []
    if species.muzzle == "beak" and scene.view != "rear_view":
        tags.append("beak")
    if species.tail and scene.framing != "headshot_portrait":
        tail = "fluffy_tail" if species.tail == "bushy" else "tail"
        tags.append(tail)
    return tags


def _eye_tags(eyes: str) -> list[str]:
    if not eyes:
        return []
    if eyes == "heterochromia":
        return [eyes]
    return [f"{eyes}_eyes"]


def _hair_tags(figure: Figure, coloured: bool) -> list[str]:
    if not figure.hair:
        return []
    tags = [f"{figure.hair}_hair" if coloured else "hair"]
    if figure.long_hair:
        tags.append("long_hair")
    return tags
