"""docs/heads.md: its tables are what their generator writes."""

from types import ModuleType
from typing import Any

import numpy as np

from tests.builders.project import ROOT


def test_committed_tables_are_what_the_generator_writes(
    heads_page: dict[str, Any],
) -> None:
    text = (ROOT / "docs" / "heads.md").read_text(encoding="utf-8")
    assert "| `queries` |" in text
    assert heads_page["page"](text) == text, "run python docs/heads.py"


def test_sizes_around_the_heads_are_those_of_the_code(
    networks: ModuleType, heads_page: dict[str, Any]
) -> None:
    import keras

    from pipeline.model.backbones import resnet_v4

    for positions, last_stride in zip(heads_page["POSITIONS"], (128, 32), strict=True):
        images = keras.Input((224, 224, 3))
        features = resnet_v4.feature_map(
            images, depth=1 / 11, last_stride=last_stride, width=1 / 16
        )
        assert np.prod(features.shape[1:3]) == positions
    assert resnet_v4.stage_widths(1.0)[-1] == heads_page["CHANNELS"]
    # With a convolution to 1,024 maps: see test_resnet_v4.
    maps = heads_page["CHANNELS"] * 1_024
    assert heads_page["BACKBONE"] + maps == 59_136_960


def test_default_limit_and_width_of_queries_are_those_of_the_page(
    networks: ModuleType, heads_page: dict[str, Any]
) -> None:
    import keras

    from pipeline.model.heads import queries

    features = networks.feature_map(2, 16)
    outputs = queries.logits(features, bias=np.zeros(600, np.float32))
    expected = heads_page["queries"](600, 16, 4).parameters
    assert keras.Model(features, outputs).count_params() == expected


def test_what_does_not_fit_is_marked(heads_page: dict[str, Any]) -> None:
    most = heads_page["most_tags"](heads_page["HEADS"]["`pool`"], 4)
    parameters = 57_039_808 + most * 2_049
    assert parameters * 16 <= 4 * 2**30 < (parameters + 2_049) * 16
    rows = heads_page["tables"]().splitlines()
    start = "| `attention_residual`, `sum` | 4 |"
    cells = next(row for row in rows if row.startswith(start)).split("|")
    marked = [cell.strip().endswith("*") for cell in cells[3:6]]
    assert marked == [False, True, True]


def test_cost_of_pool_is_that_of_the_page(
    networks: ModuleType, heads_page: dict[str, Any]
) -> None:
    import keras

    features = networks.feature_map(3, 16)
    outputs = networks.average(features, bias=np.zeros(7))
    head = keras.Model(features, outputs)
    cost = heads_page["pool"](7, 16, 9)
    assert head.count_params() == cost.parameters
    assert networks.multiply_adds(head) == cost.multiply_adds
