"""The flow over a toy project.

Real DVC, a real Prefect server, worker and deployment, stages that take no time.

The toy project has this project's flows/, prefect.yaml and prefect.toml, a dvc.yaml of
five stages, and a package `pipeline` whose stages do what a file of their own orders:
work, fail, sleep. Everything listens on 127.0.0.1.
"""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from ops import dvc, processes
from ops.dvc import Outcome, StageFailed
from tests.builders.project import ROOT

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings(
        "ignore:_NoneStep.value:DeprecationWarning"
    ),  # DVC 3.67 uses pygtrie's old ways
]

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
    metrics = {"test": {"macro_auc": {"value": 0.9, "baseline": 0.5}}}
    write("data/evaluation/metrics.json", json.dumps(metrics))
elif stage == "report":
    write("reports/index.html", "<p>read me</p>")
'''


@dataclass(frozen=True)
class Project:
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


def make_project(root: Path) -> Project:
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
    project = Project(root)
    project.work()
    return project


# -- commands and DVC, no Prefect --------------------------------------------------


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("toy") / "project")


@pytest.fixture
def stages(toy: Project) -> Project:
    toy.work()
    return toy


def test_plan_is_dvcs_own_order(stages: Project) -> None:
    repro = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=stages.root,
        env=processes.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (
        dvc.plan(stages.root)
        == ORDER
        == tuple(re.findall(r"Running stage '(.+)':", repro.stdout))
    )


@pytest.mark.parametrize(
    ("targets", "planned"),
    [
        pytest.param(["evaluate"], ORDER[:3], id="a stage brings what it needs"),
        pytest.param(["validate@snapshot"], ORDER[:2], id="one gate"),
        pytest.param(["validate"], ORDER[:4], id="all gates"),
    ],
)
def test_targets_are_read_as_dvc_reads_them(
    stages: Project, targets: list[str], planned: tuple[str, ...]
) -> None:
    assert dvc.plan(stages.root, targets) == planned


def test_stage_is_rebuilt_then_unchanged_then_restored(stages: Project) -> None:
    before = (stages.root / "orders" / "harvest").read_text()
    assert dvc.changed(stages.root, "harvest")
    said: list[str] = []
    assert dvc.run(stages.root, "harvest", said.append) is Outcome.REBUILT
    assert f"harvest speaks, python {sys.executable}" in said
    assert not dvc.changed(stages.root, "harvest")
    assert dvc.run(stages.root, "harvest", said.append) is Outcome.UP_TO_DATE
    stages.order("harvest")
    assert dvc.run(stages.root, "harvest", said.append) is Outcome.REBUILT
    (stages.root / "orders" / "harvest").write_text(before)
    assert dvc.run(stages.root, "harvest", said.append) is Outcome.RESTORED


def test_failure_carries_the_stages_own_exit_status_and_last_words(
    stages: Project,
) -> None:
    stages.order("harvest", "exit 75")
    with pytest.raises(StageFailed) as failure:
        dvc.run(stages.root, "harvest", lambda _: None)
    assert failure.value.exit_status == 75
    assert str(failure.value).startswith("harvest: exit status 75: harvest speaks")
    assert dvc.changed(stages.root, "harvest")


def test_failure_of_dvc_itself_keeps_its_exit_status(stages: Project) -> None:
    with pytest.raises(
        StageFailed, match=r"no_such_stage: exit status 255: .* not found"
    ) as failure:
        dvc.run(stages.root, "no_such_stage", lambda _: None)
    assert failure.value.exit_status == 255


def test_stage_that_another_dvc_works_on_is_for_later(stages: Project) -> None:
    stages.order("harvest", "sleep")
    statuses: list[int] = []

    def meanwhile(line: str) -> None:
        if "harvest speaks" in line:
            for attempt in (
                dvc.changed,
                lambda *stage: dvc.run(*stage, lambda _: None),
            ):
                with pytest.raises(StageFailed) as failure:
                    attempt(stages.root, "harvest")
                statuses.append(failure.value.exit_status)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dvc.run(stages.root, "harvest", meanwhile)
    assert statuses == [75, 75]
    assert dvc.changed(stages.root, "harvest"), "the lock went with its holder"


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
    assert gone(pids, seconds=0)


def test_orphan_that_holds_the_output_open_is_not_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    started = time.monotonic()
    assert (
        processes.stream(
            [sys.executable, "-c", STUBBORN + "os._exit(9)"],
            tmp_path,
            said.append,
            grace=1,
        )
        == 9
    )
    assert time.monotonic() - started < 20
    assert gone([int(said[0].split()[1])], seconds=0)


def gone(pids: list[int], seconds: float) -> bool:
    """Whether these processes end within that time.

    A zombie is gone: only its entry waits for its parent.
    """
    deadline = time.monotonic() + seconds
    while any(lives(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


NAMES = """
from flows import artifacts
from flows import nightly as flow
from pipeline import errors, paths
assert flow.TRY_AGAIN == errors.EXIT_TRY_AGAIN
assert artifacts.METRICS == paths.Paths().evaluation / "metrics.json"
assert artifacts.REPORT == paths.Paths().reports / "index.html"
for name in paths.DATASETS:
    expected = paths.Paths().verdict(name)
    assert artifacts.verdict_path(artifacts.GATE + name) == expected
"""


def test_names_used_by_the_flows_are_the_pipelines() -> None:
    """The flows do not import the package, so the names they repeat are compared."""
    found = subprocess.run(
        [sys.executable, "-c", NAMES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


# -- Prefect ----------------------------------------------------------------------


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


@pytest.fixture(scope="module")
def outside() -> Iterator[Recorder]:
    with Recorder() as recorder:
        threading.Thread(target=recorder.serve_forever, daemon=True).start()
        yield recorder
        recorder.shutdown()


@dataclass(frozen=True)
class Service:
    """A Prefect server and a worker, the toy project deployed on them.

    And what a test asks of them.
    """

    project: Project
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


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, outside: Recorder
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("prefect")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    project = make_project(folder / "project")
    # Neither DO_NOT_TRACK nor a CI's name: that nothing phones home must be the
    # project's own doing.
    foreign = re.compile(
        r"PREFECT_|DO_NOT_TRACK$|CI$|CI_|.*_PROXY$|E6TAG_", re.IGNORECASE
    )
    environment = {
        name: value for name, value in os.environ.items() if not foreign.match(name)
    } | {
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_API_URL": api,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "E6TAG_ROOT": str(project.root),
        "HTTP_PROXY": outside.url,
        "HTTPS_PROXY": outside.url,
        "NO_PROXY": "127.0.0.1",
    }
    with httpx.Client(base_url=api, timeout=30, trust_env=False) as client:
        service = Service(project, environment, client, folder)
        try:
            service.start("server", "server", "start")
            service.wait(lambda: client.get("/health").is_success, "a healthy server")
            service.start(
                "worker",
                "worker",
                "start",
                "--pool",
                "local",
                "--type",
                "process",
                "--name",
                "test",
            )
            service.wait(
                lambda: client.get("/work_pools/local").is_success, "the worker's pool"
            )
            yield service
        finally:
            end_all(environment["PREFECT_HOME"])
            for started in service.running:
                started.wait(timeout=10)


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


@pytest.fixture(scope="module")
def scheduled(service: Service) -> list[dict[str, Any]]:
    """The runs that the deployment's cron put on the calendar.

    It is paused then, lest its hour come during a test.
    """
    service.prefect("--no-prompt", "deploy", "--all")
    query = {
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "sort": "EXPECTED_START_TIME_ASC",
    }
    found = service.wait(
        lambda: service.find("flow_runs", **query), "scheduled runs", seconds=60
    )
    deployment = service.ask("GET", "/deployments/name/e6tag/nightly")
    for schedule in deployment["schedules"]:
        service.ask(
            "PATCH",
            f"/deployments/{deployment['id']}/schedules/{schedule['id']}",
            {"active": False},
        )
    return list(found)


@pytest.fixture
def deployed(service: Service, scheduled: list[dict[str, Any]]) -> Service:
    service.project.work()
    return service


def test_cron_yields_scheduled_runs(scheduled: list[dict[str, Any]]) -> None:
    assert len(scheduled) >= 3
    assert {run["state"]["name"] for run in scheduled} == {"Scheduled"}
    assert all(
        run["auto_scheduled"] and run["expected_start_time"][11:16] == "09:30"
        for run in scheduled
    )


def test_deployment_runs_every_stage_in_dvcs_order_and_publishes(
    deployed: Service,
) -> None:
    said = deployed.prefect("deployment", "run", "e6tag/nightly")
    found = re.search(r"UUID: ([0-9a-f-]{36})", said)
    assert found, said
    run = found[1]
    assert deployed.finish(run) == "COMPLETED"
    tasks = deployed.tasks(run)
    assert [task["name"] for task in tasks] == ["refresh", *ORDER]
    assert {task["state_name"] for task in tasks[1:]} == {"Rebuilt"}
    for stage in ("refresh", "harvest", "snapshot", "evaluate", "evaluation", "report"):
        # Prefect sends logs in batches: the last may come after the state.
        deployed.wait(
            lambda said=f"{stage} speaks": said in deployed.log(run),
            f"the output of {stage}",
            seconds=30,
        )
    published = deployed.artifacts(run)
    assert sorted(published) == [
        "gate-evaluation",
        "gate-snapshot",
        "metrics",
        "report",
        "stages",
    ]
    assert published["gate-snapshot"]["description"].startswith(
        "passed: 2 of 2 expectations hold"
    )
    assert [row["stage"] for row in json.loads(published["stages"]["data"])] == list(
        ORDER
    )
    assert json.loads(published["metrics"]["data"]) == [
        {
            "split": "test",
            "metric": "macro_auc",
            "value": 0.9,
            "image-blind baseline": 0.5,
        }
    ]
    assert (deployed.project.root / "reports/index.html").as_uri() in published[
        "report"
    ]["data"]


def test_failing_gate_fails_the_run_at_that_task(deployed: Service) -> None:
    deployed.project.order("snapshot", "exit 1")
    run = deployed.trigger()
    assert deployed.finish(run) == "FAILED"
    tasks = deployed.tasks(run)
    assert [task["name"] for task in tasks] == [
        "refresh",
        "harvest",
        "validate@snapshot",
    ]
    assert [task["state_type"] for task in tasks] == [
        "COMPLETED",
        "COMPLETED",
        "FAILED",
    ]
    assert tasks[-1]["run_count"] == 1, "a gate that fails is not tried again"
    published = deployed.artifacts(run)
    assert sorted(published) == ["gate-snapshot", "stages"]
    assert published["gate-snapshot"]["description"].startswith(
        "FAILED: 1 of 2 expectations hold, 3 unexpected"
    )
    first = json.loads(published["gate-snapshot"]["data"])[0]
    assert (
        first["column"],
        first["checked"],
        first["unexpected"],
        first["success"],
    ) == ("score", 7, 3, False)


def test_cancelled_run_leaves_no_process(deployed: Service) -> None:
    sleepers = deployed.project.root / "sleepers"
    deployed.project.order("harvest", "sleep")
    run = deployed.trigger()
    pids = json.loads(
        deployed.wait(
            lambda: sleepers.is_file() and sleepers.read_text(), "the sleeping stage"
        )
    )
    assert all(lives(pid) for pid in pids)
    deployed.prefect("flow-run", "cancel", run)
    assert gone(pids, seconds=60)
    assert deployed.finish(run) == "CANCELLED"
    deployed.project.order("harvest")
    assert dvc.changed(deployed.project.root, "harvest"), "DVC's locks are free again"


def test_try_again_later_is_tried_again(deployed: Service) -> None:
    """That other failures are not is seen above: a gate exits with 1."""
    deployed.project.order("harvest", "exit-once 75")
    deployed.call(
        "python",
        "-m",
        "flows.nightly",
        "--no-refresh",
        "--retry-delay",
        "0.1",
        "harvest",
    )
    flow_run = deployed.find("flow_runs", sort="START_TIME_DESC", limit=1)[0]["id"]
    (task,) = deployed.tasks(flow_run)
    assert (task["name"], task["state_name"], task["run_count"]) == (
        "harvest",
        "Rebuilt",
        2,
    )


@pytest.mark.slow  # a server of its own with a fresh database: 25 s on 2 idle cores
def test_flow_runs_without_a_server(deployed: Service) -> None:
    alone = {
        name: value
        for name, value in deployed.environment.items()
        if name != "PREFECT_API_URL"
    }
    alone["PREFECT_HOME"] += "-alone"
    with contextlib.ExitStack() as stack:
        stack.callback(end_all, alone["PREFECT_HOME"])
        said = Service(deployed.project, alone, deployed.client, deployed.logs).call(
            "python", "-m", "flows.nightly", "--no-refresh", "harvest"
        )
    assert "Finished in state Completed()" in said


def test_nothing_phones_home(deployed: Service, outside: Recorder) -> None:
    """After all of the above: server, worker, deploy, runs.

    DO_NOT_TRACK was not set, prefect.toml alone did it.
    """
    assert (
        deployed.ask("GET", "/admin/settings")["server"]["analytics_enabled"] is False
    )
    assert outside.asked == []
