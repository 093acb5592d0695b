"""The two cards: what was trained on, and where it fails, in the data's own numbers."""

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from markdown_it import MarkdownIt

from pipeline import parquet
from pipeline.export import data_card, markdown, model_card
from pipeline.export.data_facts import DataFacts
from pipeline.export.failures import Failures
from pipeline.lineage import KEY
from pipeline.params.export import Export
from pipeline.paths import Paths
from pipeline.schemas.evaluation import PER_TAG
from pipeline.schemas.manifest import REJECTED
from pipeline.validate.bundle.addresses import ADDRESS
from tests.builders import toy_data, toy_shards

TOTAL = sum(toy_shards.RECORDS.values())


@pytest.fixture
def project(toy: Paths, tmp_path: Path) -> Paths:
    shutil.copytree(toy.root, tmp_path / "project")
    return Paths(tmp_path / "project")


def card(paths: Paths, *, corrections: int = 0, **params: str) -> str:
    lineage = json.loads(parquet.metadata(paths.manifest / "train.parquet")[KEY])
    lineage["overlay"] = {"sha256": "0" * 64, "applied": corrections}
    facts = DataFacts.read(paths)
    return data_card.render_data_card(
        params=Export.model_validate(params), facts=facts, lineage=lineage
    )


def number_of(text: str, label: str) -> int:
    """Returns the first number of the first row that begins with a label."""
    (line, *_) = [line for line in text.splitlines() if line.startswith(f"| {label} |")]
    (found, *_) = re.findall(r"\d[\d,]*", line.removeprefix(f"| {label} |"))
    return int(found.replace(",", ""))


def test_the_data_card_has_the_numbers_of_the_manifest(project: Paths) -> None:
    text = card(project)
    for split in toy_shards.RECORDS:
        manifest = parquet.read(project.manifest / f"{split}.parquet")
        assert number_of(text, split) == manifest.height
    assert number_of(text, "**images in all splits**") == TOTAL
    given = labels = 0
    for split in toy_shards.RECORDS:
        manifest = parquet.read(project.manifest / f"{split}.parquet")
        given += manifest["explicit_label_ids"].list.len().sum()
        labels += manifest["label_ids"].list.len().sum()
    assert f"The {labels:,} labels are {given:,} that people gave" in text
    assert f"{labels - given:,} that these imply" in text


def test_the_funnel_adds_up_from_the_snapshot_to_the_records(project: Paths) -> None:
    text = card(project)
    excluded = sum(toy_data.EXCLUDED.values())
    lost = sum(toy_data.LOST.values())
    snapshot = number_of(text, "**posts of the snapshot**")
    assert snapshot == TOTAL + lost + toy_data.UNNEEDED + excluded
    assert number_of(text, "**candidates**") == snapshot - excluded
    assert number_of(text, "**sampled**") == TOTAL + lost
    assert number_of(text, "the artist opted out (rule 3)") == 2
    assert number_of(text, "404 or 410: the site does not have it") == 4
    assert "(3 posts kept out.)" in text
    assert number_of(text, "deleted on the site (policy rule 1)") == 7


def test_an_image_that_could_not_be_decoded_is_no_record(project: Paths) -> None:
    post = parquet.read(project.manifest / "train.parquet").row(0, named=True)
    broken = {"post_id": post["post_id"], "md5": post["md5"], "split": "train"}
    rows = [{**broken, "reason": "broken_image", "detail": None}]
    parquet.write(project.shards / "rejected.parquet", rows, REJECTED)
    text = card(project)
    assert number_of(text, "train") == toy_shards.RECORDS["train"] - 1
    assert number_of(text, "cannot be decoded") == 1


def test_positives_are_of_the_records_trained_on(project: Paths) -> None:
    train = parquet.read(project.manifest / "train.parquet")
    counts = sorted(train["label_ids"].explode().value_counts()["count"])
    text = " ".join(card(project).split())
    assert f"{counts[0]} of the rarest, {counts[3]} of the one in the middle" in text
    assert f"{counts[-1]} of the commonest" in text


def test_labels_that_were_corrected_here_are_told(project: Paths) -> None:
    text = " ".join(card(project, corrections=1_234).split())
    assert "corrected labels beside the site: 1,234 added or removed" in text
    assert "corrected" not in card(project)


NOISE = pa.schema(
    [
        ("label_id", pa.int32()),
        ("name", pa.string()),
        ("missing_share", pa.float64()),
        ("wrong_share", pa.float64()),
    ]
)


def test_label_noise_is_told_where_it_was_estimated(project: Paths) -> None:
    assert "was not estimated for this model" in card(project)
    shares: list[tuple[Any, ...]] = [
        (0, "circle", 0.3, 0.01),
        (1, "dot", 0.1, 0.03),
        (2, "border", None, None),
    ]
    rows = [dict(zip(NOISE.names, row, strict=True)) for row in shares]
    parquet.write(project.data / "mining" / "label_noise.parquet", rows, NOISE)
    text = " ".join(card(project).split())
    assert "for 2 tags: of the tag in the middle, 20.0 % of the images" in text
    assert "2.0 % of its labels are wrong" in text
    assert "`circle` (30.0 %), `dot` (10.0 %)." in text


