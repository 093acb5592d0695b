"""A toy project under DVC, and a Prefect service that runs it.

The toy project has this project's flows/, prefect.yaml and prefect.toml, a dvc.yaml of
five stages, and a package `pipeline` whose stages do what a file of their own orders:
work, fail, sleep. Everything listens on 127.0.0.1.
"""

import contextlib
import itertools
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.builders.project import ROOT

BIN = Path(sys.executable).parent


ORDER = ("harvest", "validate@snapshot", "evaluate", "validate@evaluation", "report")


DVC_YAML = """\
stages: # in an order that is not the one they run in
  report:
    cmd: python -m pipeline report
    deps: [orders/report, data/evaluation, data/gates/evaluation/verdict.json]
    outs: [reports/index.html]
  evaluate:
    cmd: python -m pipeline evaluate
    deps: [orders/evaluate, data/snapshot, data/gates/snapshot/verdict.json]
    outs: [data/evaluation]
  harvest:
    cmd: python -m pipeline harvest
    deps: [orders/harvest]
    outs: [data/snapshot]
  validate:
    foreach:
      snapshot: {data: data/snapshot}
      evaluation: {data: data/evaluation}
    do:
      cmd: python -m pipeline validate ${key}
      deps: ["${item.data}", "orders/${key}"]
      outs: ["data/gates/${key}/verdict.json"]
"""


TOY = '''\
"""Stages that follow their file in orders/.

It holds `work`, `exit STATUS`, `exit-once STATUS` or `sleep`."""
import json, os, subprocess, sys, time
from pathlib import Path

def write(path, text):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

def verdict(dataset, success):
    broken = {
        "table": "posts",
        "column": "score",
        "rule": "is in the range",
        "description": "scores are small",
        "severity": "critical",
        "success": success,
        "checked": 7,
        "unexpected": 0 if success else 3,
    }
    sound = dict(broken, column="post_id", rule="is unique", success=True, unexpected=0)
    tree = {"success": success, "expectations": [sound, broken]}
    write(f"data/gates/{dataset}/verdict.json", json.dumps(tree))

stage = sys.argv[-1]
print(f"{stage} speaks, python {sys.executable}")
order, *argument = Path("orders", stage).read_text().split()
tried = Path("tried")
if order == "sleep":
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    write("sleepers.part", json.dumps([os.getpid(), child.pid]))
    os.rename("sleepers.part", "sleepers")
    time.sleep(600)
if order == "exit" or order == "exit-once" and not tried.exists():
    tried.touch()
    if sys.argv[1] == "validate":
        verdict(stage, False)
    sys.exit(int(argument[0]))
tried.unlink(missing_ok=True)
if sys.argv[1] == "validate":
    verdict(stage, True)
elif stage == "harvest":
    write("data/snapshot/posts", "".join(argument))
elif stage == "evaluate":
    macro_auc = {"value": 0.9, "baseline": 0.5}
    metrics = {"splits": {"test": {"macro_auc": macro_auc}}}
    write("data/evaluation/metrics.json", json.dumps(metrics))
elif stage == "report":
    write("reports/index.html", "<p>read me</p>")
'''


@dataclass(frozen=True)
class ToyProject:
    """A toy project on disk.

    Orders carry a number, so that giving one always makes its stage stale.
    """

    root: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def order(self, stage: str, order: str = "work") -> None:
        """Tells a stage what to do when it next runs."""
        (self.root / "orders" / stage).write_text(f"{order} {next(self.numbers)}\n")

    def work(self) -> None:
        """Every stage stale, and willing."""
        for stage in (
            "refresh",
            "harvest",
            "snapshot",
            "evaluate",
            "evaluation",
            "report",
        ):
            self.order(stage)


