"""Section: ablation."""

import polars as pl

from pipeline import ablation_results
from pipeline.ablation_results import Result
from pipeline.paths import Paths
from pipeline.report.sections import ablation
from tests.builders.ablation_results import baseline, row
from tests.builders.report_inputs import section_of, text_of


def page(project: Paths, *rows: Result) -> str:
    """The text of the page with these rows as results."""
    path = ablation_results.file(project.ablation, "sandbox")
    ablation_results.write(path, rows)
    return text_of(section_of(ablation, project))


def test_without_an_ablation_the_section_says_so_and_shows_no_number(html: str) -> None:
    text = text_of(html)
    assert "No ablation has been run on sandbox" in text
    assert "compared with" not in text


def test_levels_are_shown_beside_what_they_are_compared_with(project: Paths) -> None:
    seeds = (1, 2)
    rows = [baseline(seed, 0.6) for seed in seeds]
    rows += [row("head", "queries", seed, 0.61 + seed / 100) for seed in seeds]
    rows.append(row("loss", "focal", 1, 0.55))
    text = page(project, *rows)
    assert "5 trainings" in text
    assert "0.6000 (seed 1), 0.6000 (seed 2) test macro mAP" in text
    # t of one degree of freedom, 12.71, times 0.005
    assert "head queries baseline 2 0.6250 +0.0250 -0.0385 to +0.0885 +0.0250" in text
    assert "loss focal baseline 1 0.5500 -0.0500 none: one seed -0.0500" in text
    assert "Measured on other shards than those of this page" in text


def test_results_on_these_shards_carry_no_remark(project: Paths) -> None:
    sums = pl.read_parquet(project.shards / "index.parquet")["sha256"]
    shards = ablation_results.shards_digest(sums)
    found = baseline(1, 0.6)
    same = Result(
        found.factor, found.level, "", 1, 4, 96, found.measured, found.run, shards
    )
    text = page(project, same)
    assert "Measured on other shards" not in text
    assert "No level shares a seed" in text


def test_results_without_the_baseline_are_not_shown(project: Paths) -> None:
    text = page(project, row("head", "queries", 1, 0.7))
    assert "none of the baseline" in text
    assert "0.7000" not in text
