"""Parallel work on local processes or a Dask cluster, behind `Executor`.

Jobs are pure functions of their arguments that leave whole files or nothing, so that a
job that runs twice does no harm.
"""

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from pipeline import files, os_errors
from pipeline.errors import BadParameter, SiteUnreachable, TryAgainLater
from pipeline.params.cluster import Cluster
from pipeline.paths import Paths

if TYPE_CHECKING:
    from distributed import Client

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

# Jobs submitted per worker, so that none waits for the driver and few are lost with a
# pool
AHEAD = 3
DASK_TIMEOUT = 30  # seconds a scheduler has to answer
TRIES = 3  # pools that may break before the job at hand is blamed


def map_unordered(
    cluster: Cluster,
    function: Callable[[_Job], _Result],
    jobs: Iterable[_Job],
    paths: Paths,
) -> Iterator[_Result]:
    """Yields `function(job)` for all jobs, in the order they finish.

    `function` must be importable by the workers. Paths in jobs must be absolute: a
    worker of a cluster may have been started in any folder. paths: the project that
    workers of a cluster must see as this process does, else BadParameter is raised.

    A pool that breaks (a worker killed, out of memory) is replaced and its unfinished
    jobs are done again; when it keeps breaking, TryAgainLater names the job.
    """
    todo = list(jobs)
    for attempt in range(1, TRIES + 1):
        try:
            with _executor(cluster, len(todo), paths) as (executor, workers):
                for done, result in _drive(executor, workers, function, todo):
                    todo.remove(done)
                    yield result
        except _broken(cluster) as error:
            if attempt == TRIES:
                raise TryAgainLater(
                    f"worker processes were killed {TRIES} times, the last time with "
                    f"{len(todo):,} jobs left, first "
                    f"{str(todo[0])[:100]}. Perhaps memory is short: lower "
                    "cluster.workers, then run the same command "
                    "again."
                ) from error
        else:
            return


def _drive(
    executor: Executor,
    workers: int,
    function: Callable[[_Job], _Result],
    jobs: list[_Job],
) -> Iterator[tuple[_Job, _Result]]:
    """Keeps a bounded number of jobs submitted.

    Finished futures are dropped, so that their results are freed.
    """
    queue = iter(list(jobs))
    pending: dict[Future[_Result], _Job] = {}
    while True:
        for job in queue:
            pending[executor.submit(function, job)] = job
            if len(pending) >= workers * AHEAD:
                break
        if not pending:
            return
        finished, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in finished:
            yield pending.pop(future), future.result()


def _broken(cluster: Cluster) -> tuple[type[Exception], ...]:
    """Returns what is raised where a worker was killed at its work."""
    if cluster.scheduler is None:
        return (BrokenProcessPool,)
    from distributed import KilledWorker

    return (BrokenProcessPool, KilledWorker)


@contextmanager
def _executor(
    cluster: Cluster, jobs: int, paths: Paths
) -> Iterator[tuple[Executor, int]]:
    if cluster.scheduler is None:
        workers = max(1, min(cluster.workers or os.cpu_count() or 1, jobs))
        # Spawned, not forked: Polars and TensorFlow hold threads and locks that a fork
        # would copy.
        local: AbstractContextManager[Executor] = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_exit_with_parent,
            initargs=(os.getpid(),),
        )
        with local as executor:
            yield executor, workers
        return
    from distributed import Client

    try:
        client = Client(cluster.scheduler, timeout=DASK_TIMEOUT)
    except OSError as error:
        lack = os_errors.out_of_resources(error)
        if lack is not None:
            raise lack from error
        raise SiteUnreachable(
            f"no Dask scheduler answers at {cluster.scheduler}: {error}. Start one "
            "(dask scheduler, dask worker), "
            "or set cluster.scheduler to null to work on this machine."
        ) from error
    with client, client.get_executor(pure=False) as executor:
        _check_workers(client, cluster, paths)
        yield executor, max(1, sum(client.nthreads().values()))


def _check_workers(client: "Client", cluster: Cluster, paths: Paths) -> None:
    """Raises BadParameter where a worker sees another project or has other code.

    It would fail, or write into another checkout. Workers that join later are not
    checked.
    """
    try:
        client.wait_for_workers(1, timeout=DASK_TIMEOUT)
    except TimeoutError as error:
        raise SiteUnreachable(
            f"the Dask scheduler at {cluster.scheduler} has no worker. Start one (dask "
            "worker), or set cluster.scheduler to null to work on this machine."
        ) from error
    token = paths.work("cluster").absolute() / "token"
    expected = uuid4().hex
    files.write_text(token, expected)
    seen = client.run(_seen_by_worker, token, on_error="return")
    token.unlink()
    for worker, found in sorted(seen.items()):
        problem = _worker_problem(found, expected, paths)
        if problem:
            raise BadParameter(
                f"the Dask worker {worker} {problem}. Start it where the project is at "
                "the same path, with the same code, or set cluster.scheduler to null "
                "to work on this machine."
            )


def _worker_problem(found: Any, expected: str, paths: Paths) -> str | None:
    """Returns why a worker cannot do this project's work; None where it can."""
    if isinstance(found, BaseException):
        return f"cannot load the project's code ({found})"
    token, code = found
    if token != expected:
        return f"does not see the files of {paths.root.absolute()}"
    if code != _code_digest():
        return "has other code of e6tag or pipeline than this process"
    return None


def _seen_by_worker(token: Path) -> tuple[str, str]:
    """Returns the token, empty where it cannot be read, and the digest of the code."""
    try:
        text = token.read_text(encoding="utf-8")
    except OSError:
        text = ""
    return text, _code_digest()


def _code_digest() -> str:
    """Returns a SHA-256 of all code of e6tag and pipeline."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for package in ("e6tag", "pipeline"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _exit_with_parent(parent: int) -> None:
    """Makes a worker end when its parent is gone.

    A killed stage must not leave workers that write beside the next.
    """
    import threading
    import time

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
