"""Section: gates."""

from pipeline.paths import DATASETS, Paths
from pipeline.report.sections import gates
from tests.builders.report_inputs import section_of
from tests.builders.tables import write_json


def test_the_gates_pages_are_linked(html: str, good: Paths) -> None:
    for name in DATASETS:
        assert f'href="gates/{name}/index.html"' in html
        assert (good.reports / f"gates/{name}") == good.data_docs(name)


def test_a_failed_gate_is_shown(project: Paths) -> None:
    write_json(
        project.verdict("shards"), {"success": False, "rows": {}, "expectations": []}
    )
    html = section_of(gates, project)
    assert (html.count("✓ passed"), html.count("✗ failed")) == (6, 1)
