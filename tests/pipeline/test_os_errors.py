"""Trouble of the machine is told as what it is, and blames no file and no parameter."""

import ctypes
import errno
import resource
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pipeline import os_errors, parquet
from pipeline.errors import E6tagError, NoPermission, NoSpace, OutOfResources
from tests.builders.project import Project, hashes, run_command

PR_CAPBSET_DROP = 24  # of prctl
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def limited(kind: int, limit: int) -> Callable[[], None]:
    """Returns what limits a new process, as `ulimit` in its shell would."""
    return lambda: resource.setrlimit(kind, (limit, limit))


def bound_by_permissions() -> None:
    """Takes from a new process of root what lets it ignore permissions of files."""
    library = ctypes.CDLL(None)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        library.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def error_line(stderr: str) -> str:
    """Returns the last line; fails where there is a traceback beside it."""
    assert "Traceback" not in stderr
    return stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.EMFILE, OutOfResources, "x: too many open files, of which a process"),
        (errno.ENFILE, OutOfResources, "x: too many open files on this machine"),
        (errno.ENOMEM, OutOfResources, "x: memory ran out"),
        (errno.EIO, OutOfResources, "x: the disk does not read or write"),
        (errno.EACCES, NoPermission, "no permission to read x: Permission denied"),
        (errno.EPERM, NoPermission, "no permission to read x: Operation not"),
        (errno.ENOSPC, NoSpace, "x cannot be written: the disk is full"),
        (errno.EROFS, NoSpace, "x cannot be written: the disk is read-only"),
        (errno.EDQUOT, NoSpace, "x cannot be written: the disk is over its quota"),
    ],
)
def test_a_table_is_not_called_damaged_for_what_the_machine_does(
    number: int, kind: type[E6tagError], message: str
) -> None:
    error = parquet.corrupt_file_error(Path("x"), OSError(number, "any words"))
    assert type(error) is kind
    assert str(error).startswith(message)
    assert "Delete" not in str(error)


def test_polars_gives_the_number_in_its_message() -> None:
    error = OSError("Too many open files (os error 24): data/x.parquet")
    assert isinstance(os_errors.explain(error), OutOfResources)


def test_a_damaged_file_is_not_the_machines_trouble() -> None:
    assert os_errors.explain(OSError("Corrupt snappy compressed data.")) is None
    assert os_errors.explain(FileNotFoundError(errno.ENOENT, "No such file")) is None


def test_too_few_open_files_can_be_tried_again(ready: Project) -> None:
    limit = limited(resource.RLIMIT_NOFILE, 9)
    before = hashes(ready.paths.images)
    for command in (["shard"], ["packs", "verify"], ["download"]):
        done = run_command(ready.paths.root, *command, preexec_fn=limit)
        if done.returncode == 0:  # it needs fewer
            continue
        assert done.returncode == 75, done.stderr
        assert "too many open files, of which a process may have 9" in error_line(
            done.stderr
        )
    assert hashes(ready.paths.images) == before
    assert run_command(ready.paths.root, "shard").returncode == 0


def test_too_little_memory_for_the_libraries_can_be_tried_again(ready: Project) -> None:
    # With some more, Polars starts, and its allocator aborts: nobody can catch that.
    limit = limited(resource.RLIMIT_AS, 300_000_000)
    done = run_command(ready.paths.root, "sample", preexec_fn=limit)
    assert done.returncode == 75, done.stderr
    line = error_line(done.stderr)
    assert line.startswith(
        ("error: memory ran out", "error: no more processes or threads")
    )
    assert "What is finished is kept" in line


def test_memory_that_a_worker_lacks_can_be_tried_again() -> None:
    from pipeline import workers
    from pipeline.params.cluster import Cluster
    from pipeline.paths import Paths
    from pipeline.stage_runner import _expected

    with pytest.raises(MemoryError) as raised:
        list(workers.map_unordered(Cluster(workers=1), bytearray, [1 << 60], Paths()))
    assert isinstance(_expected(raised.value), OutOfResources)


@pytest.mark.parametrize(
    ("name", "mode", "command", "message"),
    [
        pytest.param(
            "data",
            0o555,
            ["sample"],
            "no permission to read or write data/.sample.tmp: Permission denied",
            id="a folder to write",
        ),
        pytest.param(
            "data/snapshot/tags.parquet",
            0,
            ["sample"],
            "no permission to read data/snapshot/tags.parquet: Permission denied",
            id="a table",
        ),
        pytest.param(
            "data/snapshot/tags.parquet",
            0,
            ["validate", "snapshot"],
            "no permission to read data/snapshot/tags.parquet: Permission denied",
            id="a table at its gate",
        ),
        pytest.param(
            "data/ledger.sqlite",
            0o444,
            ["download"],
            "no permission to write data/ledger.sqlite: attempt to write",
            id="the ledger",
        ),
    ],
)
def test_a_missing_permission_is_named_and_is_not_a_lack_of_room(
    ready: Project, name: str, mode: int, command: list[str], message: str
) -> None:
    path = ready.paths.root / name
    path.chmod(mode)
    done = run_command(ready.paths.root, *command, preexec_fn=bound_by_permissions)
    path.chmod(0o755)
    assert done.returncode == 1
    line = error_line(done.stderr)
    assert line.startswith(f"error: {message}")
    assert "Make room" not in line


def test_a_pack_that_may_not_be_read_is_not_removed(ready: Project) -> None:
    before = hashes(ready.paths.images)
    pack = min(ready.paths.images.glob("pack-*"))
    pack.chmod(0)
    for command in ("download", "shard"):
        done = run_command(ready.paths.root, command, preexec_fn=bound_by_permissions)
        assert done.returncode == 1
        assert "error: no permission to read" in done.stderr
        assert f"data/images/{pack.name}: Permission denied" in done.stderr
    pack.chmod(0o644)
    assert hashes(ready.paths.images) == before


def test_a_database_that_another_process_holds_can_be_tried_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as holder:
        holder.execute("begin exclusive")
        with (
            closing(sqlite3.connect(path, timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError) as raised,
        ):
            other.execute("begin immediate")
    error = os_errors.explain_sqlite(raised.value, str(path))
    assert isinstance(error, OutOfResources)
    assert "database is locked" in str(error)
