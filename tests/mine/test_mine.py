"""Mining: what is missing is found, what is not true of an image is not proposed."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from pipeline import mine, parquet
from pipeline.errors import BadInput
from pipeline.manifest import overlay
from pipeline.params.mine import Mine
from pipeline.params.site import Site
from pipeline.paths import Paths
from pipeline.schemas.manifest import MANIFEST
from tests.builders import mining_project
from tests.builders.mining_project import OMITTED, RARE, YOUNG
from tests.builders.project import hashes

# Keras hands its variables to h5py in a way that NumPy 2 asks to change.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)

SITE = Site(
    name="custom", base_url="http://127.0.0.1:1/", static_url="http://127.0.0.1:1"
)
PARAMS = Mine(min_rare_posts=10, min_probability=0.3)


@dataclass(frozen=True)
class Mined:
    """A trained toy project. truth: what its images show, by post."""

    paths: Paths
    truth: dict[int, set[str]]

    @property
    def proposals(self) -> pl.DataFrame:
        """Its proposals."""
        return parquet.read(self.paths.mining / "proposals.parquet")


@pytest.fixture(scope="module")
def mined(toy_trained: Paths, tmp_path_factory: pytest.TempPathFactory) -> Mined:
    """Mined once. To be copied, not changed."""
    root = tmp_path_factory.mktemp("mined") / "project"
    shutil.copytree(toy_trained.root, root)
    paths = Paths(root)
    truth = mining_project.write(paths)
    mine.run(PARAMS, paths, site=SITE)
    return Mined(paths, truth)


@pytest.fixture
def copy(mined: Mined, tmp_path: Path) -> Paths:
    """A copy of the project that a test may change."""
    shutil.copytree(mined.paths.root, tmp_path / "project")
    return Paths(tmp_path / "project")


def test_labels_that_were_left_out_are_proposed_and_hardly_any_other(
    mined: Mined,
) -> None:
    found = mined.proposals.filter(tag=OMITTED, kind="missing")
    omitted = set()
    for post_id, names in mined.truth.items():
        if OMITTED in names and mining_project.is_omitted(post_id):
            omitted.add(post_id)
    proposed = set(found["post_id"])
    assert len(proposed & omitted) >= 0.8 * len(omitted)
    assert len(proposed - omitted) <= 0.2 * len(proposed)
    assert found["label_id"].unique().to_list() == [mining_project.DRAWN.index(OMITTED)]


def test_noisiest_label_is_the_one_with_labels_missing(mined: Mined) -> None:
    noise = parquet.read(mined.paths.mining / "label_noise.parquet")
    assert noise["name"].to_list() == mining_project.DRAWN
    assert noise["absent"].null_count() == noise.height
    worst = noise.sort("missing_share", descending=True).row(0, named=True)
    assert worst["name"] == OMITTED
    assert worst["missing_low"] < 1 / mining_project.EVERY < worst["missing_high"]


def test_tag_outside_the_vocabulary_is_proposed_where_it_is_true(mined: Mined) -> None:
    rare = mined.proposals.filter(kind="rare")
    assert set(rare["tag"]) == {RARE}
    assert rare["label_id"].null_count() == rare.height
    assert rare["score"].null_count() == rare.height
    right = [RARE in mined.truth[post_id] for post_id in rare["post_id"]]
    assert sum(right) >= 0.8 * len(right)


def test_tag_that_the_policy_is_about_is_never_proposed(mined: Mined) -> None:
    tags = parquet.read(mined.paths.snapshot / "posts.parquet")["tags"]
    assert tags.list.contains(YOUNG).any()
    assert YOUNG not in mined.proposals["tag"]


def test_table_is_ordered_and_links_to_the_site(mined: Mined) -> None:
    rows = mined.proposals
    keys = ["probability", "post_id", "tag"]
    ordered = rows.sort(keys, descending=[True, False, False])
    assert rows.equals(ordered)
    assert rows["probability"].is_between(PARAMS.min_probability, 1).all()
    first = rows.row(0, named=True)
    assert first["url"] == f"http://127.0.0.1:1/posts/{first['post_id']}"
    assert rows["uncertainty"].null_count() == rows.height


def test_accepted_rows_of_the_csv_are_rows_of_the_overlay(
    mined: Mined, tmp_path: Path
) -> None:
    shutil.copy(mined.paths.mining / "proposals.csv", tmp_path / "overlay.csv")
    rows = overlay.read(tmp_path / "overlay.csv")
    assert rows["outcome"].null_count() == rows.height
    shown = mined.proposals
    assert rows.select("post_id", "tag").equals(shown.select("post_id", "tag"))
    removes = rows["action"] == "remove"
    assert removes.to_list() == (shown["kind"] == "wrong").to_list()


def test_what_was_reviewed_is_not_proposed_again_and_a_local_site_has_no_pages(
    mined: Mined, copy: Paths
) -> None:
    before = mined.proposals
    kinds = ("missing", "rare")  # a rare tag has no label
    reviewed = pl.concat([before.filter(kind=kind).head(5) for kind in kinds])
    assert reviewed.height == 10
    mining_project.review(copy, reviewed)
    mine.run(PARAMS, copy, site=Site(name="sandbox"))
    after = parquet.read(copy.mining / "proposals.parquet")
    keys = ["post_id", "tag"]
    assert after.join(reviewed, on=keys, how="semi").is_empty()
    others = before.join(reviewed, on=keys, how="anti")
    assert after.select(keys).equals(others.select(keys))
    assert after["url"].null_count() == after.height


def test_same_inputs_give_the_same_bytes(mined: Mined, copy: Paths) -> None:
    mine.run(PARAMS, copy, site=SITE)
    assert hashes(copy.mining) == hashes(mined.paths.mining)


def test_record_that_the_manifest_lacks_is_said(copy: Paths) -> None:
    path = copy.manifest / "test.parquet"
    parquet.write(path, parquet.read(path).head(3), MANIFEST)
    with pytest.raises(BadInput, match=r"lacks 45 records of .*dvc repro"):
        mine.run(PARAMS, copy, site=SITE)
