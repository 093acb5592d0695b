"""`e6tag diff`, over two runs in a real git and DVC repository.

The runs are the hand-written datasets: the first as they are, the second with a tag
renamed, one gone and one new, posts that came, went and changed, and worse scores.
"""

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from sklearn.metrics import average_precision_score

from ops import diff, dvc, runs
from ops.diff import Report, text
from ops.diff.drift import TagDrift
from ops.diff.tags import Renamed
from pipeline import files, parquet
from pipeline.errors import BadInput
from pipeline.paths import Paths
from pipeline.schemas.evaluation import PREDICTIONS
from pipeline.schemas.manifest import MANIFEST
from pipeline.schemas.sample import EXCLUDED_POSTS, EXCLUDED_TAGS, VOCABULARY
from pipeline.schemas.snapshot import RELATIONS
from tests.builders import tables
from tests.builders.project import ROOT
from tests.builders.tables import change

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),
]

DVC_YAML = """\
stages:
  sample: {cmd: "true", outs: [data/snapshot, data/sample]}
  manifest: {cmd: "true", outs: [data/manifest]}
  evaluate: {cmd: "true", outs: [data/evaluation]}
"""

STAGES = ("sample", "manifest", "evaluate")

WENT = 3
"""A training post that the second run lacks, since the artist opted out."""

CAME = 40
"""A training post that the second run has, and the first could not know."""

RETAGGED = 6
"""A training post of neither tag, which the second run has as a fox."""


def git(root: Path, *arguments: str) -> None:
    author = ["-c", "user.name=A", "-c", "user.email=a@localhost"]
    command = ["git", *author, *arguments]
    subprocess.run(command, cwd=root, check=True, capture_output=True)


def commit(root: Path, tag: str) -> None:
    """Has DVC record all outputs, and commits dvc.lock."""
    for stage in STAGES:
        dvc.record(root, stage)
    git(root, "add", "-A")
    git(root, "commit", "-m", tag)
    git(root, "tag", tag)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("diff") / "project"
    (root / ".dvc").mkdir(parents=True)
    site = root.parent / "site"
    config = f"[core]\n    analytics = false\n    site_cache_dir = {site}\n"
    (root / ".dvc" / "config").write_text(config + "[cache]\n    type = copy\n")
    (root / ".dvc" / ".gitignore").write_text("/cache\n/tmp\n")
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / ".gitignore").write_text("/data/\n")
    git(root, "init", "--quiet")
    git(root, "add", "-A")
    git(root, "commit", "-m", "no run yet")
    git(root, "tag", "empty")
    paths = Paths(root)
    tables.write_all(paths)
    widen_scores(paths)
    commit(root, "first")
    edit(paths)
    commit(root, "second")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(made, tmp_path / "project")
    return tmp_path / "project"


def widen_scores(paths: Paths) -> None:
    """Makes the scores differ from post to post."""

    def some(rows: pl.DataFrame) -> pl.DataFrame:
        random = np.random.default_rng(7)
        scores = rows["scores"].to_list()
        noisy = [np.clip(random.normal(row, 0.6), 0, 1).tolist() for row in scores]
        return rows.with_columns(scores=pl.Series(noisy))

    change(paths.evaluation / "predictions.parquet", some, PREDICTIONS)


def edit(paths: Paths) -> None:
    """Makes the second run of the first."""
    _edit_tags(paths)
    _edit_posts(paths)
    path = paths.evaluation / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["splits"]["test"]["macro_map"] = {
        "value": 0.8,
        "baseline": 0.5,
        "low": 0.7,
        "high": 0.9,
    }
    files.write_json(path, metrics)

    def worse(rows: pl.DataFrame) -> pl.DataFrame:
        is_fox = pl.col("label_ids").list.contains(1)
        wrong = pl.when(is_fox).then(0.0).otherwise(1.0).cast(pl.Float32)
        kept = [pl.col("scores").list.get(0), wrong, pl.col("scores").list.get(2)]
        return rows.with_columns(scores=pl.concat_list(kept))

    change(paths.evaluation / "predictions.parquet", worse, PREDICTIONS)


def _edit_tags(paths: Paths) -> None:
    """The canine is called canid now, the hat is no tag any more, a scarf is one."""
    names = pl.Series(["canid", "fox", "scarf"])
    vocabulary = paths.sample / "vocabulary.parquet"
    change(vocabulary, lambda rows: rows.with_columns(name=names), VOCABULARY)
    alias = {"relation_id": 9, "antecedent": "canine", "consequent": "canid"}
    rows = parquet.read(paths.snapshot / "aliases.parquet").to_dicts()
    rows.append({**alias, "status": "active"})
    parquet.write(paths.snapshot / "aliases.parquet", rows, RELATIONS)
    hat = dict.fromkeys(EXCLUDED_TAGS.names, 1)
    hat |= {"name": "hat", "category": "general", "reason": "too_few_positives"}
    parquet.write(paths.sample / "excluded_tags.parquet", [hat], EXCLUDED_TAGS)


