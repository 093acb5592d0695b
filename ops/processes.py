"""Runs commands in sessions of their own, with their output line by line.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

GRACE = 15.0
"""Seconds between SIGINT and SIGKILL.

A Prefect worker waits 30 before it kills the flow itself."""

_POLL = 0.2  # seconds between two checks of a silent command


class Stopped(Exception):
    """The command was ended because another thread set the event given to `stream`."""


def stream(
    command: Sequence[str],
    root: Path,
    on_line: Callable[[str], None],
    grace: float = GRACE,
    variables: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
) -> int:
    """Runs `command` in `root` and returns its exit status.

    Calls `on_line` with each line of its output. grace: seconds, as GRACE. variables:
    of the environment, besides this process's. stop: ends the command once it is set,
    and raises Stopped; for commands that are run from a thread, which no signal
    reaches.
    """
    process = subprocess.Popen(
        command,
        cwd=root,
        env={**environment(), **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        for line in _lines(process, stop or threading.Event()):
            on_line(line)
        return process.wait()
    finally:
        _stop(process, grace)


def environment() -> dict[str, str]:
    """Returns the environment of a command: this Python first on PATH, unbuffered.

    The commands of dvc.yaml are `python`.
    """
    # Not resolved: the python of a virtual environment is a link, and only its own
    # folder knows the packages.
    folder = str(Path(sys.executable).parent)
    folders = os.environ.get("PATH", os.defpath)
    path = os.pathsep.join([folder, folders])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1"}


def end_all_in(folder: Path) -> None:
    """Kills the DVC and stages that run in a folder and whose starter was killed.

    The caller must know that none of them is wanted: nothing else may work there.
    """
    orphans = _commands_in(folder)
    while orphans:
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.kill()
        time.sleep(_POLL / 10)
        orphans = _commands_in(folder)


def _commands_in(folder: Path) -> list[psutil.Process]:
    """Returns the processes that run DVC or a stage in a folder, without zombies.

    Not every process there: a person's shell may be one.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.cwd() != str(folder.resolve()):
                continue
            command = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if "-m dvc " in command or "-m pipeline " in command:
            found.append(process)
    return found


def _lines(process: subprocess.Popen[str], stop: threading.Event) -> Iterator[str]:
    """Yields the output's lines that are not empty.

    Ends with the output, or with the command; raises Stopped.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    arguments = (process, lines)
    reader = threading.Thread(
        target=_read_output, args=arguments, name="output", daemon=True
    )
    reader.start()
    while True:
        if stop.is_set():
            raise Stopped
        try:
            line = lines.get(timeout=_POLL)
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


def _read_output(
    process: subprocess.Popen[str], lines: "queue.SimpleQueue[str | None]"
) -> None:
    """Moves the output into the queue; None marks its end.

    In a thread, so that signals are handled between two lines.
    """
    if process.stdout:
        with process.stdout as output:
            for line in output:
                lines.put(line.rstrip())
    lines.put(None)


def _stop(process: subprocess.Popen[str], grace: float) -> None:
    """Sends SIGINT to the group, on which DVC and Python clean up.

    After `grace` seconds sends SIGKILL to all that are left.
    """
    try:
        if _alive(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            deadline = time.monotonic() + grace
            while _alive(process.pid) and time.monotonic() < deadline:
                time.sleep(_POLL / 2)
    finally:  # also when a second Ctrl-C cuts the wait short
        _kill_session(process.pid)
        process.wait()


def _kill_session(session: int) -> None:
    """Kills the processes of a session until none is left."""
    survivors = _alive(session)
    while survivors:
        for survivor in survivors:
            with contextlib.suppress(psutil.NoSuchProcess):
                survivor.kill()
        time.sleep(_POLL / 10)
        survivors = _alive(session)


def _alive(session: int) -> list[psutil.Process]:
    """Returns the processes of the session, without zombies.

    The session and not the group: shells and pools may open new groups.
    """
    found = []
    for process in psutil.process_iter():
        try:
            is_member = os.getsid(process.pid) == session
            if is_member and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            continue
    return found
