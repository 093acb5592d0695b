"""Which posts a site no longer has, found by counting.

No feed tells of posts that were expunged.

Ranges of ids are counted, and cut in two where the site's count is not ours, down to
ranges that one page lists. An id that we hold and the list lacks is asked for by
itself: only a 404 says that the post is gone, for lists may be short (contract section
2.2).

A range where one post is gone and another is not known here counts right and is not
looked into; the feed of changes is what keeps the second kind away.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import polars as pl

from pipeline import progress
from pipeline.errors import BadAnswer, BadInput
from pipeline.harvest import api_models
from pipeline.harvest.api_models import POSTS, Row, UnreadableRecord
from pipeline.harvest.page_cache import LIMIT
from pipeline.harvest.queries import FULL_REFRESH, ask, is_missing
from pipeline.progress import Meter
from pipeline.site.client import Client

RANGE = 200_000  # posts counted at once; the site's counts end at 240,001
# Posts; each costs about a dozen requests, and 6,000 take longer than the export at 1/s
MAX_DIFFERENCES = 500
_BATCH = 100  # ids in one search; the site takes 320, and took 100 until April 2026


@dataclass(slots=True)
class IdDiff:
    """What the site has otherwise: ids that are gone.

    And posts that were not known, some of which cannot be read.
    """

    gone: list[int] = field(default_factory=list)
    found: list[Row] = field(default_factory=list)  # schemas.POSTS
    unread: list[UnreadableRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IdRange:
    """Ids from `low` to `high`, those of them that we hold, ascending.

    And how many the site counts.
    """

    low: int
    high: int
    held: pl.Series
    counted: int

    @property
    def excess(self) -> int:
        """How many more the site has than we hold."""
        return self.counted - len(self.held)


async def compare(client: Client, held: pl.Series) -> IdDiff:
    """Compares the ids we hold, ascending, with the site, up to the highest of them."""
    difference = IdDiff()
    with progress.meter("counting posts", unit="requests") as meter:
        ranges = [part async for part in _cut(client, held, meter)]
        apart = sum(abs(part.excess) for part in ranges)
        if apart > MAX_DIFFERENCES:
            raise BadInput(
                f"the site counts {apart:,} posts otherwise than the pinned export and "
                "its changes (limit "
                f"{MAX_DIFFERENCES:,}): a delta would cost more than it saves. Run "
                "e6tag refresh for a full one."
            )
        for part in ranges:
            await _narrow(client, part, difference, meter)
    return difference


async def _cut(client: Client, held: pl.Series, meter: Meter) -> AsyncIterator[IdRange]:
    low = 1
    for start in range(0, len(held), RANGE):
        part = held[start : start + RANGE]
        high = int(part[-1])
        yield IdRange(low, high, part, await _count(client, low, high, meter))
        low = high + 1


async def _narrow(
    client: Client, part: IdRange, difference: IdDiff, meter: Meter
) -> None:
    """Cuts a range in two until a page lists it.

    What is counted right is left alone.
    """
    if not part.excess:
        return
    if len(part.held) <= LIMIT:
        await _list(client, part, difference, meter)
        return
    middle = len(part.held) // 2
    high = int(part.held[middle - 1])
    left = IdRange(
        part.low, high, part.held[:middle], await _count(client, part.low, high, meter)
    )
    await _narrow(client, left, difference, meter)
    right = IdRange(
        high + 1, part.high, part.held[middle:], part.counted - left.counted
    )
    await _narrow(client, right, difference, meter)


async def _list(
    client: Client, part: IdRange, difference: IdDiff, meter: Meter
) -> None:
    listed, held = await _ids(client, part, meter), set(part.held)
    strangers = sorted(listed - held)
    for start in range(0, len(strangers), _BATCH):
        await _take(client, strangers[start : start + _BATCH], difference, meter)
    for post_id in sorted(held - listed):
        if await is_missing(client, f"/posts/{post_id}.json"):
            difference.gone.append(post_id)
        meter.advance()


async def _ids(client: Client, part: IdRange, meter: Meter) -> set[int]:
    """Lists the ids of a range, down to an empty page or to as many as were counted.

    Ids alone, for they are many.
    """
    listed: set[int] = set()
    cursor = part.high + 1
    while len(listed) < part.counted:
        query = {
            "tags": f"id:{part.low}..{part.high} status:any",
            "limit": str(LIMIT),
            "page": f"b{cursor}",
        }
        answer = await ask(
            client, "/posts.json", {**query, "only": "id"}, remedy=FULL_REFRESH
        )
        ids = api_models.parse_ids(answer, POSTS, "/posts.json")
        meter.advance()
        below = [post_id for post_id in ids if post_id < cursor]
        if not below:
            break
        listed |= set(below)
        cursor = min(below)
    return listed


async def _take(
    client: Client, ids: list[int], difference: IdDiff, meter: Meter
) -> None:
    query = {"tags": f"id:{','.join(map(str, ids))} status:any", "limit": str(LIMIT)}
    answer = api_models.parse_page(
        await ask(client, "/posts.json", query, remedy=FULL_REFRESH),
        POSTS,
        "/posts.json",
    )
    difference.found += [row for row in answer.rows if row["post_id"] in ids]
    difference.unread += [
        one for one in answer.unread if one.key is None or one.key in ids
    ]
    meter.advance()


async def _count(client: Client, low: int, high: int, meter: Meter) -> int:
    answer = await ask(
        client,
        "/posts/count.json",
        {"tags": f"id:{low}..{high} status:any"},
        remedy=FULL_REFRESH,
    )
    meter.advance()
    try:
        return int(answer["count"])
    except (TypeError, KeyError, ValueError) as error:
        raise BadAnswer(
            f"/posts/count.json answered {str(answer)[:80]!r} where a count was "
            "expected. Nothing was pinned. "
            f"{FULL_REFRESH}"
        ) from error
