"""What a server takes on: bounds of bytes, pixels, time and memory."""

import os
from dataclasses import dataclass
from typing import Self

MEBIBYTE = 1 << 20

WORKER_BYTES = 512 * MEBIBYTE
"""Address space of a worker that decodes nothing: Python, NumPy, Pillow."""

BYTES_PER_PIXEL = 20
"""At its most: pixels with transparency, those on white, and copies on the way."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request, of one worker and of all that wait.

    max_bytes, max_pixels: of an image. max_images: in a request. upload_seconds: until
    a request has arrived. decode_seconds: until an image is decoded. decode_bytes: of
    memory (address space) that a worker may take. queue: requests at once; more are
    answered by 503. buffered_bytes: of all uploads that are held at once. batch: images
    that the network takes at once; batch_seconds: how long the first waits for others.
    workers: processes that decode.
    """

    max_bytes: int = 20 * MEBIBYTE
    max_pixels: int = 50_000_000
    max_images: int = 32
    upload_seconds: float = 30.0
    decode_seconds: float = 10.0
    decode_bytes: int = 1536 * MEBIBYTE
    queue: int = 256
    buffered_bytes: int = 256 * MEBIBYTE
    batch: int = 8
    batch_seconds: float = 0.002
    workers: int = os.cpu_count() or 1

    @classmethod
    def for_images(
        cls, *, max_bytes: int, max_pixels: int, queue: int, workers: int | None
    ) -> Self:
        """Returns limits whose memory is enough for images of these bounds.

        workers: None for one per core.
        """
        usual = cls()
        return cls(
            max_bytes=max_bytes,
            max_pixels=max_pixels,
            decode_bytes=WORKER_BYTES + BYTES_PER_PIXEL * max_pixels,
            queue=queue,
            buffered_bytes=max(usual.buffered_bytes, 4 * max_bytes),
            workers=workers or usual.workers,
        )
