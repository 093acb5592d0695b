"""The adapter to DVC, over a toy project and real DVC."""

import re
import subprocess
import sys

import pytest

from ops import dvc, processes
from ops.dvc import Outcome, StageFailed
from tests.builders.toy_project import ORDER, ToyProject, make_toy_project

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings(
        "ignore:_NoneStep.value:DeprecationWarning"
    ),  # DVC 3.67 uses pygtrie's old ways
]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyProject:
    return make_toy_project(tmp_path_factory.mktemp("toy") / "project")


@pytest.fixture
def stages(toy: ToyProject) -> ToyProject:
    toy.work()
    return toy


def test_plan_is_dvcs_own_order(stages: ToyProject) -> None:
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
    stages: ToyProject, targets: list[str], planned: tuple[str, ...]
) -> None:
    assert dvc.plan(stages.root, targets) == planned


def test_stage_is_rebuilt_then_unchanged_then_restored(stages: ToyProject) -> None:
    before = (stages.root / "orders" / "harvest").read_text()
    assert dvc.changed(stages.root, "harvest")
    lines: list[str] = []
    assert dvc.run(stages.root, "harvest", lines.append) is Outcome.REBUILT
    assert f"harvest speaks, python {sys.executable}" in lines
    assert not dvc.changed(stages.root, "harvest")
    assert dvc.run(stages.root, "harvest", lines.append) is Outcome.UP_TO_DATE
    stages.order("harvest")
    assert dvc.run(stages.root, "harvest", lines.append) is Outcome.REBUILT
    (stages.root / "orders" / "harvest").write_text(before)
    assert dvc.run(stages.root, "harvest", lines.append) is Outcome.RESTORED


def test_failure_carries_the_stages_own_exit_status_and_last_words(
    stages: ToyProject,
) -> None:
    stages.order("harvest", "exit 75")
    with pytest.raises(StageFailed) as failure:
        dvc.run(stages.root, "harvest", lambda _: None)
    assert failure.value.exit_status == 75
    assert str(failure.value).startswith("harvest: exit status 75: harvest speaks")
    assert dvc.changed(stages.root, "harvest")


def test_failure_of_dvc_itself_keeps_its_exit_status(stages: ToyProject) -> None:
    with pytest.raises(
        StageFailed, match=r"no_such_stage: exit status 255: .* not found"
    ) as failure:
        dvc.run(stages.root, "no_such_stage", lambda _: None)
    assert failure.value.exit_status == 255


def test_stage_that_another_dvc_works_on_is_for_later(stages: ToyProject) -> None:
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
