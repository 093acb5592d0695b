"""From an index to a post of day 1: what people typed of what is true of its scene.

The other columns of a post are drawn here too.

Ratings, ages and opt-outs are metadata only: no picture of the sandbox shows any of
them.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from sandbox.art.encode import final_size
from sandbox.art.style import STYLES
from sandbox.board.annotators import annotate, let_lag
from sandbox.board.ground_truth import truth
from sandbox.board.provenance import Origin, gap_id, origin_of, post_id, scene_of
from sandbox.records import Post
from sandbox.world.random_choice import Draw, by_threshold, pick
from sandbox.world.scenes import Scene
from sandbox.world.traits import CLOSURE, YOUNG

FIRST_DAY = datetime(2016, 1, 5, 9, 0, tzinfo=UTC)
# Day 1's exports follow 26 hours later.
LAST_DAY = datetime(2026, 6, 30, 3, 0, tzinfo=UTC)
# Posts between the two; a larger board's further posts crowd into the day after
_SPREAD = 30_000
# Posts before this index were last saved under older aliases and implications
_OLD = 12_000
_FIRST_CHANGE = 5_000_000  # change_seq of the first post
_CHANGES = 16  # step of change_seq per post
ANIMATED = ("gif", "webm", "mp4", "swf")
_TIMED = ("gif", "webm", "mp4")  # whose duration the site knows
_FORMAT_TAGS = {"gif": "animated_gif", "webm": "webm", "mp4": "video", "swf": "flash"}
_CARELESSNESS_BY_FIGURES = {1: 1.0, 2: 1.25, 3: 1.5}
_RATINGS = ((0.65, "s"), (0.85, "q"), (1.0, "e"))
_LOCKED_TAGS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (0.002, ("conditional_dnp",)),
    (0.004, ("avoid_posting",)),
    (0.006, ("-cub", "fox")),
    (0.01, ("-young",)),
    (1.0, ()),
)
"""Locked tags: now and then the only place where an opt-out stands."""
_LORE = ("siblings_(lore)", "time_travel_(lore)", "disguised_(lore)")

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
    tags = _given_tags(scene, index, draw)
    width, height = final_size(scene)
    identifier = post_id(seed, index)
    made = created or created_at(index, draw())
    # What draws is computed in the order of the keywords, which makes the board.
    post = Post(
        id=identifier,
        created_at=made,
        parent_id=_parent_id(seed, index, origin, draw),
        up_score=_up_score(draw),
        is_deleted=draw() < 0.04,
        uploader_id=_uploader_id(draw),
        updated_at=_updated(made, draw) if created is None else None,
        md5=file[0],
        ext=scene.ext,
        width=width,
        height=height,
        file_size=file[1],
        rating=by_threshold(draw(), _RATINGS),
        tags=tags,
        change_seq=_change_seq(index, draw),
        locked_tags=by_threshold(draw(), _LOCKED_TAGS),
        source=_source(scene, identifier, draw()),
        description=_description(draw),
        duration=_duration(scene, draw),
        bg_color=_bg_color(scene, draw),
    )
    return _add_reception(post, draw)


def _add_reception(post: Post, draw: Draw) -> Post:
    """Returns the post with what users and moderators did to it."""
    return replace(
        post,
        approver_id=_approver_id(draw),
        fav_count=post.up_score * 2 + int(9 * draw()),
        comment_count=int(8 * draw() ** 4),
        down_score=-int(5 * draw() ** 3),
        is_pending=not post.is_deleted and draw() < 0.006,
        is_flagged=not post.is_deleted and draw() < 0.004,
        is_rating_locked=draw() < 0.02,
        is_status_locked=draw() < 0.01,
        is_note_locked=draw() < 0.01,
        is_hidden_from_anonymous=draw() < 0.01,
    )


def truth_of(seed: int, index: int, replaced: bool = False) -> tuple[str, ...]:
    """Returns all tags that are true of the post.

    They are what is seen, what the file says, and what can be known from tags alone.
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
    if scene.ext in _FORMAT_TAGS:
        tags += CLOSURE[_FORMAT_TAGS[scene.ext]]
    return tags


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
    return [*_age_tags(u), *_consent_tags(v), *_medium_tags(w), *_credit_tags(x)]


def _age_tags(u: float) -> tuple[str, ...]:
    if u < 0.027:
        return CLOSURE[YOUNG[int(u / 0.009)]]
    return ()


def _consent_tags(u: float) -> tuple[str, ...]:
    """Opt-outs, and comics at the other end of the range."""
    if u < 0.006:
        return ("avoid_posting",)
    if u < 0.016:
        return ("conditional_dnp",)
    if u > 0.97:
        return ("comic",)
    return ()


def _medium_tags(u: float) -> tuple[str, ...]:
    if u < 0.68:
        return ("digital_media_(artwork)",)
    if u < 0.72:
        return ("traditional_media_(artwork)",)
    if u > 0.985:
        return (_LORE[int((u - 0.985) * 200)],)
    return ()


def _credit_tags(u: float) -> tuple[str, ...]:
    if u < 0.013:
        return ("paper_crane_(colorist)",)
    if u < 0.02:
        return ("böcklin_(editor)",)
    if u >= 0.99:
        return ("alternate_version_at_source",)
    if u > 0.97:
        return ("colored",)
    return ()


def _given_tags(scene: Scene, index: int, draw: Draw) -> tuple[str, ...]:
    unseen = _unseen_tags(draw)
    crowd = _CARELESSNESS_BY_FIGURES[len(scene.figures)]
    carelessness = STYLES[scene.artist].carelessness * crowd
    given = annotate((*truth(scene), *unseen), carelessness, draw)
    given = let_lag(given, index < _OLD, draw)
    given.update(file_tags(scene))
    return tuple(sorted(given or {"tagme"}))


def _parent_id(seed: int, index: int, origin: Origin, draw: Draw) -> int | None:
    """Returns the id of the parent; of a post expunged since, now and then."""
    if origin.parented:
        return post_id(seed, origin.source)
    if draw() < 0.003:
        return gap_id(seed, index // 2)
    return None


def _up_score(draw: Draw) -> int:
    return int(60 * draw() * draw() * draw())


def _uploader_id(draw: Draw) -> int:
    return 100 + int(900 * draw() ** 3)


def _change_seq(index: int, draw: Draw) -> int:
    return _FIRST_CHANGE + _CHANGES * index + int(_CHANGES * draw())


def _updated(made: datetime, draw: Draw) -> datetime | None:
    if draw() < 0.08:
        return None
    later = made + (LAST_DAY + timedelta(hours=25) - made) * (draw() ** 2)
    return max(made, later.replace(microsecond=0))


def _source(scene: Scene, identifier: int, u: float) -> str:
    if u < 0.25:
        return ""
    first = f"https://art.example/{scene.artist}/{identifier}"
    if u < 0.8:
        return first
    return f'{first}\nhttps://mirror.example/?id={identifier}&q="a,b"'


def _description(draw: Draw) -> str:
    if draw() >= 0.22:
        return ""
    return pick(draw, _DESCRIPTIONS)


def _duration(scene: Scene, draw: Draw) -> float | None:
    if scene.ext not in _TIMED:
        return None
    return round(0.4 + 55 * draw() ** 3, 2)


def _bg_color(scene: Scene, draw: Draw) -> str | None:
    if scene.place == "transparent_background" and draw() < 0.5:
        return "f4e1c6"
    return None


def _approver_id(draw: Draw) -> int | None:
    if draw() < 0.8:
        return 11 + int(20 * draw())
    return None
