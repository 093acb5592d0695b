"""The pool of processes that decode uploads, each of which may die."""

import asyncio
import os
import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass

from PIL import Image

from e6tag import bundle, images
from e6tag.errors import E6tagError
from e6tag.images import Damage
from e6tag.serve import decode_worker
from e6tag.serve.limits import Limits
from e6tag.serve.metrics import Metrics
from e6tag.serve.refusals import Code, Refusal

ATTEMPTS = 2
"""Workers that an image may cost before it is blamed: somebody else may kill one."""

START_SECONDS = 60.0
"""That a worker may take to start, which is no fault of the image that waits for it."""

PIPE_BYTES = 1 << 20
"""Read from a worker at once: an image's pixels take 0.6 MB."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a worker made of an image file.

    content: pixels or a JPEG. is_first_frame: of an animation, which is not read on.
    """

    content: bytes
    is_first_frame: bool


class NoWorkers(E6tagError):
    """Workers that do not even decode a good image."""


class WorkerDied(Exception):
    """A worker that ended before it answered."""


class Worker:
    """One process that decodes, one image at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._is_ready = False
        self.is_busy = True
        """Whether an answer is under way, or will never come."""

    @classmethod
    async def start(cls, limits: Limits) -> "Worker":
        """Starts a process."""
        environment = dict(os.environ)
        # Each thread of OpenBLAS takes address space, and none is needed.
        environment["OPENBLAS_NUM_THREADS"] = "1"
        # What the server imports, it imports too, and nothing else.
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        process = await asyncio.create_subprocess_exec(
            *_command(limits),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
            limit=PIPE_BYTES,
            # A Ctrl+C in the terminal is for the server, which ends its workers last.
            process_group=0,
        )
        return cls(process)

    async def wait_until_ready(self) -> None:
        """Waits for a process that was just started; raises WorkerDied."""
        answers = self._process.stdout
        if self._is_ready or answers is None:
            return
        try:
            async with asyncio.timeout(START_SECONDS):
                await answers.readexactly(len(decode_worker.READY))
        except (asyncio.IncompleteReadError, TimeoutError) as error:
            raise WorkerDied from error
        self._is_ready = True
        self.is_busy = False

    async def ask(self, task: int, size: int, fit: str, body: bytes) -> Decoded:
        """Returns what the worker makes of an image file; raises Refusal, WorkerDied.

        A worker that is busy afterwards must be killed.
        """
        self.is_busy = True
        head = decode_worker.REQUEST.pack(task, size, bundle.FITS.index(fit), len(body))
        requests, answers = self._process.stdin, self._process.stdout
        if requests is None or answers is None:
            raise WorkerDied
        try:
            requests.writelines((head, body))
            await requests.drain()
            answer = await answers.readexactly(decode_worker.ANSWER.size)
            kind, is_first_frame, length = decode_worker.ANSWER.unpack(answer)
            content = await answers.readexactly(length)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise WorkerDied from error
        self.is_busy = False
        if kind == decode_worker.DONE:
            return Decoded(content, is_first_frame)
        raise _refusal(kind, content.decode())

    async def kill(self) -> None:
        """Ends the process at once."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def close(self) -> None:
        """Ends the process, which is idle."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(1):
                await self._process.wait()
        except TimeoutError:
            await self.kill()


def _command(limits: Limits) -> list[str]:
    """Returns the command of a worker, which does not import from its folder (-P)."""
    bounds = (str(limits.decode_bytes), str(limits.max_pixels))
    return [sys.executable, "-P", "-m", decode_worker.__name__, *bounds]


def _refusal(kind: int, text: str) -> Refusal:
    if kind == decode_worker.OUT_OF_MEMORY:
        return Refusal(
            Code.TOO_MUCH_MEMORY, "The image takes more memory to decode than allowed."
        )
    if kind == decode_worker.NOT_READ:
        return Refusal(Code.NOT_AN_IMAGE, f"{text[:1].upper()}{text[1:]}.")
    code = Code.DAMAGED_IMAGE
    if text == Damage.TOO_MANY_PIXELS:
        code = Code.TOO_MANY_PIXELS
    return Refusal(code, f"The image cannot be read: {text}.")


class DecodePool:
    """Workers that are replaced when they die."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        # None stands for a worker to start, so that a failure to do so loses none.
        self._idle: asyncio.LifoQueue[Worker | None] = asyncio.LifoQueue()

    async def start(self) -> None:
        """Starts the workers; raises NoWorkers where one cannot work."""
        good = images.encode_jpeg(Image.new("RGB", (8, 8)), quality=90)
        tries = []
        for _ in range(self._limits.workers):
            self._idle.put_nowait(None)
            tries.append(self.pixels(good, bundle.FITS[0]))
        for result in await asyncio.gather(*tries, return_exceptions=True):
            if isinstance(result, BaseException):
                await self.close()
                command = shlex.join(_command(self._limits))
                raise NoWorkers(
                    "the processes that decode images do not work. To see why: "
                    f"{command} < /dev/null"
                ) from result

    async def close(self) -> None:
        """Ends the workers, which must all be idle."""
        while not self._idle.empty():
            worker = self._idle.get_nowait()
            if worker is not None:
                await worker.close()

    async def pixels(self, body: bytes, fit: str) -> Decoded:
        """Returns what the network takes of an image file; raises Refusal.

        fit: one of bundle.FITS. The content is uint8 [448, 448, 3], RGB.
        """
        return await self._decode(decode_worker.PIXELS, bundle.SIZE, fit, body)

    async def thumbnail(self, body: bytes, size: int) -> Decoded:
        """Returns an image as a small JPEG; raises Refusal. size: pixels a side."""
        return await self._decode(decode_worker.THUMBNAIL, size, "crop", body)

    async def _decode(self, task: int, size: int, fit: str, body: bytes) -> Decoded:
        for _ in range(ATTEMPTS):
            try:
                return await self._ask_one(task, size, fit, body)
            except WorkerDied:
                self._metrics.dead_workers.inc()
        raise Refusal(Code.DECODER_CRASHED, "The image crashes its decoder.")

    async def _ask_one(self, task: int, size: int, fit: str, body: bytes) -> Decoded:
        worker = await self._idle.get()
        try:
            if worker is None:
                worker = await self._start_one()
            await worker.wait_until_ready()
            with self._metrics.decode_seconds.time():
                async with asyncio.timeout(self._limits.decode_seconds):
                    return await worker.ask(task, size, fit, body)
        except TimeoutError as error:
            raise Refusal(
                Code.DECODING_TOOK_TOO_LONG,
                "Decoding the image took longer than "
                f"{self._limits.decode_seconds:g} seconds.",
            ) from error
        finally:
            await self._give_back(worker)

    async def _start_one(self) -> Worker:
        """Starts a worker; raises Refusal where the system lacks what it takes."""
        try:
            return await Worker.start(self._limits)
        except OSError as error:
            raise Refusal(
                Code.BUSY, "No process can be started to decode it. Try again later."
            ) from error

    async def _give_back(self, worker: Worker | None) -> None:
        """Makes a worker idle; in place of one that must be killed, starts another."""
        idle = None
        try:
            if worker is None or not worker.is_busy:
                idle = worker
                return
            await worker.kill()
            with suppress(OSError):  # the next image tries again
                idle = await Worker.start(self._limits)
        finally:
            self._idle.put_nowait(idle)
