"""Leftovers, which are looked at while stages run."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops import leftovers
from pipeline.paths import Paths


@contextmanager
def working(root: Path) -> Iterator[None]:
    """Writes and removes what a stage does, again and again."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            for name in (".work/train/abc/below", "data/.sample.tmp/below"):
                folder = root / name
                folder.mkdir(parents=True)
                for number in range(20):
                    (folder / f"{number}").touch()
            shutil.rmtree(root / ".work")
            shutil.rmtree(root / "data")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_what_vanishes_meanwhile_is_passed_over(tmp_path: Path) -> None:
    end = time.monotonic() + 2
    with working(tmp_path):
        while time.monotonic() < end:
            leftovers.find(Paths(tmp_path))
            leftovers.measure([tmp_path / "data", tmp_path / ".work"])
