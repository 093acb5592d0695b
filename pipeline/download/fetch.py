"""Fetches the images of planned packs, many requests at once.

Each image is on disk as soon as it is whole.
"""

import asyncio
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from queue import SimpleQueue

from e6tag.images import ImageInfo
from pipeline import packs, progress
from pipeline.download import spool, verified_packs, verify
from pipeline.download.ledger import Ledger
from pipeline.download.plan import PlannedPack
from pipeline.download.spool import Spool, SpooledImage
from pipeline.download.variants import ImageKey, ImageRequest
from pipeline.errors import SiteUnreachable, TryAgainLater
from pipeline.packs import PackedImage
from pipeline.params.download import Download
from pipeline.params.site import Site
from pipeline.paths import Paths
from pipeline.schemas.reasons import KEPT, DownloadFailure
from pipeline.site.circuit_breaker import retry_hint
from pipeline.site.client import (
    Client,
    PermanentFailure,
    Response,
    TransientFailure,
    cancel_on_error,
)
from pipeline.site.session import open_site

GIVE_UP = 25  # failed images in a row: the site fails, not these images

SITE_WIDE = frozenset(DownloadFailure) - {
    DownloadFailure.NOT_FOUND,
    DownloadFailure.TOO_LARGE,
    DownloadFailure.DECOMPRESSION_BOMB,
}
"""Failures that point to the site where image after image has one: it is down, blocks
this client, or serves every image the same wrong bytes. So does NOT_FOUND, where files
are requested from the wrong place, but only until one was ever found there; the others
left out depend on limits of ours."""

ASIDE = 4
"""Images that are being verified while as many requests as the client allows are in
flight."""

Arrival = tuple[ImageKey, "FetchedImage | None"]
"""An image that is settled: fetched, or None where its pack goes without it."""


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """A verified image in the spool."""

    info: ImageInfo
    record: SpooledImage


def recover_spooled(
    paths: Paths, infos: dict[ImageKey, ImageInfo]
) -> dict[ImageKey, FetchedImage]:
    """Returns the images of earlier runs that the plan found whole in the spool."""
    records = {record.key: record for record in spool.records(paths)}
    return {key: FetchedImage(info, records[key]) for key, info in infos.items()}