def make_toy_project(root: Path) -> ToyProject:
    (root / "pipeline").mkdir(parents=True)
    (root / "pipeline" / "__init__.py").touch()
    (root / "pipeline" / "__main__.py").write_text(TOY)
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / ".gitignore").write_text("/data/\n/reports/\n")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text(
        f"[core]\n    analytics = false\n    site_cache_dir = {root / '.site'}\n"
    )
    (root / "orders").mkdir()
    shutil.copytree(
        ROOT / "flows", root / "flows", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("prefect.yaml", "prefect.toml"):
        shutil.copy(ROOT / name, root)
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    project = ToyProject(root)
    project.work()
    return project


def have_ended(pids: list[int], seconds: float) -> bool:
    """Whether these processes end within that time.

    A zombie is gone: only its entry waits for its parent.
    """
    deadline = time.monotonic() + seconds
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Recorder(socketserver.ThreadingTCPServer):
    """A proxy that writes down who was asked for and refuses.

    All that leaves this machine would pass it.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Refuse)

    @property
    def url(self) -> str:
        """What goes into HTTP_PROXY."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Refuse(socketserver.StreamRequestHandler):
    """One refused request."""

    server: Recorder

    def handle(self) -> None:
        """Writes down the request line."""
        self.server.asked.append(self.rfile.readline().decode(errors="replace").strip())
        self.wfile.write(
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )


@dataclass(frozen=True)
class Service:
    """A Prefect server and a worker, the toy project deployed on them.

    And what a test asks of them.
    """

    project: ToyProject
    environment: dict[str, str]
    client: httpx.Client
    logs: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def prefect(self, *arguments: str) -> str:
        """Runs a prefect command to its end; returns its output."""
        return self.call("prefect", *arguments)

    def call(self, command: str, *arguments: str, status: int = 0) -> str:
        """Runs a command of this virtual environment in the project.

        Returns its output.
        """
        done = subprocess.run(
            [BIN / command, *arguments],
            cwd=self.project.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    def start(self, name: str, *arguments: str) -> None:
        """Starts a prefect command that stays; the fixture `service` ends it."""
        with (self.logs / f"{name}.log").open("w") as log:
            started = subprocess.Popen(
                [BIN / "prefect", *arguments],
                cwd=self.project.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(started)

    def find(self, what: str, **query: Any) -> list[dict[str, Any]]:
        """The server's answer to a query of its REST API."""
        return list(self.ask("POST", f"/{what}/filter", query))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The server's answer.

        Like Prefect's own client it asks again on 503: SQLite is locked for a moment.
        """
        deadline = time.monotonic() + 60
        while (
            answer := self.client.request(method, path, json=body)
        ).status_code == 503:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.5)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def trigger(self) -> str:
        """Runs the deployment, without the five seconds that the command takes.

        Returns the id of the flow run.
        """
        deployment = self.ask("GET", "/deployments/name/e6tag/nightly")["id"]
        return str(
            self.ask("POST", f"/deployments/{deployment}/create_flow_run", {})["id"]
        )

    def state(self, flow_run: str) -> str:
        """The type of the flow run's state now."""
        return str(self.ask("GET", f"/flow_runs/{flow_run}")["state_type"])

    def finish(self, flow_run: str) -> str:
        """Waits for the flow run's last state."""
        last = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
        self.wait(
            lambda: self.state(flow_run) in last, f"the end of flow run {flow_run}"
        )
        return self.state(flow_run)

    def wait(self, reached: Callable[[], Any], what: str, seconds: float = 120) -> Any:
        """Asks until the answer is true, and returns it.

        In the end fails with the logs of server and worker.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if found := reached():
                    return found
            time.sleep(0.3)
        logs = "\n".join(
            f"{log.name}:\n{log.read_text()[-4_000:]}"
            for log in sorted(self.logs.glob("*.log"))
        )
        pytest.fail(f"no sign of {what} in {seconds} s\n{logs}")

    def tasks(self, flow_run: str) -> list[dict[str, Any]]:
        """The task runs in the order of their start.

        They are recorded with a delay: give those that ran time.
        """
        query = {
            "flow_runs": {"id": {"any_": [flow_run]}},
            "sort": "EXPECTED_START_TIME_ASC",
        }
        final = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}

        def recorded() -> list[dict[str, Any]]:
            found = self.find("task_runs", **query)
            return (
                found
                if found and all(run["state_type"] in final for run in found)
                else []
            )

        return list(self.wait(recorded, "recorded task runs", seconds=30))

    def artifacts(self, flow_run: str) -> dict[str, Any]:
        """The flow run's artifacts by key."""
        found = self.find("artifacts", artifacts={"flow_run_id": {"any_": [flow_run]}})
        return {artifact["key"]: artifact for artifact in found if artifact["key"]}

    def log(self, flow_run: str) -> str:
        """The flow run's log, with its tasks' lines."""
        query = {"logs": {"flow_run_id": {"any_": [flow_run]}}, "sort": "TIMESTAMP_ASC"}
        pages = iter(
            lambda: self.find("logs", **query, limit=200, offset=next(offsets)), []
        )
        offsets = itertools.count(0, 200)
        return "\n".join(line["message"] for page in pages for line in page)


def end_all(home: str) -> None:
    """Ends every process that has this PREFECT_HOME: server, worker.

    And what they started, in any session.
    """
    for sign in (signal.SIGINT, signal.SIGKILL, signal.SIGKILL):
        ours = [
            process
            for process in psutil.process_iter()
            if prefect_home(process) == home
        ]
        for process in ours:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(sign)
        psutil.wait_procs(ours, timeout=5)


def prefect_home(process: psutil.Process) -> str | None:
    try:
        return (
            process.environ().get("PREFECT_HOME")
            if process.pid != os.getpid()
            else None
        )
    except psutil.Error:
        return None
