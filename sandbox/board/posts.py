"""From an index to a post of day 1: the scene's truth, what people typed.

And everything else a post says.

Ratings, ages and opt-outs are metadata only: no picture of the sandbox shows any of
them.
"""

from datetime import UTC, datetime, timedelta
from random import Random

from sandbox.art.encode import final_size
from sandbox.art.style import STYLES
from sandbox.board.annotators import annotate, let_lag
from sandbox.board.ground_truth import truth
from sandbox.board.provenance import gap_id, origin_of, post_id, scene_of
from sandbox.board.random_choice import Draw
from sandbox.board.records import Post
from sandbox.board.scenes import Scene
from sandbox.board.traits import CLOSURE, YOUNG

FIRST_DAY = datetime(2016, 1, 5, 9, 0, tzinfo=UTC)
LAST_DAY = datetime(
    2026, 6, 30, 3, 0, tzinfo=UTC
)  # day 1's exports follow 26 hours later
# Posts between the two; a larger board's further posts crowd into the day after
_SPREAD = 30_000
# Posts before this index were last saved under older aliases and implications
_OLD = 12_000
_FIRST_CHANGE, _CHANGES = (
    5_000_000,
    16,
)  # change_seq of the first post and step per post
ANIMATED = ("gif", "webm", "mp4", "swf")

_DESCRIPTIONS = (
    "A quiet day.\n\nDrawn in one sitting, coffee included.",
    'They said "hold still", so it didn\'t.',
    'Line one,\r\nline two, with a comma,\r\n"line three" with quotes',
    "[b]Commission[/b] for a friend; see the source, please.",
    'h3. Old wiki syntax\r\n\r\n* first\r\n* second, "third"\r\n',
    "Für Zoë 🦊 — 狐の絵",
    "trailing space \nand a \\ backslash, a \ttab",
    ",",
    '"',
)