def test_the_card_names_whom_to_write_to_and_no_address(project: Paths) -> None:
    text = card(project, contact="tags@example.org")
    assert "write to tags@example.org." in text
    assert "Nobody is named here" in card(project)
    assert not ADDRESS.findall(text)
    with pytest.raises(ValueError, match="contact"):
        Export(contact="https://example.org/me")


def test_the_tables_of_the_card_are_tables(project: Paths) -> None:
    """A table needs an empty line before it, and as many cells in every row."""
    lines = card(project).splitlines()
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        if line.startswith("|") and re.fullmatch(r"[|:-]+", after):
            assert before == ""
            assert line.count("|") == after.count("|")
        if line.startswith("|") and after.startswith("|"):
            assert line.count("|") == after.count("|"), line


SLICES = pa.schema(
    [
        ("split", pa.string()),
        ("slice", pa.string()),
        ("value", pa.string()),
        ("position", pa.int32()),
        ("records", pa.int64()),
        ("macro_map", pa.float64()),
        ("macro_map_baseline", pa.float64()),
        ("macro_map_low", pa.float64()),
        ("macro_map_high", pa.float64()),
        ("absent", pa.string()),
    ]
)

SLICE_ROWS: list[tuple[Any, ...]] = [
    ("test", "rating", "safe", 0, 40, 0.7, 0.2, 0.65, 0.75, None),
    ("test", "size", "below 200 px", 0, 30, 0.5, 0.4, None, None, None),
    ("test", "size", "above 2000 px", 1, 1, None, None, None, None, "1 image"),
    ("fresh", "rating", "safe", 0, 40, 0.1, 0.2, 0.05, 0.15, None),
]


@pytest.fixture
def evaluated(project: Paths) -> Paths:
    row: dict[str, Any] = dict.fromkeys(PER_TAG.names, 0.5)
    row |= {"category": "general", "train_positives": 7, "test_positives": 4}
    row |= {"confused_with": []}
    tags = []
    averages = [(0.95, 0.5), (0.97, 0.9), (0.6, 0.1), (None, None)]
    for label, (average, baseline) in enumerate(averages):
        names = {"label_id": label, "name": list(toy_shards.TAGS)[label]}
        values = {"average_precision": average, "baseline_average_precision": baseline}
        tags.append({**row, **names, **values})
    parquet.write(project.evaluation / "per_tag.parquet", tags, PER_TAG)
    return project


def test_the_slices_that_go_least_of_the_way_come_first(evaluated: Paths) -> None:
    rows = [dict(zip(SLICES.names, row, strict=True)) for row in SLICE_ROWS]
    parquet.write(evaluated.evaluation / "slices.parquet", rows, SLICES)
    found = Failures.read(evaluated)
    assert found.slices is not None
    assert [each["value"] for each in found.slices] == ["below 200 px", "safe"]
    assert found.unmeasured == {"1 image": 1}
    assert [tag["name"] for tag in found.tags] == ["square", "circle", "red_background"]


@pytest.mark.parametrize("name", ["fox", ":|", "`_`", "a``|`b", "_x_", "<3", "\\|"])
def test_a_tag_of_odd_characters_is_itself_in_text_and_table(name: str) -> None:
    reader = MarkdownIt().enable("table")
    expected = f"<code>{html.escape(name)}</code>"
    assert expected in reader.render(f"Of {markdown.code(name)}, most.")
    cell = markdown.code_in_table(name)
    found = reader.render(f"| tag | number |\n|---|---|\n| {cell} | 0.5 |\n")
    assert f"<td>{expected}</td>\n<td>0.5</td>" in found


def test_slices_that_were_not_measured_are_no_zeros(evaluated: Paths) -> None:
    found = Failures.read(evaluated)
    assert found.slices is None
    assert found.unmeasured == {}


def test_a_metric_that_is_absent_is_shown_with_its_reason() -> None:
    rows = model_card._numbers(
        {
            "macro_map": {"value": 0.5, "baseline": 0.2, "low": 0.4, "high": 0.6},
            "macro_auc": {"absent": "no tag has positives"},
        }
    )
    assert [row["value"] for row in rows] == [
        "0.5000 (0.4000 to 0.6000)",
        "no tag has positives",
    ]
    assert rows[1]["baseline"] == "-"


def test_numbers_of_posts_are_never_shown_for_rules_of_requests(toy: Paths) -> None:
    rules = data_card._rules(DataFacts.read(toy))
    counts = [excluded for _, _, excluded in rules]
    assert counts == [7, 3, 2, 0, 0, None, None, None]
    assert pl.Series([number for number, _, _ in rules]).to_list() == list(range(1, 9))
