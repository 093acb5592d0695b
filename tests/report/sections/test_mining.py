"""Section: the mining queue."""

import shutil
from typing import Any

import polars as pl
import pytest

from pipeline import parquet
from pipeline.errors import CorruptFile
from pipeline.paths import Paths
from pipeline.report import inputs
from pipeline.report.formats import NONE
from pipeline.report.sections import mining
from pipeline.schemas.manifest import OVERLAY
from tests.builders.report_inputs import section_of, text_of

PROPOSAL: dict[str, Any] = {
    "post_id": 28,
    "tag": "hat",
    "kind": "missing",
    "probability": 0.987,
    "score": 0.912,
    "uncertainty": None,
    "lift": 12.34,
    "url": "https://board.invalid/posts/28",
}

NOISE: dict[str, Any] = {
    "name": "hat",
    "positives": 20,
    "missing_share": 0.25,
    "missing_low": 0.2,
    "missing_high": 0.3,
    "wrong_share": 0.01,
    "absent": None,
}

PROPOSAL_TYPES = {"uncertainty": pl.Float64, "url": pl.String, "score": pl.Float64}
NOISE_TYPES = {
    "missing_share": pl.Float64,
    "missing_low": pl.Float64,
    "missing_high": pl.Float64,
    "wrong_share": pl.Float64,
    "absent": pl.String,
}


def write(
    paths: Paths, proposals: list[dict[str, Any]], noise: list[dict[str, Any]]
) -> None:
    """Writes data/mining."""
    paths.mining.mkdir(exist_ok=True)
    queue = pl.DataFrame(proposals or [PROPOSAL], schema_overrides=PROPOSAL_TYPES)
    tags = pl.DataFrame(noise or [NOISE], schema_overrides=NOISE_TYPES)
    queue.head(len(proposals)).write_parquet(paths.mining / "proposals.parquet")
    tags.head(len(noise)).write_parquet(paths.mining / "label_noise.parquet")


def test_proposals_are_counted_and_shown_with_their_link(project: Paths) -> None:
    rare = PROPOSAL | {"kind": "rare", "tag": "sun", "score": None, "url": None}
    write(project, [PROPOSAL, rare], [NOISE])
    html = section_of(mining, project)
    text = text_of(html)
    assert "1 likely missing, 1 rare tag, outside the vocabulary." in text
    assert f"28 hat likely missing 0.987 0.912 {NONE} 12.3 open" in text
    assert f"28 sun rare tag, outside the vocabulary 0.987 {NONE} {NONE} 12.3" in text
    assert html.count('href="https://board.invalid/posts/28"') == 1


def test_no_address_but_one_of_the_web_becomes_a_link(project: Paths) -> None:
    write(project, [PROPOSAL | {"url": "javascript:alert(1)"}], [NOISE])
    html = section_of(mining, project)
    assert "javascript:" not in html
    assert "28 hat likely missing" in text_of(html)


def test_tags_with_noise_are_ranked_and_unknown_shares_are_left_out(
    project: Paths,
) -> None:
    unknown = dict.fromkeys(NOISE_TYPES) | {"absent": "too few positives"}
    rows = [
        NOISE,
        NOISE | {"name": "fox", "missing_share": 0.5, "missing_low": None},
        NOISE | {"name": "canine"} | unknown,
    ]
    write(project, [PROPOSAL], rows)
    text = text_of(section_of(mining, project))
    assert "fox 20 50.0 % absent hat 20 25.0 % 20.0 % to 30.0 %" in text
    assert "Of 1 tag nothing can be estimated" in text
    assert "canine" not in text


def test_an_empty_queue_and_a_missing_one_are_absent(project: Paths) -> None:
    shutil.rmtree(project.mining)
    assert "Absent: no queue was made in this run" in text_of(
        section_of(mining, project)
    )
    write(project, [], [])
    text = text_of(section_of(mining, project))
    assert "Absent: nothing speaks against a label." in text
    assert "Absent: no share of missing labels could be estimated." in text


def test_the_page_shows_the_likeliest_and_says_how_many_there_are(
    project: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mining, "PROPOSALS", 2)
    write(project, [PROPOSAL | {"post_id": post_id} for post_id in (5, 4, 3)], [NOISE])
    text = text_of(section_of(mining, project))
    assert "The likeliest 2 of 3" in text
    assert "3 hat likely missing" not in text


def test_columns_without_a_value_are_explained(project: Paths) -> None:
    write(project, [PROPOSAL], [NOISE])
    text = text_of(section_of(mining, project))
    assert "Links are absent" not in text
    assert "Uncertainties are absent: the model was trained without" in text
    write(project, [PROPOSAL | {"url": None, "uncertainty": 0.5}], [NOISE])
    text = text_of(section_of(mining, project))
    assert "Links are absent: the site of this run is on this machine." in text
    assert "Uncertainties are absent" not in text


def test_what_became_of_the_corrections_is_shown(project: Paths) -> None:
    text = text_of(section_of(mining, project))
    assert "Absent: data/overlay.csv has no row." in text
    row = {"post_id": 1, "tag": "hat", "action": "add", "label_id": None}
    outcomes = ["unknown_post", "applied", "unknown_post"]
    rows = []
    for number, outcome in enumerate(outcomes, start=2):
        rows.append(row | {"row": number, "outcome": outcome, "detail": None})
    parquet.write(project.manifest / "overlay.parquet", rows, OVERLAY)
    text = text_of(section_of(mining, project))
    assert "labels were corrected 1 unknown_post the snapshot" in text
    assert "unknown_post the snapshot has no such post 2" in text


def test_a_damaged_queue_is_named(project: Paths) -> None:
    write(project, [PROPOSAL], [NOISE])
    (project.mining / "proposals.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorruptFile, match=r"proposals\.parquet cannot be read"):
        inputs.read(project)
