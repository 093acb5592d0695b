"""Commands in sessions of their own: nothing of them outlives the call."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ops import processes
from tests.builders.toy_project import have_ended

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
child = subprocess.Popen(sleep, process_group=0)
print(os.getpid(), child.pid, flush=True)
"""


def test_interrupted_command_leaves_nothing_even_when_it_ignores_the_interrupt(
    tmp_path: Path,
) -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.extend(map(int, line.split()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        processes.stream(
            [sys.executable, "-c", STUBBORN + "time.sleep(600)"],
            tmp_path,
            interrupt,
            grace=1,
        )
    assert len(pids) == 2
    assert have_ended(pids, seconds=0)


def test_orphan_that_holds_the_output_open_is_not_waited_for(tmp_path: Path) -> None:
    lines: list[str] = []
    started = time.monotonic()
    assert (
        processes.stream(
            [sys.executable, "-c", STUBBORN + "os._exit(9)"],
            tmp_path,
            lines.append,
            grace=1,
        )
        == 9
    )
    assert time.monotonic() - started < 20
    assert have_ended([int(lines[0].split()[1])], seconds=0)


def test_command_of_a_thread_is_ended_by_an_event(tmp_path: Path) -> None:
    pids: list[int] = []
    stop = threading.Event()
    threading.Timer(1, stop.set).start()
    silent = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with pytest.raises(processes.Stopped):
        processes.stream(
            [sys.executable, "-c", silent],
            tmp_path,
            lambda line: pids.append(int(line)),
            grace=1,
            stop=stop,
        )
    assert have_ended(pids, seconds=0)


def test_a_command_sees_the_variables_it_is_given(tmp_path: Path) -> None:
    lines: list[str] = []
    show = "import os; print(os.environ['GIVEN'], 'PATH' in os.environ)"
    command = [sys.executable, "-c", show]
    variables = {"GIVEN": "value"}
    processes.stream(command, tmp_path, lines.append, variables=variables)
    assert lines == ["value True"]


def test_stages_left_in_a_folder_are_ended_and_nothing_else_is(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for folder in (here, elsewhere):
        (folder / "pipeline").mkdir(parents=True)
        stage = folder / "pipeline" / "__main__.py"
        stage.write_text("import time\ntime.sleep(600)\n")
    train = [sys.executable, "-m", "pipeline", "train"]
    commands = {
        "stage": (train, here),
        "person": (["sleep", "600"], here),
        "other": (train, elsewhere),
    }
    running = {}
    for name, (command, folder) in commands.items():
        running[name] = subprocess.Popen(command, cwd=folder)
    try:
        processes.end_all_in(here)
        assert have_ended([running["stage"].pid], seconds=0)
        assert running["person"].poll() is None
        assert running["other"].poll() is None
    finally:
        for process in running.values():
            process.kill()
            process.wait()
