"""The overlay: people correct labels, and bring nothing back."""

import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from pipeline import lineage, manifest, parquet
from pipeline.errors import BadInput
from pipeline.manifest import overlay
from pipeline.manifest.overlay import Overlay
from pipeline.paths import SPLITS, Paths
from pipeline.schemas.reasons import OverlayOutcome
from tests.builders.project import ROOT, Project, copied, hashes, run_command

HEADER = "post_id,tag,action,note\n"

BY_POLICY = ("deleted", "forbidden_young", "opted_out", "not_still")
"""Reasons of PostExclusion that the board of the tests has."""

CHILDREN: dict[int, frozenset[int]] = {
    0: frozenset({1, 2}),
    1: frozenset({2}),
    2: frozenset(),
    3: frozenset(),
}
"""Label 0 implies 1, which implies 2; 3 stands alone."""


@pytest.fixture(scope="module")
def corrected(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of which only the overlay is written anew, test by test."""
    return copied(finished, tmp_path_factory.mktemp("overlay") / "project")


@pytest.fixture
def records(corrected: Project) -> pl.DataFrame:
    """Records before any correction."""
    return parquet.read(corrected.paths.manifest / "train.parquet")


@pytest.fixture
def labels(corrected: Project) -> dict[str, int]:
    """Vocabulary ids by name."""
    vocabulary = parquet.read(corrected.paths.sample / "vocabulary.parquet")
    return dict(vocabulary.select("name", "label_id").iter_rows())


@pytest.fixture
def pair(corrected: Project, labels: dict[str, int]) -> tuple[str, str]:
    """A tag of the vocabulary, and another that it implies."""
    relations = parquet.read(corrected.paths.snapshot / "implications.parquet")
    both = pl.all_horizontal(pl.col("antecedent", "consequent").is_in(list(labels)))
    in_force = relations.filter(both & (pl.col("status") == "active"))
    child, parent = in_force.select("antecedent", "consequent").row(0)
    return child, parent


def write(project: Project, *rows: str) -> None:
    project.paths.overlay.write_text(HEADER + "".join(f"{row}\n" for row in rows))


def applied(project: Project, records: pl.DataFrame, *rows: str) -> Overlay:
    write(project, *rows)
    return overlay.apply(project.paths, records)


def outcomes(found: Overlay) -> list[str]:
    return list(found.rows.sort("row")["outcome"])


def labels_of(found: Overlay, post_id: int, column: str = "label_ids") -> set[int]:
    (held,) = found.records.filter(post_id=post_id)[column]
    return set(held)


def post_with(records: pl.DataFrame, label: int) -> int:
    return int(records.filter(pl.col("label_ids").list.contains(label))["post_id"][0])


def posts_without(records: pl.DataFrame, *ids: int) -> list[int]:
    has_any = pl.col("label_ids").list.set_intersection(list(ids)).list.len() > 0
    return list(records.filter(~has_any)["post_id"])


def test_added_tag_brings_what_it_implies(
    corrected: Project,
    records: pl.DataFrame,
    labels: dict[str, int],
    pair: tuple[str, str],
) -> None:
    child, parent = (labels[name] for name in pair)
    post_id = posts_without(records, child, parent)[0]
    found = applied(corrected, records, f"{post_id},{pair[0]},add,seen")
    assert outcomes(found) == ["applied"]
    assert {child, parent} <= labels_of(found, post_id)
    given = labels_of(found, post_id, "explicit_label_ids")
    assert child in given
    assert parent not in given
    others = pl.col("post_id") != post_id
    assert found.records.filter(others).equals(records.filter(others))


def test_removed_tag_is_gone_and_what_it_implied_stays(
    corrected: Project,
    records: pl.DataFrame,
    labels: dict[str, int],
    pair: tuple[str, str],
) -> None:
    child, parent = (labels[name] for name in pair)
    post_id = post_with(records, child)
    found = applied(corrected, records, f"{post_id},{pair[0]},remove,")
    assert outcomes(found) == ["applied"]
    assert child not in labels_of(found, post_id)
    assert parent in labels_of(found, post_id)
    assert parent in labels_of(found, post_id, "explicit_label_ids")


def test_parent_stays_while_its_child_does_and_goes_with_it(
    corrected: Project,
    records: pl.DataFrame,
    labels: dict[str, int],
    pair: tuple[str, str],
) -> None:
    child, parent = (labels[name] for name in pair)
    post_id = post_with(records, child)
    row = f"{post_id},{pair[1]},remove,"
    found = applied(corrected, records, row)
    assert outcomes(found) == ["contradiction"]
    assert found.rows["detail"][0] == f"implied by label {child}, which stays"
    assert {child, parent} <= labels_of(found, post_id)
    found = applied(corrected, records, row, f"{post_id},{pair[0]},remove,")
    assert outcomes(found) == ["applied", "applied"]
    assert not labels_of(found, post_id) & {child, parent}


def test_rows_that_cannot_be_applied_are_listed_and_the_rest_is_applied(
    corrected: Project, records: pl.DataFrame, labels: dict[str, int]
) -> None:
    paths = corrected.paths
    tag, label = next(iter(labels.items()))
    post_id, other = posts_without(records, label)[:2]
    rejected = parquet.read(paths.manifest / "rejected.parquet")["post_id"][0]
    excluded = parquet.read(paths.sample / "excluded_posts.parquet")["post_id"][0]
    unlearnt = parquet.read(paths.sample / "excluded_tags.parquet")
    rare = unlearnt.filter(reason="too_few_positives")["name"][0]
    expected = {
        f"{post_id},{tag},add,": "applied",
        f"{post_id},{tag},add,again": "repeated",
        f"{other},{tag},add,": "contradiction",
        f"{other},{tag},remove,": "contradiction",
        f"{post_with(records, label)},{tag},add,": "unchanged",
        f"{rejected},{tag},add,": "rejected_post",
        f"99999999,{tag},add,": "unknown_post",
        f"{excluded},{tag},add,": "excluded_post",
        f"{other},no_such_tag,add,": "unknown_tag",
        f"{other},{rare},add,": "outside_vocabulary",
        f"-3,{tag},add,": "malformed",
        f"{'9' * 5_000},{tag},add,": "malformed",
        f"{other},{tag},keep,": "malformed",
        f"{other},,add,": "malformed",
        f"{other},{tag},add,one,too many": "malformed",
    }
    found = applied(corrected, records, *expected)
    assert dict(zip(expected, outcomes(found), strict=True)) == expected
    assert label in labels_of(found, post_id)
    assert label not in labels_of(found, other)
    summary = found.summary() or ""
    assert summary.startswith("1 of 15 rows of data/overlay.csv applied, 2 contra")
    assert "5 malformed" in summary


def test_alias_stands_for_its_tag(
    corrected: Project, records: pl.DataFrame, labels: dict[str, int]
) -> None:
    aliases = parquet.read(corrected.paths.snapshot / "aliases.parquet")
    known = pl.col("consequent").is_in(list(labels)) & (pl.col("status") == "active")
    alias, tag = aliases.filter(known).select("antecedent", "consequent").row(0)
    post_id = posts_without(records, labels[tag])[0]
    rows = (f"{post_id},{alias},add,", f"{post_id},{tag},add,")
    found = applied(corrected, records, *rows)
    assert outcomes(found) == ["applied", "repeated"]
    assert labels[tag] in labels_of(found, post_id)


@pytest.mark.parametrize("tag", ["avoid_posting", "conditional_dnp", "animated"])
def test_record_that_the_overlay_tags_as_forbidden_is_taken_out(
    corrected: Project, records: pl.DataFrame, tag: str
) -> None:
    post_id = records["post_id"][0]
    found = applied(corrected, records, f"{post_id},{tag},add,")
    assert outcomes(found) == ["forbids_post"]
    assert found.forbidden.rows() == [(post_id, "line 2 of data/overlay.csv")]
    assert post_id not in found.records["post_id"]


def test_every_row_of_a_record_that_is_taken_out_has_an_outcome(
    ready: Project, records: pl.DataFrame, labels: dict[str, int]
) -> None:
    post_id = records["post_id"][0]
    one, other = list(labels)[:2]
    add, remove = f"{post_id},{one},add,", f"{post_id},{other},remove,"
    write(ready, add, f"{post_id},avoid_posting,add,", remove)
    manifest.run(ready.params.manifest, ready.paths, everything=ready.params)
    found = parquet.read(ready.paths.manifest / "overlay.parquet").sort("row")
    expected = ["rejected_post", "forbids_post", "rejected_post"]
    assert found["outcome"].to_list() == expected


def test_explicit_record_that_the_overlay_tags_young_is_taken_out(
    corrected: Project, records: pl.DataFrame
) -> None:
    sensitive, safe = records["post_id"][:2]
    rating = pl.when(post_id=sensitive).then(pl.lit("e")).otherwise("rating")
    rated = records.with_columns(rating=rating)
    rows = (f"{sensitive},cub,add,", f"{safe},cub,add,")
    found = applied(corrected, rated, *rows)
    assert found.forbidden["post_id"].to_list() == [sensitive]
    assert sensitive not in found.records["post_id"]
    assert safe in found.records["post_id"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"\x89PNG\r\n\x1a\n\xff", "is not CSV in UTF-8", id="an image"),
        pytest.param(b"post_id,tag\n1,a\n", "has no column action", id="no action"),
        pytest.param(b"", "has no column post_id, tag, action", id="empty"),
        pytest.param(
            b'post_id,tag,action\n1,"a"b,add\n', "is not CSV in UTF-8", id="quotes"
        ),
    ],
)
def test_file_that_is_no_overlay_is_one_clear_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "overlay.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=message) as raised:
        overlay.read(path)
    assert "\n" not in str(raised.value)
    assert "git checkout data/overlay.csv" in str(raised.value)


def test_stage_applies_the_overlay_and_brings_back_no_forbidden_post(
    ready: Project, records: pl.DataFrame, labels: dict[str, int]
) -> None:
    paths = ready.paths
    excluded = parquet.read(paths.sample / "excluded_posts.parquet")
    forbidden = excluded.filter(pl.col("reason").is_in(BY_POLICY))
    assert set(forbidden["reason"]) == set(BY_POLICY)
    tag, label = next(iter(labels.items()))
    post_id, opted_out = posts_without(records, label)[:2]
    rows = [f"{post_id},{tag},add,", f"{opted_out},avoid_posting,add,"]
    for excluded_id in forbidden["post_id"]:
        rows += [f"{excluded_id},{tag},add,", f"{excluded_id},young,remove,"]
    before = {split: post_ids(paths, split) for split in (*SPLITS, "rejected")}
    write(ready, *rows)
    manifest.run(ready.params.manifest, paths, everything=ready.params)

    found = parquet.read(paths.manifest / "overlay.parquet").sort("row")
    refused = ["excluded_post"] * (len(rows) - 2)
    assert found["outcome"].to_list() == ["applied", "forbids_post", *refused]
    assert set(found["detail"][2:]) == set(BY_POLICY)
    train = parquet.read(paths.manifest / "train.parquet")
    assert label in train.filter(post_id=post_id)["label_ids"][0]
    rejected = parquet.read(paths.manifest / "rejected.parquet")
    (reason,) = rejected.filter(post_id=opted_out)["reason"]
    assert reason == "forbidden_by_overlay"
    before["train"].remove(opted_out)
    before["rejected"].add(opted_out)
    after = {split: post_ids(paths, split) for split in before}
    assert after == before

    told = lineage.read(paths.manifest / "test.parquet")["overlay"]
    assert told["applied"] == 1
    assert len(told["sha256"]) == 64
    first = hashes(paths.manifest)
    manifest.run(ready.params.manifest, paths, everything=ready.params)
    assert hashes(paths.manifest) == first


def post_ids(paths: Paths, stem: str) -> set[int]:
    return set(parquet.read(paths.manifest / f"{stem}.parquet")["post_id"])


def test_command_says_one_line_of_a_file_that_is_no_overlay(ready: Project) -> None:
    ready.paths.overlay.write_text("post,tag\n")
    done = run_command(ready.paths.root, "manifest")
    assert done.returncode == 1
    assert "error: data/overlay.csv has no column post_id, action." in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_file_nothing_is_corrected(
    corrected: Project, records: pl.DataFrame
) -> None:
    corrected.paths.overlay.unlink(missing_ok=True)
    found = overlay.apply(corrected.paths, records)
    assert found.records.equals(records)
    assert found.rows.is_empty()
    assert found.lineage() == {"sha256": None, "applied": 0}
    assert found.summary() is None


def test_overlay_alone_of_data_is_in_git(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitignore", tmp_path)
    listed = overlay_ignored(tmp_path)
    assert listed == {"data/snapshot/posts.parquet", "data/ledger.sqlite"}


def overlay_ignored(folder: Path) -> set[str]:
    names = ["data/overlay.csv", "data/snapshot/posts.parquet", "data/ledger.sqlite"]
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    done = subprocess.run(
        ["git", "check-ignore", *names],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("before", "added", "removed", "after"),
    [
        pytest.param({3}, {0}, set(), {0, 1, 2, 3}, id="a chain is added"),
        pytest.param({0, 1, 2}, set(), {1, 2}, {0, 1, 2}, id="a chain stays"),
        pytest.param({0, 1, 2}, set(), {0, 2}, {1, 2}, id="only the top goes"),
        pytest.param({1, 2}, set(), {1, 2}, set(), id="a chain goes"),
        pytest.param(set(), {0}, {2}, {0, 1, 2}, id="what is added needs it"),
        pytest.param({0, 1, 2}, {3}, {0}, {1, 2, 3}, id="one for another"),
    ],
)
def test_labels_stay_closed_under_implications(
    before: set[int], added: set[int], removed: set[int], after: set[int]
) -> None:
    found = overlay.correct(before, before, added, removed, CHILDREN)
    assert set(found.labels) == after
    for label in found.labels:
        assert CHILDREN[label] <= after
    assert set(found.given) <= after
    assert {label for label, *_ in found.outcomes} == added | removed


def test_every_outcome_has_a_sentence() -> None:
    assert all(outcome.sentence for outcome in OverlayOutcome)
