"""The flow over a toy project: real DVC, Prefect server, worker and deployment."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ops import dvc
from tests.builders.project import ROOT
from tests.builders.toy_project import (
    ORDER,
    Recorder,
    Service,
    end_all,
    have_ended,
    is_alive,
    make_toy_project,
)

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings(
        "ignore:_NoneStep.value:DeprecationWarning"
    ),  # DVC 3.67 uses pygtrie's old ways
]


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


@pytest.fixture(scope="module")
def outside() -> Iterator[Recorder]:
    with Recorder() as recorder:
        threading.Thread(target=recorder.serve_forever, daemon=True).start()
        yield recorder
        recorder.shutdown()


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, outside: Recorder
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("prefect")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    project = make_toy_project(folder / "project")
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
    lines = deployed.prefect("deployment", "run", "e6tag/nightly")
    found = re.search(r"UUID: ([0-9a-f-]{36})", lines)
    assert found, lines
    run = found[1]
    assert deployed.finish(run) == "COMPLETED"
    tasks = deployed.tasks(run)
    assert [task["name"] for task in tasks] == ["refresh", *ORDER]
    assert {task["state_name"] for task in tasks[1:]} == {"Rebuilt"}
    for stage in ("refresh", "harvest", "snapshot", "evaluate", "evaluation", "report"):
        # Prefect sends logs in batches: the last may come after the state.
        deployed.wait(
            lambda lines=f"{stage} speaks": lines in deployed.log(run),
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
    assert all(is_alive(pid) for pid in pids)
    deployed.prefect("flow-run", "cancel", run)
    assert have_ended(pids, seconds=60)
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
        lines = Service(deployed.project, alone, deployed.client, deployed.logs).call(
            "python", "-m", "flows.nightly", "--no-refresh", "harvest"
        )
    assert "Finished in state Completed()" in lines


def test_nothing_phones_home(deployed: Service, outside: Recorder) -> None:
    """After all of the above: server, worker, deploy, runs.

    DO_NOT_TRACK was not set, prefect.toml alone did it.
    """
    assert (
        deployed.ask("GET", "/admin/settings")["server"]["analytics_enabled"] is False
    )
    assert outside.asked == []
