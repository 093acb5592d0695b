"""Many images through a tagger: decoded in threads while the network runs, in order."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from e6tag import images, inputs
from e6tag.inputs import Input, Unreadable
from e6tag.stills import Prepared
from e6tag.tagger import Outputs, Pixels, Tagger

BATCH_SIZE = 8  # images; beyond it a CPU gains nothing and answers come later


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the network takes of an image, and the size of the upright image."""

    pixels: Pixels
    size: tuple[int, int]


_Task = Future[Prepared[Decoded]]


@dataclass(frozen=True, slots=True)
class Inferred:
    """What became of an input.

    outputs: of one image, each array with a first dimension of 1; None of what cannot
    be read. size: width and height of the upright image, with the outputs. note: what
    must be said of the image. failure: why it cannot be read.
    """

    source: Input
    outputs: Outputs | None = None
    size: tuple[int, int] | None = None
    note: str | None = None
    failure: str | None = None


def infer(
    tagger: Tagger,
    sources: Iterable[Input],
    *,
    batch_size: int = BATCH_SIZE,
    workers: int | None = None,
) -> Iterator[Inferred]:
    """Yields what the network says of each input, in their order.

    batch_size: images that the network gets at once. workers: threads that decode;
    None: one per core. No more than three batches of images are held at any moment:
    one in the network, two that are decoded or wait.
    """
    threads = workers or os.cpu_count() or 1
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        decoded = _decode(pool, tagger, iter(sources), ahead=2 * batch_size)
        batch: list[tuple[Input, Prepared[Decoded] | Unreadable]] = []
        size = 0
        for source, result in decoded:
            batch.append((source, result))
            size += isinstance(result, Prepared)
            if size == batch_size or size == 0:
                yield from _run(tagger, batch)
                batch, size = [], 0
        yield from _run(tagger, batch)
    finally:
        pool.shutdown(cancel_futures=True)


def _decode(
    pool: ThreadPoolExecutor, tagger: Tagger, sources: Iterator[Input], *, ahead: int
) -> Iterator[tuple[Input, Prepared[Decoded] | Unreadable]]:
    """Yields inputs and their pixels; `ahead` of them are being decoded meanwhile."""
    waiting: deque[tuple[Input, _Task]] = deque()
    while True:
        for source in islice(sources, ahead - len(waiting)):
            task = pool.submit(inputs.decode, source, partial(_decode_body, tagger))
            waiting.append((source, task))
        if not waiting:
            return
        source, task = waiting.popleft()
        try:
            yield source, task.result()
        except Unreadable as error:
            yield source, error


def _decode_body(tagger: Tagger, body: bytes) -> Decoded:
    """Decodes an image file; raises images.Undecodable."""
    info = images.read_info(body)
    return Decoded(tagger.prepare(body), (info.width, info.height))


def _run(
    tagger: Tagger, batch: list[tuple[Input, Prepared[Decoded] | Unreadable]]
) -> Iterator[Inferred]:
    """Yields what the network says of a batch and what is wrong with the rest of it."""
    pixels = []
    for _, result in batch:
        if isinstance(result, Prepared):
            pixels.append(result.result.pixels)
    if pixels:
        outputs = tagger.run(np.stack(pixels))
    number = 0
    for source, result in batch:
        if isinstance(result, Unreadable):
            yield Inferred(source, failure=str(result))
            continue
        size = result.result.size
        yield Inferred(source, outputs.of_image(number), size, note=result.note)
        number += 1
