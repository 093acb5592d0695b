"""Finds by counting which posts a site no longer has.

No feed lists posts that were expunged.

Ranges of ids are counted. A range in which the site's count differs from ours is cut in
two, down to ranges that one page lists. An id that we hold and the list lacks is
requested by itself: only a 404 shows that the post is gone, because lists may be short
(contract section 2.2).

A range in which one post is gone and another is unknown here has the right count and is
not examined; the feed of changes keeps the second kind away.
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
# Posts. Each costs about a dozen requests; 6,000 requests at 1/s take longer than the
# export.
MAX_DIFFERENCES = 500
_BATCH = 100  # ids in one search; the site takes 320, and took 100 until April 2026


@dataclass(slots=True)
class IdDiff:
    """The differences between the ids we hold and the site.

    gone: ids that the site no longer has.
    found: posts that were not known here, as rows of schemas.POSTS.
    unread: unknown posts whose record cannot be read.
    """

    gone: list[int] = field(default_factory=list)
    found: list[Row] = field(default_factory=list)
    unread: list[UnreadableRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IdRange:
    """The ids from `low` to `high`, both included."""

    low: int
    high: int
    held: pl.Series  # the ids in it that we hold, ascending
    counted: int  # the posts in it that the site has

    @property
    def excess(self) -> int:
        """How many more posts the site has than we hold."""
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
                f"its changes (limit {MAX_DIFFERENCES:,}): a delta would cost more "
                "than it saves. Run e6tag refresh for a full one."
            )
        for part in ranges:
            await _narrow(client, part, difference, meter)
    return difference


async def _cut(client: Client, held: pl.Series, meter: Meter) -> AsyncIterator[IdRange]:
    low = 1
    for start in range(0, len(held), RANGE):
        part = held[start : start + RANGE]
        high = int(part[-1])
        counted = await _count(client, low, high, meter)
        yield IdRange(low, high, part, counted)
        low = high + 1


async def _narrow(
    client: Client, part: IdRange, difference: IdDiff, meter: Meter
) -> None:
    """Cuts a range in two until a page lists it; stops where the count is right."""
    if not part.excess:
        return
    if len(part.held) <= LIMIT:
        await _list(client, part, difference, meter)
        return
    middle = len(part.held) // 2
    high = int(part.held[middle - 1])
    counted = await _count(client, part.low, high, meter)
    left = IdRange(part.low, high, part.held[:middle], counted)
    await _narrow(client, left, difference, meter)
    rest = part.counted - counted
    right = IdRange(high + 1, part.high, part.held[middle:], rest)
    await _narrow(client, right, difference, meter)


async def _list(
    client: Client, part: IdRange, difference: IdDiff, meter: Meter
) -> None:
    listed = await _ids(client, part, meter)
    held = set(part.held)
    unknown = sorted(listed - held)
    for start in range(0, len(unknown), _BATCH):
        await _take(client, unknown[start : start + _BATCH], difference, meter)
    for post_id in sorted(held - listed):
        if await is_missing(client, f"/posts/{post_id}.json"):
            difference.gone.append(post_id)
        meter.advance()


async def _ids(client: Client, part: IdRange, meter: Meter) -> set[int]:
    """Lists the ids of a range until a page is empty or as many are listed as counted.

    Requests ids alone, because they are many.
    """
    listed: set[int] = set()
    cursor = part.high + 1
    while len(listed) < part.counted:
        query = {
            "tags": f"id:{part.low}..{part.high} status:any",
            "limit": str(LIMIT),
            "page": f"b{cursor}",
            "only": "id",
        }
        answer = await ask(client, "/posts.json", query, remedy=FULL_REFRESH)
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
    """Requests posts that are not known here and adds them to the difference."""
    listed = ",".join(map(str, ids))
    query = {"tags": f"id:{listed} status:any", "limit": str(LIMIT)}
    answer = await ask(client, "/posts.json", query, remedy=FULL_REFRESH)
    page = api_models.parse_page(answer, POSTS, "/posts.json")
    difference.found += [row for row in page.rows if row["post_id"] in ids]
    for one in page.unread:
        if one.key is None or one.key in ids:
            difference.unread.append(one)
    meter.advance()


async def _count(client: Client, low: int, high: int, meter: Meter) -> int:
    query = {"tags": f"id:{low}..{high} status:any"}
    answer = await ask(client, "/posts/count.json", query, remedy=FULL_REFRESH)
    meter.advance()
    try:
        return int(answer["count"])
    except (TypeError, KeyError, ValueError) as error:
        raise BadAnswer(
            f"/posts/count.json answered {str(answer)[:80]!r} where a count was "
            f"expected. Nothing was pinned. {FULL_REFRESH}"
        ) from error
