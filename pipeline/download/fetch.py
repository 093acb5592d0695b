"""Fetches the pictures of planned packs: many requests under way, each picture on disk as soon as it is whole."""

import asyncio
from pathlib import Path

from pipeline import atomic, packs, progress
from pipeline.download import inspect
from pipeline.download.keeping import waiting
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

GIVE_UP = 25  # pictures in a row that the site gave none of: it is the site that fails, not the pictures

SITE_WIDE = frozenset({Refusal.UNAVAILABLE, Refusal.FORBIDDEN, Refusal.NOT_A_PICTURE, Refusal.REDIRECTED})
"""Refusals that a site which is down, or has shut this client out, gives for every picture. So is NOT_FOUND, where
files are looked for in the wrong place, but only as long as not one was ever found there."""


class Fetcher:
    """One run of the stage. Pictures wait as single files below .work until their pack is complete."""

    def __init__(self, params: Download, paths: Paths, ledger: Ledger) -> None:
        self._params, self._paths, self._images, self._ledger = params, paths, paths.images, ledger
        self._waiting = waiting(paths)
        self._refused = set(ledger.refusals())
        self._failing: list[tuple[str, str]] = []  # md5 and variant of the pictures that failed since one came
        self._any_found = bool(packs.files(paths.images))

    async def fetch(self, planned: list[PlannedPack], site: Site) -> None:
        """Fetches and seals all packs, in order; raises what ends the run, with everything that arrived kept."""
        self._waiting.mkdir(parents=True, exist_ok=True)
        todo = [[one for one in pack.pictures if not self._is_settled(one)] for pack in planned]
        total = sum(map(len, todo))
        async with open_site(site, self._paths, "download", retries=self._params.retries) as client:
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
        except (Refused, Unavailable) as answer:
            self._settle(one, answer.reason, answer.detail)
            self._judge_site(client, one, answer)
        else:
            await asyncio.to_thread(atomic.write_bytes, self._place(one), picture.bytes)
            self._ledger.note(one.md5, one.variant, "kept")
            self._failing, self._any_found = [], True

    def _judge_site(self, client: Client, one: Wanted, answer: Refused | Unavailable) -> None:
        """Ends the run when too many pictures in a row fail in a way that tells of the site."""
        if answer.reason not in SITE_WIDE and (answer.reason != Refusal.NOT_FOUND or self._any_found):
            return
        self._failing.append((one.md5, one.variant))
        if len(self._failing) >= GIVE_UP:
            self._ledger.forget(self._failing)
            raise SiteUnreachable(
                f"{client.address.static_url} gave none of {GIVE_UP} pictures in a row, the last: {answer.reason}, "
                f"{answer.detail}. Every picture that arrived is kept and these will be asked for again. Check "
                "site.static_url and site.contact, or run the same command again later."
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
