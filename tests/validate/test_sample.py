"""The rules of data/sample: each way to break it fails the rule meant for it."""

import pytest

from pipeline import validate
from pipeline.errors import GateFailed
from pipeline.params.sample import Sample
from pipeline.paths import Paths
from pipeline.sample import splits, strategies
from pipeline.schemas.sample import ANOMALIES, CO_OCCURRENCE, MISSING_IMPLICATIONS
from pipeline.validate import sample
from tests.builders.tables import PARAMS, md5
from tests.validate.edits import (
    Edit,
    all_of,
    sampled_post,
    set_columns,
    snapshot_post,
    snapshot_tag,
    strategy,
    vocabulary_tag,
)
from tests.validate.gates import GX_WARNINGS, assert_gate_fails

pytestmark = GX_WARNINGS


def test_the_gate_counts_the_reserve_as_the_stage_does() -> None:
    for minimum in range(200):
        for percent in range(101):
            params = Sample(min_eval_positives=minimum, reserve=percent / 100)
            found = sample._with_reserve(minimum, params.reserve)
            assert found == strategies.with_reserve(params, minimum)


BROKEN = [
    pytest.param(
        "findings",
        "deleted_post",
        snapshot_post(8, is_deleted=True),
        id="deleted post sampled",
    ),
    pytest.param(
        "findings",
        "withheld_post",
        snapshot_post(8, is_withheld=True),
        id="withheld post sampled",
    ),
    pytest.param(
        "findings",
        "vanished_post",
        sampled_post(8, post_id=99),
        id="sampled post that the snapshot lacks",
    ),
    pytest.param(
        "findings",
        "replaced_post",
        snapshot_post(8, md5=md5(99)),
        id="replaced file sampled",
    ),
    pytest.param(
        "findings",
        "replaced_post",
        snapshot_post(8, md5=None, is_withheld=True),
        id="post sampled whose md5 the snapshot lacks",
    ),
    pytest.param(
        "findings",
        "forbidden_young",
        all_of(
            snapshot_post(8, rating="q", tags=["fawn", "fox"]),
            sampled_post(8, rating="q"),
        ),
        id="q post whose tag implies young",
    ),
    pytest.param(
        "findings",
        "opted_out",
        snapshot_post(8, locked_tags=["avoid_posting"]),
        id="opt-out sampled",
    ),
    pytest.param(
        "findings",
        "moving_image",
        snapshot_post(8, duration=2.5),
        id="animation sampled",
    ),
    pytest.param("posts.parquet", "ext", sampled_post(8, ext="gif"), id="gif sampled"),
    pytest.param(
        "posts.parquet",
        "rating",
        sampled_post(8, rating="e"),
        id="rating that parameters exclude",
    ),
    pytest.param(
        "posts.parquet",
        "label_ids:max",
        sampled_post(8, label_ids=[0, 3]),
        id="label beyond the vocabulary",
    ),
    pytest.param(
        "posts.parquet",
        "label_ids:ascending",
        sampled_post(8, label_ids=[1, 0]),
        id="labels out of order",
    ),
    pytest.param(
        "posts.parquet",
        "explicit_label_ids:foreign",
        sampled_post(8, explicit_label_ids=[2]),
        id="given id that is no label",
    ),
    pytest.param(
        "findings",
        "labels_differ",
        sampled_post(8, label_ids=[1]),
        id="implied label missing",
    ),
    pytest.param(
        "findings",
        "explicit_label_ids_differ",
        sampled_post(8, explicit_label_ids=[0, 1]),
        id="implied label as given",
    ),
    pytest.param(
        "findings",
        "group_in_two_splits",
        sampled_post(30, group_id=2),
        id="family in two splits",
    ),
    pytest.param(
        "findings",
        "parted_family",
        snapshot_post(30, parent_id=28),
        id="child without its family",
    ),
    pytest.param(
        "vocabulary.parquet",
        "train_positives",
        vocabulary_tag(1, train_positives=3),
        id="too few positives",
    ),
    pytest.param(
        "vocabulary.parquet",
        "train_positives",
        vocabulary_tag(1, train_positives=4),
        id="positives without the reserve",
    ),
    pytest.param(
        "vocabulary.parquet",
        "test_positives",
        vocabulary_tag(1, test_positives=2),
        id="test positives without the reserve",
    ),
    pytest.param(
        "tags",
        "train_positives",
        vocabulary_tag(1, train_positives=9),
        id="more positives than posts",
    ),
    pytest.param(
        "findings",
        "tag_unknown",
        vocabulary_tag(1, tag_id=77),
        id="tag that the snapshot lacks",
    ),
    pytest.param(
        "findings",
        "policy_tag",
        vocabulary_tag(1, name="fawn"),
        id="young in the vocabulary",
    ),
    pytest.param(
        "findings",
        "selected_for_no_label",
        sampled_post(8, selected_for=2),
        id="selected for a label it lacks",
    ),
    pytest.param(
        "posts.parquet",
        "selected_for",
        sampled_post(8, selected_for=3),
        id="selected for an unknown label",
    ),
    pytest.param(
        "chosen", "posts", strategy("sample", posts=31), id="posts miscounted"
    ),
    pytest.param(
        "chosen",
        "min_positives_reached",
        strategy("sample", min_positives_reached=9),
        id="too many positives reported",
    ),
    pytest.param(
        "chosen",
        "median_positives",
        strategy("sample", median_positives=8.5),
        id="median miscounted",
    ),
    pytest.param(
        "strategies.parquet",
        "total_variation",
        strategy("quota", total_variation=1.5),
        id="distance above 1",
    ),
    pytest.param(
        "findings",
        "strategy_missing",
        strategy("quota", is_chosen=True),
        id="two strategies chosen",
    ),
    pytest.param(
        "findings",
        "strategy_missing",
        strategy("quota", strategy="cover"),
        id="a strategy is missing",
    ),
    pytest.param(
        "missing_implications.parquet",
        "share",
        set_columns(
            "sample",
            "missing_implications",
            MISSING_IMPLICATIONS,
            "antecedent",
            "fox",
            share=1.25,
        ),
        id="share above 1",
    ),
    pytest.param(
        "findings",
        "pair_unknown",
        set_columns(
            "sample",
            "co_occurrence",
            CO_OCCURRENCE,
            "lift",
            0.25,
            second="scarf",
        ),
        id="pair with a tag outside the vocabulary",
    ),
    pytest.param(
        "anomalies.parquet",
        "kind",
        set_columns("sample", "anomalies", ANOMALIES, "subject", "7", kind="strange"),
        id="anomaly of no kind",
    ),
]


@pytest.mark.parametrize(("table", "column", "edit"), BROKEN)
def test_each_broken_sample_fails_the_rule_meant_for_it(
    paths: Paths,
    table: str,
    column: str,
    edit: Edit,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_gate_fails(paths, "sample", edit, (table, column), capsys)


def test_an_artist_in_two_splits_fails_where_parameters_exclude_it(
    paths: Paths,
) -> None:
    by_artist_sample = PARAMS.sample.model_copy(update={"group_by_artist": True})
    by_artist = PARAMS.model_copy(update={"sample": by_artist_sample})
    # The tag `unlabelled`, which posts of all splits have, becomes an artist.
    snapshot_tag(6, category=1)(paths)
    validate.run("sample", PARAMS, paths)
    message = r"findings: artist_in_two_splits failed, 1 of 1 unexpected"
    with pytest.raises(GateFailed, match=message):
        validate.run("sample", by_artist, paths)


def test_gate_and_stage_have_the_same_pseudo_artists() -> None:
    assert sample.PSEUDO_ARTISTS == splits.PSEUDO_ARTISTS
