"""The differences of an ablation as a page for people: ablation/<site>.md."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline import ablation_results, files
from pipeline.ablation import BASELINE
from pipeline.ablation_results import Difference, Result

HEADING = (
    "| factor | level | compared with | seeds | macro mAP | difference | 95 % interval "
    "| macro AUC | parameters | training |"
)


def write(path: Path, site: str, results: Sequence[Result]) -> None:
    """Writes the page of a site's results."""
    files.write_text(path, "\n".join(lines(site, results)) + "\n")


def lines(site: str, results: Sequence[Result]) -> Iterator[str]:
    """Yields the lines of the page."""
    yield f"# Ablation on {site}"
    yield ""
    yield (
        f"Written by `e6tag ablation` from {site}.csv, which has every run; "
        "[how to read it](../docs/ablation.md)."
    )
    yield ""
    yield from _baseline(results)
    yield ""
    yield HEADING
    yield "|---" * (HEADING.count("|") - 1) + "|"
    for difference in ablation_results.differences(results):
        yield _row(difference)


def _baseline(results: Sequence[Result]) -> Iterator[str]:
    rows = [result for result in results if result.factor == BASELINE]
    if not rows:
        yield "The baseline has not been run."
        return
    first = rows[0]
    values = [f"{row.measured.test_macro_map:.4f} (seed {row.seed})" for row in rows]
    yield (
        "Baseline (params.yaml and what `baseline` of ablation.yaml changes in it): "
        f"test macro mAP {', '.join(values)}, {first.epochs} epochs at "
        f"{first.size} pixels, {first.measured.parameters:,} parameters."
    )


def _row(found: Difference) -> str:
    interval = "none: one seed"
    if found.low is not None and found.high is not None:
        interval = f"{found.low:+.4f} to {found.high:+.4f}"
    training = "not timed"
    if found.seconds is not None:
        training = f"{found.seconds:,.0f} s"
    cells = [
        found.factor,
        found.level,
        found.reference,
        str(found.seeds),
        f"{found.map:.4f}",
        f"{found.difference:+.4f}",
        interval,
        f"{found.auc_difference:+.4f}",
        f"{found.parameters:,}",
        training,
    ]
    return f"| {' | '.join(cells)} |"
