"""Fetches the pictures of planned packs: many requests under way, each picture on disk as soon as it is whole."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from queue import SimpleQueue

from pipeline import packs, progress
from pipeline.download import spool, verify
from pipeline.download.ledger import Ledger
from pipeline.download.plan import PlannedPack
from pipeline.download.spool import Spool, SpooledImage
from pipeline.download.variants import ImageRequest
from pipeline.download.verify import ImageInfo
from pipeline.errors import SiteUnreachable, TryAgainLater
from pipeline.packs import PackedImage
from pipeline.params import Download, Site
from pipeline.paths import Paths
from pipeline.schemas.reasons import DownloadFailure
from pipeline.site.circuit_breaker import retry_hint
from pipeline.site.client import (
    Client,
    PermanentFailure,
    Response,
    TransientFailure,
    cancel_on_error,
)
from pipeline.site.session import open_site

GIVE_UP = 25  # pictures in a row that the site gave none of: it is the site that fails, not the pictures

SITE_WIDE = frozenset(DownloadFailure) - {
    DownloadFailure.NOT_FOUND,
    DownloadFailure.TOO_LARGE,
    DownloadFailure.DECOMPRESSION_BOMB,
}
"""Refusals that tell of the site where picture after picture meets them: it is down, has shut this client out, or gives
every picture the same wrong bytes. So does NOT_FOUND, where files are looked for in the wrong place, but only as long
as not one was ever found there; the others left out are judged by limits of ours."""

INSPECTORS = 2  # threads that look at pictures and put them away; hashing, decoding and writing release the GIL

ASIDE = 4  # pictures that came and are looked at while as many requests as the client allows are under way


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """A picture that waits, looked at."""

    facts: ImageInfo
    record: SpooledImage


def recover_spooled(
    params: Download, paths: Paths, wanted: list[ImageRequest]
) -> dict[tuple[str, str], FetchedImage]:
    """Returns those of the pictures that an earlier run put away whole, by md5 and variant. Writes nothing."""
    records = {record.key: record for record in spool.records(paths)}

    def look(one: ImageRequest) -> ImageInfo | None:
        return verify.verify_spooled(
            one, spool.read_bytes(records[one.key]), params.max_pixels
        )

    here = [one for one in wanted if one.key in records]
    with verify.suppress_bomb_warning(), ThreadPoolExecutor(INSPECTORS) as inspectors:
        facts = dict(zip(here, inspectors.map(look, here), strict=True))
    return {
        one.key: FetchedImage(seen, records[one.key])
        for one, seen in facts.items()
        if seen is not None
    }


class Fetcher:
    """One run of the stage. Pictures wait below .work until their pack is complete; `arrived` are there already.

    The event loop only talks to the site. Threads of their own look at what came and put it away, and one more writes
    the packs, in order, each picture as soon as it and all before it are settled: no request waits for a pack.
    """

    def __init__(
        self,
        params: Download,
        paths: Paths,
        ledger: Ledger,
        arrived: dict[tuple[str, str], FetchedImage],
    ) -> None:
        self._params, self._paths, self._images, self._ledger = (
            params,
            paths,
            paths.images,
            ledger,
        )
        self._waiting = Spool(paths)
        self._refused, self._arrived = set(ledger.refusals()), arrived
        self._retries = 0
        # md5 and variant of the pictures that failed since one came. No pack is sealed without them while it may be the
        # site that fails: it would have to do without them for good.
        self._failing: list[tuple[str, str]] = []
        self._any_found = bool(packs.pack_files(paths.images))
        self._settled: SimpleQueue[
            tuple[tuple[str, str], FetchedImage | None] | None
        ] = SimpleQueue()

    async def fetch(self, planned: list[PlannedPack], site: Site) -> None:
        """Fetches and seals all packs; raises what ends the run, with everything that arrived kept."""
        loop = asyncio.get_running_loop()
        threads = ThreadPoolExecutor(INSPECTORS), ThreadPoolExecutor(1)
        with (
            verify.suppress_bomb_warning(),
            closing(self._waiting),
            threads[0] as inspectors,
            threads[1] as sealer,
        ):
            missing = self._missing(planned)

            async def seal() -> None:
                await loop.run_in_executor(sealer, self._seal_all, planned)

            async with open_site(
                site, self._paths, "download", retries=self._params.retries
            ) as client:
                fetching = self._fetch_all(client, missing, inspectors)
                try:
                    await cancel_on_error(
                        [asyncio.create_task(seal()), asyncio.create_task(fetching)]
                    )
                except TryAgainLater:
                    self._ledger.forget(
                        self._failing
                    )  # it was the site that failed, not these pictures
                    raise
                finally:
                    self._settled.put(
                        None
                    )  # whatever ended the run: the sealing thread must not wait for more

    def _missing(self, planned: list[PlannedPack]) -> list[tuple[str, ImageRequest]]:
        """Returns what must be asked for, with its pack; the rest is settled: refused, or waiting."""
        settled: dict[tuple[str, str], FetchedImage | None] = {
            **dict.fromkeys(self._refused),
            **self._arrived,
        }
        for key, arrived in settled.items():
            self._settled.put((key, arrived))
        return [
            (pack.name, one)
            for pack in planned
            for one in pack.pictures
            if one.key not in settled
        ]

    async def _fetch_all(
        self,
        client: Client,
        missing: list[tuple[str, ImageRequest]],
        inspectors: ThreadPoolExecutor,
    ) -> None:
        queue = (one for one in missing)
        with progress.meter("download", unit="pictures", total=len(missing)) as meter:

            async def work() -> None:
                for pack, one in queue:  # shared: each worker takes the next
                    try:
                        size = await self._fetch_one(client, pack, one, inspectors)
                    except TryAgainLater:
                        queue.close()  # the site ends the run: nobody takes another
                        raise
                    meter.advance(note=self._failures(), bytes=size)

            workers = min(client.concurrency + ASIDE, len(missing))
            await client.run_all([asyncio.create_task(work()) for _ in range(workers)])
            self._believe_failures()

    async def _fetch_one(
        self,
        client: Client,
        pack: str,
        one: ImageRequest,
        inspectors: ThreadPoolExecutor,
    ) -> int:
        """Leaves the picture waiting for its pack, or a refusal in the ledger. Returns the bytes that are kept."""
        loop = asyncio.get_running_loop()

        async def ask() -> FetchedImage:
            started = time.monotonic()
            try:
                answer = await client.file(one.path, max_bytes=self._params.max_bytes)
                putting = loop.run_in_executor(
                    inspectors, self._put_away, pack, one, answer
                )
                try:
                    arrived = await asyncio.shield(putting)
                except (
                    asyncio.CancelledError
                ):  # the run ends: what came is put away all the same
                    await asyncio.wait([putting])
                    putting.exception()  # one like it ended the run; who does not look is told again by asyncio
                    raise
            except (PermanentFailure, TransientFailure) as error:
                wait = error.wait if isinstance(error, TransientFailure) else None
                seconds = time.monotonic() - started
                self._ledger.record_attempt(
                    one.key,
                    error.reason.value,
                    error.detail,
                    seconds=seconds,
                    wait=wait,
                )
                raise
            self._ledger.record_attempt(
                one.key, "kept", "status 200", seconds=time.monotonic() - started
            )
            return arrived

        try:
            arrived = await client.with_retries(ask, self._count_retry)
        except (PermanentFailure, TransientFailure) as answer:
            self._ledger.record_failure(one.key, answer.reason, answer.detail)
            self._refused.add(one.key)
            self._judge_site(client, one, answer)
            return 0
        self._settled.put((one.key, arrived))
        self._believe_failures()
        self._any_found = True
        return arrived.record.size

    def _believe_failures(self) -> None:
        """Lets packs be sealed without the pictures that failed: the site gives others, or there are no more to ask."""
        for key in self._failing:
            self._settled.put((key, None))
        self._failing = []

    def _count_retry(self, _failure: str) -> None:
        self._retries += 1

    def _failures(self) -> str:
        """Returns how many failed for good so far, and how often one that failed was asked again."""
        again = f", {self._retries:,} tried again" if self._retries else ""
        return f"{len(self._refused):,} refused{again}"

    def _put_away(self, pack: str, one: ImageRequest, answer: Response) -> FetchedImage:
        facts = verify.verify_image(one, answer, self._params.max_pixels)
        return FetchedImage(facts, self._waiting.append(pack, one, answer.body))

    def _judge_site(
        self,
        client: Client,
        one: ImageRequest,
        answer: PermanentFailure | TransientFailure,
    ) -> None:
        """Ends the run when too many pictures in a row fail in a way that tells of the site.

        The client counts requests, and ends the run when the site answers none; this counts pictures that it answers
        with something else.
        """
        if answer.reason not in SITE_WIDE and (
            answer.reason != DownloadFailure.NOT_FOUND or self._any_found
        ):
            self._settled.put((one.key, None))
            return
        self._failing.append(one.key)
        if len(self._failing) >= GIVE_UP:
            raise SiteUnreachable(
                f"{client.endpoints.static_url} gave none of {GIVE_UP} pictures in a row, the last: {answer.reason}, "
                f"{answer.detail}. Every picture that arrived is kept and these will be asked for again. Check "
                "site.static_url and site.contact. " + retry_hint(client.pause)
            )

    def _seal_all(self, planned: list[PlannedPack]) -> None:
        """Writes the packs, following what is settled, until all are written or the run ends."""
        known: dict[tuple[str, str], FetchedImage | None] = {}
        try:
            for pack in planned:
                arriving = self._arriving(pack, known)
                if (first := next(arriving, None)) is not None:
                    packs.write(self._images / pack.name, chain([first], arriving))
                self._waiting.remove(pack.name)  # only now: never the other way round
        except _RunEndedError:
            return  # of what is settled nothing is lost: the half pack is gone, its pictures wait

    def _arriving(
        self, pack: PlannedPack, known: dict[tuple[str, str], FetchedImage | None]
    ) -> Iterator[PackedImage]:
        """Yields the pictures of a pack in order, waiting until each is settled. known: settled, not yet yielded."""
        for one in pack.pictures:
            while one.key not in known:
                if (news := self._settled.get()) is None:
                    raise _RunEndedError
                known[news[0]] = news[1]
            if (arrived := known.pop(one.key)) is not None:
                facts, body = arrived.facts, self._waiting.read_image(arrived.record)
                yield PackedImage(
                    one.md5,
                    one.post_id,
                    one.variant,
                    body,
                    facts.format,
                    facts.width,
                    facts.height,
                )


class _RunEndedError(Exception):
    """No more pictures will be settled in this run."""
