"""`e6tag serve`: as a process, and in the test's own process with other limits."""

import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from aiohttp import web

from e6tag.serve import server
from e6tag.serve.limits import Limits
from e6tag.tagger import Tagger
from tests.builders.e6tag_command import COMMAND, environment

SECONDS = 30
"""That a server may take to start or to end."""

DECODER = "e6tag.serve.decode_worker"


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens. url: ends with a slash."""

    url: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rstrip("/").rpartition(":")[2])

    def decoders(self) -> list[psutil.Process]:
        """Returns the processes that decode images."""
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if DECODER in child.cmdline()]

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Ends it by a signal; returns its exit status and what it printed."""
        self.process.send_signal(number)
        printed, _ = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, printed


@contextmanager
def serving(
    bundle: Path,
    *options: str | Path,
    before: Callable[[], None] | None = None,
) -> Iterator[Server]:
    """Starts a server on any free port. before: what its process does first."""
    arguments = ["serve", "--bundle", bundle, "--port", "0", *options]
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(None),
        preexec_fn=before,
    )
    # Else a server that neither starts nor ends would hold up the test.
    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    assert process.stdout is not None
    line = process.stdout.readline()
    timer.cancel()
    try:
        assert line.startswith("Open http://"), line + process.stdout.read()
        yield Server(line.split()[1], process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@asynccontextmanager
async def serving_here(bundle: Path, limits: Limits) -> AsyncIterator[str]:
    """Serves in this process, with limits that no option sets; yields the URL."""
    app = server.make_app(Tagger(bundle), limits, names=[])
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    listener = await server.listen(runner, server.Address("127.0.0.1", 0))
    try:
        yield server.url_of(listener)
    finally:
        listener.close()
        await runner.cleanup()


def exchange(port: int, sent: bytes) -> bytes:
    """Sends bytes over a connection of its own; returns all until it is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(sent)
        received = b""
        while part := connection.recv(65_536):
            received += part
    return received
