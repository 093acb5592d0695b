"""Fetches the pictures of planned packs: many requests under way, each picture on disk as soon as it is whole."""

import asyncio
from pathlib import Path

from pipeline import atomic, packs, progress
from pipeline.download import inspect
from pipeline.download.ledger import Ledger
from pipeline.download.plan import PlannedPack
from pipeline.download.variants import Wanted
from pipeline.errors import SiteUnreachable
from pipeline.packs import Picture
from pipeline.params import Download, Site
from pipeline.paths import Paths
from pipeline.schemas import Refusal
from pipeline.site.client import Client, Refused, Unavailable, gather
from pipeline.site.opening import open_site

GIVE_UP = 25  # pictures in a row that only temporary errors came for: the site is down, not the pictures


class Fetcher:
    """One run of the stage. Pictures wait as single files below .work until their pack is complete."""

    def __init__(self, params: Download, paths: Paths, ledger: Ledger) -> None:
        self._params, self._images, self._ledger = params, paths.images, ledger
        self._waiting = waiting(paths)
        self._refused = set(ledger.refusals())
        self._unavailable_in_a_row = 0

    async def fetch(self, planned: list[PlannedPack], site: Site) -> None:
        """Fetches and seals all packs, in order; raises what ends the run, with everything that arrived kept."""
        self._waiting.mkdir(parents=True, exist_ok=True)
        todo = [[one for one in pack.pictures if not self._is_settled(one)] for pack in planned]
        total = sum(map(len, todo))
        async with open_site(site, retries=self._params.retries) as client:
            with progress.meter("download", unit="pictures", total=total) as meter:
                for pack, missing in zip(planned, todo, strict=True):
                    await self._fetch_all(client, missing, meter)
                    await asyncio.to_thread(self._seal, pack)

    async def _fetch_all(self, client: Client, missing: list[Wanted], meter: progress.Meter) -> None:
        queue = iter(missing)

        async def work() -> None:
            for one in queue:  # shared: each worker takes the next
                await self._fetch_one(client, one)
                meter.advance(note=f"{len(self._refused):,} refused")

        workers = min(client.concurrency, len(missing))
        await gather([asyncio.create_task(work()) for _ in range(workers)])

    async def _fetch_one(self, client: Client, one: Wanted) -> None:
        """Leaves the picture in its waiting place, or a refusal in the ledger."""

        async def ask() -> Picture:
            answer = await client.file(one.path, max_bytes=self._params.max_bytes)
            return await asyncio.to_thread(inspect.picture, one, answer, self._params.max_pixels)

        def failed(detail: str) -> None:
            self._ledger.note(one.md5, one.variant, "retried", detail)

        try:
            picture = await client.retried(ask, failed)
        except Refused as refused:
            self._settle(one, refused.reason, refused.detail)
        except Unavailable as error:
            self._settle(one, error.reason, error.detail)
            self._count_unavailable(error, client)
        else:
            await asyncio.to_thread(atomic.write_bytes, self._place(one), picture.bytes)
            self._ledger.note(one.md5, one.variant, "kept")
            self._unavailable_in_a_row = 0

    def _count_unavailable(self, error: Unavailable, client: Client) -> None:
        if error.reason != Refusal.UNAVAILABLE:
            return
        self._unavailable_in_a_row += 1
        if self._unavailable_in_a_row >= GIVE_UP:
            self._ledger.reopen()  # they were not looked at: the next run must ask again
            raise SiteUnreachable(
                f"{client.address.static_url} gave only temporary errors for {GIVE_UP} pictures in a row, last: "
                f"{error.detail}. Every picture that arrived is kept. Run the same command again later."
            )

    def _settle(self, one: Wanted, reason: Refusal, detail: str) -> None:
        self._ledger.settle(one.md5, one.variant, reason, detail)
        self._refused.add((one.md5, one.variant))

    def _is_settled(self, one: Wanted) -> bool:
        return (one.md5, one.variant) in self._refused or self._place(one).exists()

    def _place(self, one: Wanted) -> Path:
        return self._waiting / f"{one.md5}.{one.variant}"

    def _seal(self, pack: PlannedPack) -> None:
        """Writes the pack from the waiting pictures, then clears these: never the other way round."""
        here = [one for one in pack.pictures if self._place(one).exists()]
        if here:
            pictures = (inspect.known(one, self._place(one).read_bytes()) for one in here)
            packs.write(self._images / pack.name, pictures)
        for one in here:
            self._place(one).unlink()


def waiting(paths: Paths) -> Path:
    """Returns the folder where pictures wait, as <md5>.<variant>, until their pack is complete."""
    return paths.work("download") / "pictures"
