"""The plots of the page."""

import polars as pl

from pipeline.report import plots


def test_thousand_tags_stay_small() -> None:
    along = [i / 20_000 for i in range(20_000)]
    curves = pl.DataFrame({"curve": "roc_micro", "x": along, "y": along})
    assert len(plots.curve(curves, "roc", "ROC", "x", "y")) < 20_000
    counts = [3_000 - i for i in range(1_024)]
    assert (
        len(plots.positives(counts, [count // 18 for count in counts], 512, 32))
        < 300_000
    )
