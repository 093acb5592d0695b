"""Commands in sessions of their own: output line by line while they run.

And nothing left of them afterwards.

Guarantees  however `stream` ends (exit, exception, Ctrl-C, SIGTERM turned into an
            exception), no process of the command's session is alive when it returns,
            pools of grandchildren included; the command's `python` is this one; a
            grandchild that keeps the output open cannot make it wait for ever.
"""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

# Seconds between SIGINT and SIGKILL; a Prefect worker allows 30 before it kills the
# flow itself
GRACE = 15.0
POLL = 0.2  # seconds between two looks at a silent command


def stream(
    command: Sequence[str],
    root: Path,
    on_line: Callable[[str], None],
    grace: float = GRACE,
) -> int:
    """Runs `command` in `root`, gives each line of its output to `on_line`.

    And returns its exit status.
    """
    process = subprocess.Popen(
        command,
        cwd=root,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        for line in _lines(process):
            on_line(line)
        return process.wait()
    finally:
        _stop(process, grace)


def environment() -> dict[str, str]:
    """This process's environment, with this Python first on PATH, output unbuffered.

    The commands of dvc.yaml are `python`.
    """
    # Not resolved: the python of a virtual environment is a link, and only its own
    # folder knows the packages.
    folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
    }


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """The output's lines that are not empty, until it ends or the command does."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(
        target=_pump, args=(process, lines), name="output", daemon=True
    ).start()
    while True:
        try:
            line = lines.get(timeout=POLL)
        except queue.Empty:
            # The orphans of a process pool whose parent was killed sleep for ever and
            # hold the output open.
            if process.poll() is None:
                continue
            return
        if line is None:
            return
        if line:
            yield line


def _pump(
    process: subprocess.Popen[str], lines: "queue.SimpleQueue[str | None]"
) -> None:
    """Moves the output into the queue; None marks its end.

    Reading in a thread lets signals in between two lines.
    """
    if process.stdout:
        with process.stdout as output:
            for line in output:
                lines.put(line.rstrip())
    lines.put(None)


def _stop(process: subprocess.Popen[str], grace: float) -> None:
    """SIGINT to the group, on which DVC and Python clean up.

    After `grace` seconds SIGKILL to whoever is left.
    """
    try:
        if _alive(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            deadline = time.monotonic() + grace
            while _alive(process.pid) and time.monotonic() < deadline:
                time.sleep(POLL / 2)
    finally:  # also when a second Ctrl-C cuts the wait short
        while left := _alive(process.pid):
            for survivor in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    survivor.kill()
            time.sleep(POLL / 10)
        process.wait()


def _alive(session: int) -> list[psutil.Process]:
    """Processes of the session, zombies aside.

    The session and not the group: shells and pools may open new groups.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if (
                os.getsid(process.pid) == session
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            continue
    return found