def _edit_posts(paths: Paths) -> None:
    def posts(rows: pl.DataFrame) -> pl.DataFrame:
        kept = rows.filter(pl.col("post_id") != WENT)
        first = pl.lit(CAME, pl.Int64)
        md5 = pl.lit("f" * 32)
        came = rows.head(1).with_columns(post_id=first, md5=md5)
        retagged = pl.col("post_id") == RETAGGED
        ids = pl.when(retagged).then(pl.lit([0, 1], pl.List(pl.Int32)))
        changed = kept.with_columns(label_ids=ids.otherwise(pl.col("label_ids")))
        return pl.concat([changed, came.select(changed.columns)])

    change(paths.manifest / "train.parquet", posts, MANIFEST)
    excluded = [{"post_id": WENT, "reason": "opted_out", "group_id": None}]
    parquet.write(paths.sample / "excluded_posts.parquet", excluded, EXCLUDED_POSTS)


def compared(root: Path, before: str = "first", after: str = "second") -> Report:
    return diff.compare(runs.at(root, before), runs.at(root, after), resamplings=50)


@pytest.fixture(scope="module")
def report(made: Path) -> Report:
    return compared(made)


def test_tags_are_new_gone_or_renamed_with_the_reason(report: Report) -> None:
    found = report.tags
    assert [one.name for one in found.new] == ["scarf"]
    assert [(one.name, one.reason) for one in found.gone] == [
        ("hat", "fewer than min_positives among the training posts")
    ]
    assert found.renamed == [Renamed("canine", "canid", merged=False)]
    assert found.common == 2


def test_posts_that_came_and_went_are_listed_with_why(report: Report) -> None:
    found = report.posts
    assert found is not None
    assert [(one.post_id, one.why) for one in found.went] == [
        (WENT, "the artist opted out (rule 3)")
    ]
    assert [(one.post_id, one.why) for one in found.came] == [(CAME, "uploaded later")]
    assert found.before == found.after
    assert found.common == found.before - 1
    assert (found.moved, found.replaced) == ([], [])


def test_retagged_posts_are_told_by_tags_that_both_have(report: Report) -> None:
    # That other posts lost the hat is no change of theirs: it is no tag any more.
    found = report.posts
    assert found is not None
    (one,) = found.retagged
    assert one.post_id == RETAGGED
    assert (one.added, one.removed) == (["canid", "fox"], [])


def test_drift_is_of_the_shares_of_training_posts(report: Report, made: Path) -> None:
    found = report.labels
    assert found is not None
    shares = {}
    for revision in ("first", "second"):
        path = runs.at(made, revision).find("data/manifest/train.parquet")
        assert path is not None
        has_fox = parquet.read(path)["label_ids"].list.contains(1)
        shares[revision] = has_fox.sum() / has_fox.len()
    (fox,) = [one for one in found.tags if one.name == "fox"]
    first, second = shares["first"], shares["second"]
    assert fox == TagDrift("fox", first, second, second - first)
    assert found.divergence is not None
    assert 0 <= found.divergence < 0.05


def test_metric_changes_are_those_of_scikit_learn(report: Report, made: Path) -> None:
    found = report.metrics
    assert found is not None
    assert found.is_paired
    assert found.posts == (8, 8, 8)
    values = []
    for revision in ("first", "second"):
        path = runs.at(made, revision).find("data/evaluation/predictions.parquet")
        assert path is not None
        test = parquet.read(path).filter(split="test")
        labels = test["label_ids"].list.contains(1)
        values.append(average_precision_score(labels, test["scores"].list.get(1)))
    (fox,) = [one for one in found.per_tag if one.name == "fox"]
    assert [fox.before, fox.after] == pytest.approx(values, abs=1e-9)
    assert fox.change == pytest.approx(values[1] - values[0], abs=1e-9)
    assert fox.low is not None
    assert fox.high is not None
    assert fox.low <= fox.change <= fox.high
    assert fox.is_beyond_chance
    # The scores of the other tag are the same, so nothing is left to chance.
    (canid,) = [one for one in found.per_tag if one.name == "canid"]
    assert (canid.change, canid.low, canid.high) == (0, 0, 0)


def test_reported_metrics_have_the_interval_of_two_samples(root: Path) -> None:
    paths = Paths(root)
    path = paths.evaluation / "metrics.json"
    metrics = json.loads(path.read_text())
    better = {"value": 0.85, "baseline": 0.5, "low": 0.82, "high": 0.88}
    metrics["splits"]["test"]["macro_map"] = better
    files.write_json(path, metrics)
    found = compared(root, "second", runs.WORKSPACE).metrics
    assert found is not None
    (macro,) = [one for one in found.reported if one.name == "macro_map"]
    assert macro.change == pytest.approx(0.05)
    assert macro.low == pytest.approx(0.05 - np.hypot(0.03, 0.1))
    assert macro.high == pytest.approx(0.05 + np.hypot(0.03, 0.1))


