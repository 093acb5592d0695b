"""Rows of an ablation, written by hand."""

from pipeline.ablation_results import Measurement, Result


def row(
    factor: str, level: str, seed: int, macro_map: float, *, reference: str = "baseline"
) -> Result:
    """Returns a run with this test macro mAP."""
    measured = Measurement(
        test_macro_map=macro_map,
        validation_macro_map=macro_map + 0.01,
        test_macro_auc=macro_map + 0.1,
        parameters=1_000,
        best_epoch=3,
        seconds=60.0,
    )
    name = f"{factor}{level}{seed}"
    return Result(factor, level, reference, seed, 4, 96, measured, name, "shards")


def baseline(seed: int, macro_map: float) -> Result:
    """Returns a run of the baseline."""
    return row("baseline", "baseline", seed, macro_map, reference="")