def make_post(
    seed: int, index: int, file: tuple[str, int], created: datetime | None = None
) -> Post:
    """Returns the post on day 1, or on its first day if `created` is given."""
    draw = Random(f"{seed}/post/{index}").random
    origin = origin_of(seed, index)
    scene = scene_of(seed, index, origin)
    hidden = _unseen_tags(draw)
    tags = _given_tags(scene, hidden, draw, old=index < _OLD)
    width, height = final_size(scene)
    made = created or created_at(index, draw())
    identifier = post_id(seed, index)
    parent = post_id(seed, origin.source) if origin.parented else None
    if parent is None and draw() < 0.003:
        parent = gap_id(seed, index // 2)  # expunged since
    score = int(60 * draw() * draw() * draw())
    deleted = draw() < 0.04
    return Post(
        id=identifier,
        uploader_id=100 + int(900 * draw() ** 3),
        created_at=made,
        updated_at=_updated(made, draw) if created is None else None,
        md5=file[0],
        ext=scene.ext,
        width=width,
        height=height,
        file_size=file[1],
        rating=_rating(draw()),
        tags=tags,
        change_seq=_FIRST_CHANGE + _CHANGES * index + int(_CHANGES * draw()),
        locked_tags=_locked(draw()),
        parent_id=parent,
        source=_source(scene, identifier, draw()),
        description=_DESCRIPTIONS[int(draw() * len(_DESCRIPTIONS))]
        if draw() < 0.22
        else "",
        duration=round(0.4 + 55 * draw() ** 3, 2)
        if scene.ext in ANIMATED[:3]
        else None,
        bg_color="f4e1c6"
        if scene.place == "transparent_background" and draw() < 0.5
        else None,
        approver_id=11 + int(20 * draw()) if draw() < 0.8 else None,
        fav_count=score * 2 + int(9 * draw()),
        comment_count=int(8 * draw() ** 4),
        up_score=score,
        down_score=-int(5 * draw() ** 3),
        is_deleted=deleted,
        is_pending=not deleted and draw() < 0.006,
        is_flagged=not deleted and draw() < 0.004,
        is_rating_locked=draw() < 0.02,
        is_status_locked=draw() < 0.01,
        is_note_locked=draw() < 0.01,
        is_hidden_from_anonymous=draw() < 0.01,
    )


def truth_of(seed: int, index: int, replaced: bool = False) -> tuple[str, ...]:
    """Returns everything that is true of the post: what is seen, what the file says.

    And what only its tags know.
    """
    draw = Random(f"{seed}/post/{index}").random
    scene = scene_of(seed, index, origin_of(seed, index), replaced)
    return tuple(dict.fromkeys([*truth(scene), *file_tags(scene), *_unseen_tags(draw)]))


def file_tags(scene: Scene) -> list[str]:
    """Returns the tags that the site derives from the file (contract section 6)."""
    width, height = final_size(scene)
    tags = []
    if width >= 1600 or height >= 1200:
        tags.append("hi_res")
    if width >= 3200 or height >= 2400:
        tags.append("absurd_res")
    if width <= 500 and height <= 500:
        tags.append("low_res")
    kind = {"gif": "animated_gif", "webm": "webm", "mp4": "video", "swf": "flash"}.get(
        scene.ext
    )
    return [*tags, *CLOSURE[kind]] if kind else tags


def created_at(index: int, u: float) -> datetime:
    """Returns when a post came in.

    Posts grow denser over the years; `u` places it between its neighbours.
    """
    x = (index + u) / _SPREAD
    if x < 1:
        moment = FIRST_DAY + (LAST_DAY - FIRST_DAY) * (x * (1.6 - 0.6 * x))
    else:
        moment = LAST_DAY + timedelta(hours=24) * (1 - 1 / x)
    return moment.replace(microsecond=moment.microsecond // 10_000 * 10_000)


def _unseen_tags(draw: Draw) -> list[str]:
    """Tags that are true but not drawn.

    Always the same number of draws, so that `truth_of` can repeat them.
    """
    u, v, w, x = draw(), draw(), draw(), draw()
    tags: list[str] = []
    if u < 0.027:
        tags += CLOSURE[YOUNG[int(u / 0.009)]]
    if v < 0.016:
        tags.append("avoid_posting" if v < 0.006 else "conditional_dnp")
    elif v > 0.97:
        tags.append("comic")
    if w < 0.72:
        tags.append(
            "digital_media_(artwork)" if w < 0.68 else "traditional_media_(artwork)"
        )
    elif w > 0.985:
        tags.append(
            ("siblings_(lore)", "time_travel_(lore)", "disguised_(lore)")[
                int((w - 0.985) * 200)
            ]
        )
    if x < 0.02:
        tags.append("paper_crane_(colorist)" if x < 0.013 else "böcklin_(editor)")
    elif x > 0.97:
        tags.append("colored" if x < 0.99 else "alternate_version_at_source")
    return tags


def _given_tags(
    scene: Scene, unseen: list[str], draw: Draw, old: bool
) -> tuple[str, ...]:
    seen = truth(scene)
    carelessness = (
        STYLES[scene.artist].carelessness * (1.0, 1.25, 1.5)[len(scene.figures) - 1]
    )
    given = annotate((*seen, *unseen), carelessness, draw)
    given = let_lag(given, old, draw)
    given.update(file_tags(scene))
    return tuple(sorted(given or {"tagme"}))


def _updated(made: datetime, draw: Draw) -> datetime | None:
    if draw() < 0.08:
        return None
    later = made + (LAST_DAY + timedelta(hours=25) - made) * (draw() ** 2)
    return max(made, later.replace(microsecond=0))


def _rating(u: float) -> str:
    return "s" if u < 0.65 else "q" if u < 0.85 else "e"


def _locked(u: float) -> tuple[str, ...]:
    """Locked tags: now and then the only place where an opt-out stands."""
    if u < 0.004:
        return ("conditional_dnp",) if u < 0.002 else ("avoid_posting",)
    return ("-cub", "fox") if u < 0.006 else ("-young",) if u < 0.01 else ()


def _source(scene: Scene, identifier: int, u: float) -> str:
    if u < 0.25:
        return ""
    first = f"https://art.example/{scene.artist}/{identifier}"
    return (
        first
        if u < 0.8
        else f'{first}\nhttps://mirror.example/?id={identifier}&q="a,b"'
    )
