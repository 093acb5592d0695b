"""Requests in batches: the network takes several images at once."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from e6tag.serve.limits import Limits
from e6tag.serve.metrics import Metrics
from e6tag.tagger import Outputs, Pixels, Tagger


@dataclass(frozen=True, slots=True)
class _Waiting:
    pixels: Pixels
    outputs: asyncio.Future[Outputs]


class Batcher:
    """Runs the tagger in a thread of its own, on what has arrived in the meantime."""

    def __init__(self, tagger: Tagger, limits: Limits, metrics: Metrics) -> None:
        self._tagger = tagger
        self._limits = limits
        self._metrics = metrics
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "inference")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to take images."""
        self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Ends the thread after the batch at hand."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    async def run(self, pixels: Pixels) -> Outputs:
        """Returns the outputs of one image, arrays of length 1."""
        outputs = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Waiting(pixels, outputs))
        return await outputs

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._next_batch()
            self._metrics.batch_images.observe(len(batch))
            try:
                with self._metrics.inference_seconds.time():
                    outputs = await loop.run_in_executor(
                        self._thread, self._infer, batch
                    )
            except Exception as error:  # noqa: BLE001  # who waits gets it
                _fail(batch, error)
                continue
            for number, waiting in enumerate(batch):
                if not waiting.outputs.done():
                    waiting.outputs.set_result(outputs.of_image(number))

    async def _next_batch(self) -> list[_Waiting]:
        batch = [await self._queue.get()]
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.batch_seconds):
                while len(batch) < self._limits.batch:
                    batch.append(await self._queue.get())
        return batch

    def _infer(self, batch: list[_Waiting]) -> Outputs:
        pixels = np.stack([waiting.pixels for waiting in batch])
        return self._tagger.run(pixels)


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.outputs.done():
            waiting.outputs.set_exception(error)
