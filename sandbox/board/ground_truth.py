"""The tags that are true of a scene, as no person typed them."""

from sandbox.board.scenes import Figure, Scene
from sandbox.board.species import BY_NAME
from sandbox.board.traits import ARTISTS, CHARACTERS, CLOSURE


def truth(scene: Scene) -> tuple[str, ...]:
    """Returns all true tags, implied ones included, each once, in a fixed order."""
    direct = [
        ARTISTS[scene.artist],
        ("solo", "duo", "group")[len(scene.figures) - 1],
        scene.framing,
        scene.view,
    ]
    if scene.character >= 0:
        character, _, series = CHARACTERS[scene.character]
        direct += [character, series] if series else [character]
    coloured = not scene.finish
    for figure in scene.figures:
        direct += _figure_tags(figure, scene, coloured)
    direct += ["plant" if thing == "potted" else thing for thing in scene.things]
    if scene.place in ("outside", "inside"):
        direct += [scene.place, "detailed_background"]
    elif coloured or scene.place != "blue_background":
        direct.append(scene.place)
    else:
        direct.append("simple_background")
    if scene.finish:
        direct.append(scene.finish)
    closed: dict[str, None] = {}
    for name in direct:
        closed.update(dict.fromkeys(CLOSURE[name]))
    return tuple(closed)


def _figure_tags(figure: Figure, scene: Scene, coloured: bool) -> list[str]:
    species = BY_NAME[figure.species]
    tags = [figure.species, "anthro" if figure.anthro else "feral"]
    tags += [
        word
        for word in (
            species.covering,
            figure.pose,
            figure.lids,
            figure.gaze,
            figure.mouth,
        )
        if word
    ]
    if figure.pose == "lying" and figure.lids == "eyes_closed":
        tags.append("sleeping")
    if coloured:
        tags.append(f"{figure.colour}_body")
        if figure.eyes:
            tags.append(
                "heterochromia"
                if figure.eyes == "heterochromia"
                else f"{figure.eyes}_eyes"
            )
    if figure.mouth == "tongue_out":
        tags.append("open_mouth")
    if figure.hair:
        tags.append(f"{figure.hair}_hair" if coloured else "hair")
        tags += ["long_hair"] if figure.long_hair else []
    if species.muzzle == "beak" and scene.view != "rear_view":
        tags.append("beak")
    if species.tail and scene.framing != "headshot_portrait":
        tags.append("fluffy_tail" if species.tail == "bushy" else "tail")
    if figure.held:
        tags += (
            ["waving"] if figure.held == "waving" else [figure.held, "holding_object"]
        )
    return [*tags, *figure.marks, *figure.worn]
