"""What people read in the terminal while a stage runs."""

import os
import pty
import re
import subprocess
import sys
import time

import pytest

from pipeline import progress
from tests.builders.project import ROOT


def test_line_says_count_rate_bytes_time_left_and_failures(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with progress.meter("download", unit="images", total=3000) as meter:
        time.sleep(0.1)
        meter.advance(10, "2 refused", bytes=5_000_000)
    line = capfd.readouterr().err
    assert re.fullmatch(
        r"download: 10 of 3,000 images, [\d.]+/s, [\d.]+ MB/s, \d+ (s|min) left, "
        r"2 refused\n",
        line,
    ), line


def test_what_an_earlier_run_fetched_says_nothing_about_the_rate() -> None:
    meter = progress.Meter("posts.csv.gz", "bytes", 2_000_000_000)
    meter.skip_done(1_000_000_000)
    time.sleep(0.1)
    meter.advance(1_000_000)
    assert re.fullmatch(
        r"1,001\.0 MB of 2,000\.0 MB, \d{1,2}\.\d MB/s, \d+ (s|min) left", meter.state()
    ), meter.state()


def test_line_comes_every_ten_seconds_though_nothing_is_finished(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.1)
    with progress.meter("download", unit="images", total=30):
        time.sleep(0.45)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) >= 3, (
        lines
    )  # four and the last one, on a machine that has the time
    assert set(lines) == {"download: 0 of 30 images, 0.0/s"}


def test_bar_on_a_terminal_shows_the_same() -> None:
    work = (
        "import time; from pipeline import progress\n"
        "with progress.meter('download', unit='images', total=9) as meter:\n"
        "    for _ in range(6): time.sleep(0.1); meter.advance(bytes=9_000_000, "
        "note='1 refused')"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-c", work], cwd=ROOT, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
        os.close(ours)
    assert process.returncode == 0
    assert re.search(
        rb"\d of 9 images, [\d.]+/s, [\d.]+ MB/s, \d+ s left, 1 refused", shown
    ), shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: the other side is closed
        return b""
