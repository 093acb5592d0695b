"""Time and memory of every stage's last run."""

import dataclasses
import json
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline import resources
from pipeline.paths import Paths
from pipeline.resources import Meter, Usage
from tests.builders.project import Project, run_command

USAGE = Usage(1.5, 2.5, 300_000_000, "2026-11-29T08:00:00+00:00")

# It holds 200 MB until its standard input ends.
HOLDER = """
import sys
held = bytearray(200_000_000)
print("ready", flush=True)
sys.stdin.read()
"""


STAGE = f"""
import subprocess, sys, time
from pipeline.resources import INTERVAL, Meter

with Meter() as meter:
    before = meter.usage().peak_bytes
    command = [sys.executable, "-c", {HOLDER!r}]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        process.stdout.readline()
        time.sleep(2.5 * INTERVAL)
        process.communicate()
print(meter.usage().peak_bytes - before)
"""


def test_memory_of_workers_is_counted() -> None:
    # In a process of its own: one that has had far more before hides the worker's.
    command = [sys.executable, "-c", STAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 200_000_000


def test_memory_of_the_process_that_started_the_stage_is_not_counted() -> None:
    measured = "from pipeline.resources import Meter\nwith Meter() as meter: pass\n"
    measured += "print(meter.usage().peak_bytes)"
    held = bytearray(500_000_000)
    command = [sys.executable, "-c", measured]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 1_000_000 < int(done.stdout) < len(held) / 2


def test_time_of_the_processor_is_counted() -> None:
    with Meter() as meter:
        ends = time.process_time() + 0.3
        while time.process_time() < ends:
            pass
    usage = meter.usage()
    assert usage.cpu_seconds >= 0.3
    assert usage.seconds >= 0.3
    age = datetime.now(UTC) - datetime.fromisoformat(usage.finished)
    assert 0 <= age.total_seconds() < 60


def test_stages_that_end_and_no_others_are_recorded(ready: Project) -> None:
    root = ready.paths.root
    assert run_command(root, "sample").returncode == 0
    assert run_command(root, "validate", "sample").returncode == 0
    recorded = resources.read(ready.paths)
    assert {"sample", "validate@sample"} <= set(recorded)
    assert recorded["sample"].peak_bytes > 30_000_000
    assert recorded["sample"].seconds > 0

    (ready.paths.snapshot / "tags.parquet").unlink()
    assert run_command(root, "sample").returncode == 1
    assert resources.read(ready.paths)["sample"] == recorded["sample"]


def test_stages_that_end_at_once_are_all_recorded(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    stages = [f"stage{number}" for number in range(20)]
    threads = []
    for stage in stages:
        thread = threading.Thread(target=resources.save, args=(paths, stage, USAGE))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    assert resources.read(paths) == dict.fromkeys(stages, USAGE)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("{", id="no JSON"),
        pytest.param("[]", id="a list"),
        pytest.param('{"sample": {"seconds": 1}}', id="fields missing"),
        pytest.param(
            json.dumps({"sample": dataclasses.asdict(USAGE) | {"seconds": "long"}}),
            id="no number",
        ),
    ],
)
def test_a_damaged_file_is_set_aside(
    tmp_path: Path, content: str, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = Paths(tmp_path)
    paths.data.mkdir()
    paths.resources.write_text(content)
    resources.save(paths, "sample", USAGE)
    assert resources.read(paths) == {"sample": USAGE}
    aside = paths.resources.with_name("resources.json.damaged")
    assert aside.read_text() == content
    assert "kept as resources.json.damaged" in capfd.readouterr().err


def test_a_disk_that_takes_nothing_fails_no_stage(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").write_text("no folder")
    resources.save(Paths(tmp_path), "sample", USAGE)
    assert "what sample took is not saved" in capfd.readouterr().err
