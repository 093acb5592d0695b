"""Section: time and memory of every stage."""

import pytest

from pipeline.errors import CorruptFile
from pipeline.paths import Paths
from pipeline.report import inputs
from pipeline.report.sections import resources
from tests.builders.report_inputs import section_of, text_of
from tests.builders.tables import write_json


def test_times_and_memory_are_shown_by_stage(project: Paths) -> None:
    finished = "2026-07-01T05:06:07+00:00"
    measured = {
        "train": {"seconds": 300.0, "peak_bytes": 2_500_000_000, "finished": finished},
        "validate@sample": {"seconds": 100, "peak_bytes": 1},
        "extra": {"seconds": 0.0},
    }
    write_json(project.resources, measured)
    text = text_of(section_of(resources, project))
    assert "train 5.0 min 2.5 GB 2026-07-01 05:06" in text
    assert "validate@sample 1.7 min 1 B absent" in text
    assert "extra 0.0 s absent absent" in text
    assert "6.7 min together" in text
    # As pipeline.resources measures it.
    assert "the stage's process and those that it started" in text


def test_a_stage_of_which_nothing_is_known_is_absent_and_not_zero(
    project: Paths,
) -> None:
    measured = {"train": {"seconds": 1.0}, "export": {}, "mine": 3, "shard": None}
    write_json(project.resources, measured)
    text = text_of(section_of(resources, project))
    assert "harvest absent sample absent" in text
    assert "export absent" in text
    assert "mine absent" in text
    (train,) = [run for run in resources.runs(inputs.read(project)) if run.share]
    assert (train.stage, train.share) == ("train", 1.0)


def test_without_any_figure_the_section_is_absent(project: Paths) -> None:
    text = text_of(section_of(resources, project))
    assert text.startswith("Absent: no run of a stage has been measured")


def test_a_damaged_file_is_named(project: Paths) -> None:
    project.resources.write_text("{")
    with pytest.raises(CorruptFile, match=r"resources\.json cannot be read"):
        inputs.read(project)
