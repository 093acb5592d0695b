"""Section: tags."""

import re

from pipeline.paths import Paths
from pipeline.report import formats
from pipeline.schemas.evaluation import PER_TAG
from tests.builders.report_inputs import written
from tests.builders.tables import set_value


def test_a_tag_without_a_metric_gets_a_dash(project: Paths) -> None:
    nothing = dict.fromkeys(("auc", "average_precision", "baseline_average_precision"))
    set_value(
        project.evaluation / "per_tag.parquet",
        PER_TAG,
        "label_id",
        1,
        **nothing,
    )
    html = written(project)
    (row,) = re.findall(r"<tr><th>fox</th>.*?</tr>", html)
    assert row.count(f">{formats.NONE}<") == 3
