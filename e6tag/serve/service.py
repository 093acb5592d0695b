"""From an upload to the outputs of the network: workers, batches, and who waits."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from e6tag import bundle
from e6tag.heatmaps import HeatmapModel
from e6tag.selection import Options, Selector
from e6tag.serve.batching import Batcher
from e6tag.serve.decoding import DecodePool
from e6tag.serve.limits import Limits
from e6tag.serve.metrics import Metrics
from e6tag.serve.refusals import Code, Refusal
from e6tag.serve.uploads import Buffer
from e6tag.tagger import Floats, Outputs, Pixels, Tagger

SELECTORS = 16
"""Selectors that are kept: most clients always ask with the same options."""


@dataclass(frozen=True, slots=True)
class Inferred:
    """What the network says of an image.

    outputs: of this image alone, arrays of length 1. pixels: what the network was
    given, uint8 [448, 448, 3], RGB. is_first_frame: of an animation.
    """

    outputs: Outputs
    pixels: Pixels
    is_first_frame: bool


class Service:
    """A tagger that many may ask at once."""

    def __init__(self, tagger: Tagger, limits: Limits, metrics: Metrics) -> None:
        self.tagger = tagger
        self.limits = limits
        self.buffer = Buffer(limits.buffered_bytes)
        self._decoders = DecodePool(limits, metrics)
        self._metrics = metrics
        self._batcher = Batcher(tagger, limits, metrics)
        self._heatmaps = HeatmapModel(tagger)
        self._selector = lru_cache(SELECTORS)(partial(Selector, tagger.bundle))
        self._pending = 0
        # Decoded images take 0.6 MB each: no more of them than are soon in a batch.
        self._decoded = asyncio.Semaphore(2 * limits.batch + limits.workers)

    async def start(self) -> None:
        """Starts the workers and the thread of the network."""
        await self._decoders.start()
        self._batcher.start()

    async def close(self) -> None:
        """Ends them. No request may be under way."""
        await self._batcher.close()
        await self._decoders.close()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Counts a request while it is answered; raises Refusal if there is no room."""
        if self._pending >= self.limits.queue:
            raise Refusal(Code.BUSY, "Too many requests are waiting. Try again later.")
        self._pending += 1
        self._metrics.pending.set(self._pending)
        try:
            yield
        finally:
            self._pending -= 1
            self._metrics.pending.set(self._pending)

    def selector(self, options: Options) -> Selector:
        """Returns what selects tags by these options; those of late are kept."""
        return self._selector(options)

    async def infer(self, body: bytes) -> Inferred:
        """Returns what the network says of one image file; raises Refusal."""
        try:
            inferred = await self._infer(body)
        except Refusal as refusal:
            self._metrics.images.labels(refusal.code).inc()
            raise
        self._metrics.images.labels("read").inc()
        return inferred

    async def _infer(self, body: bytes) -> Inferred:
        async with self._decoded:
            decoded = await self._decoders.pixels(body, self.tagger.bundle.fit)
            flat = np.frombuffer(decoded.content, np.uint8)
            pixels = flat.reshape(bundle.SIZE, bundle.SIZE, 3)
            outputs = await self._batcher.run(pixels)
        return Inferred(outputs, pixels, decoded.is_first_frame)

    async def thumbnail(self, body: bytes, size: int) -> bytes:
        """Returns an image file as a JPEG; raises Refusal. size: pixels a side."""
        return (await self._decoders.thumbnail(body, size)).content

    async def heatmaps(self, outputs: Outputs) -> Floats:
        """Returns float32 [h, w, rows], see e6tag.heatmaps."""
        return await asyncio.to_thread(self._heatmaps.grids, outputs.features)