def test_other_test_posts_are_not_paired(root: Path) -> None:
    def other(rows: pl.DataFrame) -> pl.DataFrame:
        is_test = pl.col("split") == "test"
        return rows.with_columns(
            post_id=pl.when(is_test).then(pl.col("post_id") + 500).otherwise("post_id")
        )

    change(Paths(root).evaluation / "predictions.parquet", other, PREDICTIONS)
    found = compared(root, "second", runs.WORKSPACE).metrics
    assert found is not None
    assert not found.is_paired
    assert found.posts == (8, 8, 0)
    # The same scores, but drawn apart: an interval that is not of one point.
    (canid,) = [one for one in found.per_tag if one.name == "canid"]
    assert canid.change == 0
    assert canid.low is not None
    assert canid.low < 0
    assert not canid.is_beyond_chance


def test_a_run_without_test_posts_has_no_metric_to_compare(root: Path) -> None:
    path = Paths(root).evaluation / "predictions.parquet"
    change(path, lambda rows: rows.filter(pl.col("split") != "test"), PREDICTIONS)
    found = compared(root, "second", runs.WORKSPACE).metrics
    assert found is not None
    assert found.posts == (8, 0, 0)
    assert [one.change for one in found.common] == [None, None]


def test_a_run_without_evaluation_is_told_and_the_rest_is_compared(root: Path) -> None:
    shutil.rmtree(root / "data" / "evaluation")
    found = compared(root, "first", runs.WORKSPACE)
    assert found.metrics is None
    assert found.absent == {"metrics": "workspace has no data/evaluation/metrics.json"}
    assert found.posts is not None


def command(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "ops.diff", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def printed(report: Report) -> str:
    """Returns what a terminal of 80 columns shows."""
    file = io.StringIO()
    console = Console(file=file, width=80, highlight=False, markup=False)
    for part in text.render(report):
        console.print(part)
    return file.getvalue()


def test_people_see_every_kind_of_change(report: Report) -> None:
    shown = printed(report)
    assert shown.splitlines()[0] == "first -> second"
    for part in (
        "scarf",
        "canid",
        "opted out",
        "got it",
        "Jensen-Shannon",
        "macro mAP",
    ):
        assert part in shown, part


def test_long_names_fit_a_terminal_of_80_columns(report: Report) -> None:
    found = report.metrics
    assert found is not None
    long = dataclasses.replace(found.per_tag[0], name="a_very_long_name_" * 6)
    metrics = dataclasses.replace(found, per_tag=[long])
    shown = printed(dataclasses.replace(report, metrics=metrics))
    assert f"{long.change:+.4f}" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_programs_get_all_of_it(made: Path) -> None:
    done = command(made, "--json", "--resamplings", "20", "--", "first", "second")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["tags"]["renamed"][0]["new"] == "canid"
    assert content["posts"]["went"][0]["post_id"] == WENT
    assert len(content["metrics"]["per_tag"]) == 2
    assert content["metrics"]["resamplings"] == 20


def test_names_of_tags_are_shown_as_they_are(root: Path) -> None:
    names = pl.Series(["canid", "fox", ":x:"])
    vocabulary = Paths(root).sample / "vocabulary.parquet"
    change(vocabulary, lambda rows: rows.with_columns(name=names), VOCABULARY)
    done = command(root, "--resamplings", "0", "--", "second")
    assert done.returncode == 0, done.stderr
    assert "\n:x:" in done.stdout


def test_nothing_differs_between_a_run_and_itself(made: Path) -> None:
    shown = printed(compared(made, "second", runs.WORKSPACE))
    assert shown.splitlines() == [
        "second -> workspace",
        "Nothing differs: tags, posts, labels, metrics are the same.",
    ]


def without_lock(root: Path) -> None:
    git(root, "rm", "--cached", "dvc.lock")
    git(root, "commit", "-m", "without")
    git(root, "tag", "lockless")


def without_cache(root: Path) -> None:
    shutil.rmtree(root / ".dvc" / "cache")


def unchanged(_root: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("revision", "spoil", "message"),
    [
        pytest.param("nine", unchanged, "no revision 'nine' here", id="no revision"),
        pytest.param("--all", unchanged, "no revision '--all'", id="an option"),
        pytest.param("empty", unchanged, "empty has no dvc.lock", id="no run"),
        pytest.param("lockless", without_lock, "lockless has no", id="no lock"),
        pytest.param(
            "first",
            without_cache,
            "data/sample of first is not in DVC's cache. Get it from a remote, dvc "
            "fetch --all-commits, or make it again: git checkout first",
            id="no data",
        ),
    ],
)
def test_bad_input_says_what_is_missing_and_what_to_do(
    root: Path, revision: str, spoil: Callable[[Path], Any], message: str
) -> None:
    spoil(root)
    with pytest.raises(BadInput) as raised:
        compared(root, revision, runs.WORKSPACE)
    assert message in str(raised.value)


def test_the_command_says_it_in_one_line(made: Path) -> None:
    done = command(made, "nine")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: there is no revision 'nine' here")


def test_a_run_that_made_no_sample_is_one_line(root: Path) -> None:
    shutil.rmtree(root / "data" / "sample")
    with pytest.raises(BadInput, match=r"workspace has no data/sample/vocabulary"):
        compared(root, "first", runs.WORKSPACE)


def test_a_folder_without_a_project_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no DVC project here"):
        runs.at(tmp_path, "first")
