"""Draws originals and variants in processes: the event loop stays free, all cores work.

The processes start with the first picture asked for, each gets the board once, and they
end with this process however it ends: a SIGKILL leaves none behind.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing.connection import wait
from typing import Self

from PIL import Image

from sandbox.records import Board, Post
from sandbox.server.variants import Encoding, Kind, NoPicture, render

# Of painted files; pictures are asked for again by other clients and after restarts
CACHE_BYTES = 64 << 20

Key = tuple[str, str, str]  # md5, kind of file, encoding


class Painter:
    """Files of one board by post.

    Use as an async context manager: leaving it ends the processes.
    """

    def __init__(self, board: Board, workers: int) -> None:
        """The board is pickled once to each of the `workers` processes.

        0.7 s of CPU for 30,000 posts.
        """
        self._pool: ProcessPoolExecutor | None = None
        # Spawned: forking a process with an event loop copies its threads.
        context = multiprocessing.get_context("spawn")
        self._start = partial(
            ProcessPoolExecutor,
            max_workers=workers,
            mp_context=context,
            initializer=_open_worker,
            initargs=(board,),
        )
        self._painting: dict[Key, asyncio.Future[bytes | None]] = {}
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._kept_bytes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._pool:
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def original(self, post: Post) -> bytes:
        """The file as uploaded."""
        key = (post.md5, "original", post.ext)
        painted = await self._paint(key, partial(_paint_original, post.md5))
        return painted or b""

    async def variant(self, post: Post, kind: Kind, encoding: Encoding) -> bytes | None:
        """The sample or preview.

        None where the original is nothing that Pillow can read, such as a video.
        """
        task = partial(_paint_variant, post.md5, kind, encoding, post.bg_color)
        return await self._paint((post.md5, kind, encoding), task)

    async def _paint(self, key: Key, task: Callable[[], bytes | None]) -> bytes | None:
        """Asks the cache, then whoever is painting the same file, then a process."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._painting:
            painting = asyncio.ensure_future(self._submit(task))
            self._painting[key] = painting
            painting.add_done_callback(partial(self._keep, key))
        # Shielded: one client that leaves must not take the picture from the others who
        # wait for it.
        return await asyncio.shield(self._painting[key])

    async def _submit(self, task: Callable[[], bytes | None]) -> bytes | None:
        self._pool = self._pool or self._start()
        # In a thread: to submit may start a process, and waits for it to read the
        # board.
        submitted = await asyncio.to_thread(self._pool.submit, task)
        return await asyncio.wrap_future(submitted)

    def _keep(self, key: Key, future: "asyncio.Future[bytes | None]") -> None:
        del self._painting[key]
        if future.cancelled() or future.exception():
            return
        painted = future.result()
        if not painted:
            return
        self._kept[key] = painted
        self._kept_bytes += len(painted)
        while self._kept_bytes > CACHE_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest)


_board: Board  # of a painting process; set by _open_worker


def _open_worker(board: Board) -> None:
    global _board
    # Ctrl-C reaches the whole group; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A picture of more than 89 million pixels takes gigabytes to scale: such posts have
    # no variants here.
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _board = board


def _die_with_parent() -> None:
    # The pool's queue never tells of a killed parent: every worker holds the writing
    # end open for the others.
    parent = multiprocessing.parent_process()
    if parent:
        wait([parent.sentinel])
        os._exit(1)


def _paint_original(md5: str) -> bytes:
    return _board.original(md5)


def _paint_variant(
    md5: str, kind: Kind, encoding: Encoding, bg_color: str | None
) -> bytes | None:
    try:
        return render(_board.original(md5), kind, encoding, bg_color)
    except NoPicture:
        return None
