"""Section: lineage."""

from pipeline.paths import Paths
from pipeline.report import inputs
from pipeline.report.sections import lineage
from tests.builders import tables
from tests.builders.report_inputs import text_of, written
from tests.builders.tables import PARAMS, write_json

DELTA = {
    "base_change": 5_480_000,
    "change": 900_009_584,
    "changed": 11,
    "checksum": "c" * 64,
    "gone": 1,
}


def test_a_pin_with_a_delta_names_export_and_changes(project: Paths) -> None:
    exports = {
        "posts": {
            "file_name": "p",
            "file_size": 9,
            "checksum": "a",
            "updated_at": "2026-07-01T01:00:02-04:00",
        }
    }
    write_json(
        project.bundle / "lineage.json",
        tables.LINEAGE | {"pin": {"site": "e621", "exports": exports, "delta": DELTA}},
    )
    text = text_of(written(project))
    assert (
        "The board as pinned at 2026-07-01, with changes to 900,009,584: 35 posts"
        in text
    )
    assert (
        "then 11 posts that are new or changed and 1 that are gone, from change "
        "5,480,000 to 900,009,584" in text
    )


def test_a_pinned_search_names_its_query(project: Paths) -> None:
    search = {"query": "solo <fox>", "newest_id": 6_000_001, "change": 70_000_123}
    write_json(
        project.bundle / "lineage.json",
        tables.LINEAGE | {"pin": {"site": "e621", "search": search}},
    )
    html = written(project)
    text = text_of(html)
    assert (
        "What solo &lt;fox&gt; finds as pinned at change 70,000,123: 35 posts" in text
    )
    assert "No exports: the posts up to number 6,000,001" in text
    assert "The pinned exports" not in text


def test_a_site_of_ones_own_is_not_named_by_its_address(project: Paths) -> None:
    recorded = tables.LINEAGE | {"pin": {"site": "custom"}}
    write_json(project.bundle / "lineage.json", recorded)
    text = text_of(written(project))
    assert "trained on 14 images from a custom site" in text


def test_parameters_are_those_of_the_bundle(project: Paths) -> None:
    recorded = tables.LINEAGE | {
        "parameters": {
            "sample": {"min_positives": 77},
            "manifest": {"split": {"train": 0.8}},
        }
    }
    write_json(project.bundle / "lineage.json", recorded)
    parameters = lineage.parameters(inputs.read(project), PARAMS)
    assert parameters["sample"] == {"min_positives": 77}
    assert parameters["manifest"] == {"split.train": 0.8}
    assert parameters["train"]["epochs"] == PARAMS.train.epochs
    assert not {"site", "cluster"} & parameters.keys()