class Fetcher:
    """Fetches the images of one run, and writes their packs.

    Images wait in the spool until their pack is complete; `recovered` are there
    already. The event loop only talks to the site. Other threads verify what arrived
    and spool it, and one more writes the packs, in order, each image as soon as it and
    all before it are settled: no request waits for a pack.
    """

    def __init__(
        self,
        params: Download,
        paths: Paths,
        ledger: Ledger,
        recovered: dict[ImageKey, FetchedImage],
    ) -> None:
        self._params = params
        self._paths = paths
        self._ledger = ledger
        self._spool = Spool(paths)
        self._failed = set(ledger.failures())
        self._recovered = recovered
        self._retries = 0
        # Images that failed since the last one arrived. No pack is sealed without them
        # while it may be the site that fails: it would lack them for good.
        self._failing: list[ImageKey] = []
        self._any_found = bool(packs.pack_files(paths.images))
        # None: no more will be settled in this run.
        self._settled: SimpleQueue[Arrival | None] = SimpleQueue()

    async def fetch(self, planned: list[PlannedPack], site: Site) -> None:
        """Fetches and seals all packs.

        Raises what ends the run; everything that arrived is on disk then.
        """
        with (
            closing(self._spool),
            ThreadPoolExecutor(verify.THREADS) as verifiers,
            ThreadPoolExecutor(1) as sealer,
        ):
            missing = self._settle_known(planned)
            retries = self._params.retries
            async with open_site(
                site, self._paths, "download", retries=retries
            ) as client:
                sealing = self._seal_in_thread(sealer, planned)
                fetching = self._fetch_all(client, missing, verifiers)
                try:
                    tasks = [
                        asyncio.create_task(sealing),
                        asyncio.create_task(fetching),
                    ]
                    await cancel_on_error(tasks)
                except TryAgainLater:
                    # It was the site that failed, not these images.
                    self._ledger.forget(self._failing)
                    raise
                finally:
                    # Whatever ended the run: the sealing thread must not wait for more.
                    self._settled.put(None)

    def _settle_known(
        self, planned: list[PlannedPack]
    ) -> list[tuple[str, ImageRequest]]:
        """Returns what must be requested, with its pack.

        The rest is settled: failed for good, or in the spool.
        """
        known: dict[ImageKey, FetchedImage | None] = dict.fromkeys(self._failed)
        known.update(self._recovered)
        for arrival in known.items():
            self._settled.put(arrival)
        missing: list[tuple[str, ImageRequest]] = []
        for pack in planned:
            images = [one for one in pack.images if one.key not in known]
            missing += [(pack.name, one) for one in images]
        return missing

    async def _seal_in_thread(
        self, sealer: ThreadPoolExecutor, planned: list[PlannedPack]
    ) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(sealer, self._seal_all, planned)

    async def _fetch_all(
        self,
        client: Client,
        missing: list[tuple[str, ImageRequest]],
        verifiers: ThreadPoolExecutor,
    ) -> None:
        queue = _queue(missing)
        total = len(missing)
        workers = min(client.concurrency + ASIDE, total)
        with progress.meter("download", unit="images", total=total) as meter:
            tasks = []
            for _ in range(workers):
                work = self._work(client, queue, verifiers, meter)
                tasks.append(asyncio.create_task(work))
            await client.run_all(tasks)
            self._accept_failures()

    async def _work(
        self,
        client: Client,
        queue: Generator[tuple[str, ImageRequest]],
        verifiers: ThreadPoolExecutor,
        meter: progress.Meter,
    ) -> None:
        """Fetches images until the queue, which all workers share, is empty."""
        for pack, one in queue:
            try:
                size = await self._fetch_one(client, pack, one, verifiers)
            except TryAgainLater:
                queue.close()  # the site ends the run: no worker takes another
                raise
            meter.advance(note=self._progress_note(), bytes=size)

    async def _fetch_one(
        self,
        client: Client,
        pack: str,
        one: ImageRequest,
        verifiers: ThreadPoolExecutor,
    ) -> int:
        """Spools the image for its pack, or records its failure in the ledger.

        Returns the number of bytes spooled.
        """

        async def attempt() -> FetchedImage:
            return await self._attempt(client, pack, one, verifiers)

        try:
            image = await client.with_retries(attempt, self._count_retry)
        except (PermanentFailure, TransientFailure) as failure:
            self._ledger.record_failure(one.key, failure.reason, failure.detail)
            self._failed.add(one.key)
            self._check_site(client, one, failure)
            return 0
        self._settled.put((one.key, image))
        self._accept_failures()
        self._any_found = True
        return image.record.size

    async def _attempt(
        self,
        client: Client,
        pack: str,
        one: ImageRequest,
        verifiers: ThreadPoolExecutor,
    ) -> FetchedImage:
        """Requests an image once; records in the ledger how it went."""
        started = time.monotonic()
        try:
            answer = await client.file(one.path, max_bytes=self._params.max_bytes)
            image = await self._verify_in_thread(verifiers, pack, one, answer)
        except (PermanentFailure, TransientFailure) as failure:
            wait = failure.wait if isinstance(failure, TransientFailure) else None
            self._ledger.record_attempt(
                one.key,
                failure.reason.value,
                failure.explanation,
                seconds=time.monotonic() - started,
                wait=wait,
            )
            raise
        seconds = time.monotonic() - started
        self._ledger.record_attempt(one.key, KEPT, "status 200", seconds=seconds)
        return image

    async def _verify_in_thread(
        self,
        verifiers: ThreadPoolExecutor,
        pack: str,
        one: ImageRequest,
        answer: Response,
    ) -> FetchedImage:
        loop = asyncio.get_running_loop()
        verifying = loop.run_in_executor(
            verifiers, self._verify_and_spool, pack, one, answer
        )
        try:
            return await asyncio.shield(verifying)
        except asyncio.CancelledError:
            # The run ends: what arrived is spooled all the same. Its own failure is
            # retrieved here, since asyncio would report it a second time.
            await asyncio.wait([verifying])
            verifying.exception()
            raise

    def _verify_and_spool(
        self, pack: str, one: ImageRequest, answer: Response
    ) -> FetchedImage:
        info = verify.verify_image(one, answer, self._params.max_pixels)
        record = self._spool.append(pack, one, answer.body)
        return FetchedImage(info, record)

    def _count_retry(self, _failure: str) -> None:
        self._retries += 1

    def _progress_note(self) -> str:
        """Returns how many images failed for good so far, and the retries."""
        note = f"{len(self._failed):,} refused"
        if self._retries:
            note += f", {self._retries:,} tried again"
        return note

    def _accept_failures(self) -> None:
        """Lets packs be sealed without the images that failed.

        The site serves others, or all were requested.
        """
        for key in self._failing:
            self._settled.put((key, None))
        self._failing = []

    def _check_site(
        self,
        client: Client,
        one: ImageRequest,
        failure: PermanentFailure | TransientFailure,
    ) -> None:
        """Ends the run when too many images in a row fail because of the site.

        The client counts requests, and ends the run when the site answers none; this
        counts images for which it sends something else.
        """
        is_missing = failure.reason == DownloadFailure.NOT_FOUND
        is_site_wide = failure.reason in SITE_WIDE
        if not is_site_wide and not (is_missing and not self._any_found):
            self._settled.put((one.key, None))
            return
        self._failing.append(one.key)
        if len(self._failing) >= GIVE_UP:
            raise SiteUnreachable(
                f"{client.endpoints.static_url} gave none of {GIVE_UP} images in a "
                f"row, the last: {failure.reason}, {failure.explanation}. Every image "
                "that arrived is kept and these will be asked for again. Check "
                f"site.static_url and site.contact. {retry_hint(client.pause)}"
            )

    def _seal_all(self, planned: list[PlannedPack]) -> None:
        """Writes the packs, as their images are settled, until the run ends."""
        known: dict[ImageKey, FetchedImage | None] = {}
        try:
            for pack in planned:
                images = self._settled_images(pack, known)
                first = next(images, None)
                if first is not None:
                    path = self._paths.images / pack.name
                    written = chain([first], images)
                    verified_packs.write_pack(self._paths, path, written)
                # Only now: the images must never be in neither place.
                self._spool.remove(pack.name)
        except _RunEndedError:
            return  # nothing is lost: the half pack is gone, its images are spooled

    def _settled_images(
        self, pack: PlannedPack, known: dict[ImageKey, FetchedImage | None]
    ) -> Iterator[PackedImage]:
        """Yields the images of a pack in order, waiting until each is settled.

        known: settled images that were not yielded yet.
        """
        for one in pack.images:
            while one.key not in known:
                arrival = self._settled.get()
                if arrival is None:
                    raise _RunEndedError
                key, image = arrival
                known[key] = image
            fetched = known.pop(one.key)
            if fetched is not None:
                yield self._packed(one, fetched)

    def _packed(self, one: ImageRequest, fetched: FetchedImage) -> PackedImage:
        info = fetched.info
        body = self._spool.read_image(fetched.record)
        return PackedImage(
            one.md5,
            one.post_id,
            one.variant,
            body,
            info.format,
            info.width,
            info.height,
        )


class _RunEndedError(Exception):
    """No more images will be settled in this run."""


def _queue(
    missing: list[tuple[str, ImageRequest]],
) -> Generator[tuple[str, ImageRequest]]:
    yield from missing
