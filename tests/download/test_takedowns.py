"""Images that may not stay: removed from packs and spool, and listed."""

import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
import pytest

from pipeline import download, packs, parquet, pin, refresh
from pipeline.errors import (
    BadInput,
    CorruptFile,
    PolicyViolation,
)
from pipeline.schemas.images import TAKEDOWNS
from pipeline.schemas.snapshot import POSTS
from sandbox.board.drawn import SandboxBoard
from tests.builders.downloads import (
    change_posts,
    leave_spooled,
    outcomes,
    run,
    takedowns,
)
from tests.builders.project import (
    Project,
    hashes,
    make_project,
    prepare,
    served,
)


def test_pictures_leave_also_where_the_sample_is_of_another_day_or_gone(
    ready: Project,
) -> None:
    first, second = packs.index(ready.paths.images)["md5"][:2]
    path = ready.paths.snapshot / "posts.parquet"
    posts = pl.read_parquet(path)
    parquet.write(
        path,
        posts.with_columns(pl.col("is_deleted") | (pl.col("md5") == first)),
        POSTS,
    )
    with pytest.raises(PolicyViolation, match="1 sampled posts may not be fetched"):
        run(ready)
    assert first not in set(packs.index(ready.paths.images)["md5"])
    assert takedowns(ready)["md5"].to_list() == [first]
    (ready.paths.sample / "posts.parquet").unlink()
    parquet.write(
        path,
        posts.with_columns(
            pl.col("is_deleted") | (pl.col("md5").is_in([first, second]))
        ),
        POSTS,
    )
    with pytest.raises(
        CorruptFile, match=r"posts\.parquet is not there\. Run dvc repro: "
    ):
        run(ready)
    assert not {first, second} & set(packs.index(ready.paths.images)["md5"])
    assert set(takedowns(ready)["md5"]) == {first, second}


def test_sample_of_another_day_is_not_fetched(ready: Project) -> None:
    path = ready.paths.snapshot / "posts.parquet"
    posts = pl.read_parquet(path).with_columns(is_deleted=True)
    parquet.write(path, posts, POSTS)
    with pytest.raises(PolicyViolation, match="may not be fetched"):
        run(ready)


def test_pictures_of_posts_that_were_taken_down_leave_their_packs_and_are_listed(
    ready: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    assert takedowns(ready).is_empty()
    index = packs.index(ready.paths.images)
    one_pack = index.filter(pl.col("pack") == index["pack"][0]).head(6)
    deleted, withheld, opted_out, moving, replaced, expunged = one_pack[
        "post_id"
    ].to_list()
    before = hashes(ready.paths.images)

    def of(post_id: int) -> pl.Expr:
        return pl.col("post_id") == post_id

    change_posts(
        ready,
        pl.col("is_deleted") | of(deleted),
        (pl.col("is_withheld") | of(withheld)).alias("is_withheld"),
        pl.when(of(opted_out))
        .then(pl.lit(["conditional_dnp"]))
        .otherwise("locked_tags")
        .alias("locked_tags"),
        pl.when(of(moving)).then(2.5).otherwise("duration").alias("duration"),
        pl.when(of(replaced)).then(pl.lit("f" * 32)).otherwise("md5").alias("md5"),
        without=(expunged,),
    )
    run(ready)
    reasons = dict(takedowns(ready).select("post_id", "reason").iter_rows())
    assert reasons == {
        deleted: "deleted",
        withheld: "withheld",
        opted_out: "opted_out",
        moving: "not_still",
        replaced: "replaced",
        expunged: "expunged",
    }
    assert takedowns(ready)["md5"].to_list() == sorted(one_pack["md5"])
    assert set(takedowns(ready)["snapshot"]) == {pin.load(ready.paths.pin).moment}
    removed = "6 images may no longer be kept and are removed: 1 deleted, 1 expunged,"
    assert f"{removed} 1 not_still" in capfd.readouterr().err
    gone = set(one_pack["md5"])
    assert not gone & set(packs.index(ready.paths.images)["md5"])
    changed = {
        name
        for name, digest in hashes(ready.paths.images).items()
        if before.get(name, digest) != digest
    }
    assert changed == {one_pack["pack"][0], "outcomes.parquet", "takedowns.parquet"}


def of_site(project: Project, site: str) -> None:
    """Makes the stored images those of another site; this one lacks the first."""
    table = project.paths.images / "takedowns.parquet"
    parquet.write(table, takedowns(project), TAKEDOWNS, metadata={"site": site})
    first = packs.index(project.paths.images)["post_id"][0]
    change_posts(project, pl.col("is_deleted"), without=(first,))


@pytest.mark.parametrize("other", ["e621", "https://mirror.example"])
def test_pictures_of_a_real_site_are_not_removed_for_another_site(
    ready: Project, other: str
) -> None:
    of_site(ready, other)
    before = hashes(ready.paths.images)
    with pytest.raises(
        BadInput, match=rf"holds 1 images of {other} that .* does not have"
    ):
        run(ready)
    assert hashes(ready.paths.images) == before


def test_pictures_of_an_embedded_site_leave_for_another_and_are_no_takedowns(
    ready: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    first = packs.index(ready.paths.images)["md5"][0]
    of_site(ready, "sandbox")
    run(ready)
    assert first not in set(packs.index(ready.paths.images)["md5"])
    assert takedowns(ready).is_empty()
    assert (
        "1 images are of sandbox, another site, and are removed"
        in capfd.readouterr().err
    )


def test_takedown_is_listed_as_long_as_it_holds(ready: Project) -> None:
    index = packs.index(ready.paths.images)
    first, second = index["post_id"][:2]
    change_posts(ready, pl.col("is_deleted") | pl.col("post_id").is_in([first, second]))
    run(ready)
    listed = takedowns(ready)
    run(ready)
    assert takedowns(ready).equals(listed)
    assert set(listed["post_id"]) == {first, second}
    change_posts(ready, pl.col("is_deleted") & (pl.col("post_id") != first))
    run(ready)
    assert takedowns(ready)["post_id"].to_list() == [second]


def test_takedown_names_the_snapshot_in_which_it_first_had_to_go(
    ready: Project,
) -> None:
    """Also where a kill came between the list and the packs."""
    post_id, name = packs.index(ready.paths.images).select("post_id", "pack").row(0)
    pack = ready.paths.images / name
    stored = pack.read_bytes()
    change_posts(ready, pl.col("is_deleted") | (pl.col("post_id") == post_id))
    run(ready)
    first = pin.load(ready.paths.pin)
    pack.write_bytes(stored)
    posts = replace(first.exports["posts"], updated_at="2030-01-01T00:00:00.000-04:00")
    later = replace(first, exports={**first.exports, "posts": posts})
    pin.save(ready.paths.pin, later)
    run(ready)
    assert later.moment != first.moment
    assert takedowns(ready)["snapshot"].to_list() == [first.moment]
    assert post_id not in packs.index(ready.paths.images)["post_id"].to_list()


def test_picture_stays_while_one_of_its_posts_is_permitted(ready: Project) -> None:
    row = packs.index(ready.paths.images).row(0, named=True)
    path = ready.paths.snapshot / "posts.parquet"
    posts = pl.read_parquet(path)
    twin = posts.filter(pl.col("md5") == row["md5"]).with_columns(
        post_id=pl.lit(1, dtype=pl.Int64), is_deleted=pl.lit(value=True)
    )
    parquet.write(path, pl.concat([posts, twin]), POSTS, order_by="post_id")
    run(ready)
    assert takedowns(ready).is_empty()
    assert row["md5"] in set(packs.index(ready.paths.images)["md5"])


def test_post_that_lost_its_md5_with_its_file_is_not_called_replaced(
    ready: Project,
) -> None:
    deleted, withheld = packs.index(ready.paths.images)["post_id"][:2]

    def of(post_id: int) -> pl.Expr:
        return pl.col("post_id") == post_id

    change_posts(
        ready,
        pl.col("is_deleted") | of(deleted),
        pl.col("is_withheld") | of(withheld),
        pl.when(~of(deleted) & ~of(withheld)).then("md5").alias("md5"),
    )
    run(ready)
    reasons = dict(takedowns(ready).select("post_id", "reason").iter_rows())
    assert reasons == {deleted: "deleted", withheld: "withheld"}


def test_of_several_posts_the_oldest_gives_the_reason(ready: Project) -> None:
    row = packs.index(ready.paths.images).row(0, named=True)
    path = ready.paths.snapshot / "posts.parquet"
    is_same = pl.col("md5") == row["md5"]
    posts = pl.read_parquet(path)
    posts = posts.with_columns(is_withheld=pl.col("is_withheld") | is_same)
    older = posts.filter(is_same).with_columns(
        post_id=pl.lit(1, dtype=pl.Int64), is_deleted=pl.lit(value=True)
    )
    parquet.write(path, pl.concat([posts, older]), POSTS, order_by="post_id")
    with pytest.raises(PolicyViolation):
        run(ready)
    assert takedowns(ready)["reason"].to_list() == ["deleted"]


def test_picture_that_waits_is_taken_down_too(ready: Project) -> None:
    row = packs.index(ready.paths.images).row(0, named=True)
    body = packs.PackReader(ready.paths.images).bytes(row["pack"], row["md5"])
    leave_spooled(ready, row, body)
    shutil.rmtree(ready.paths.images)
    change_posts(ready, pl.col("is_deleted") | (pl.col("post_id") == row["post_id"]))
    run(ready)
    assert takedowns(ready).select("md5", "post_id", "reason").rows() == [
        (row["md5"], row["post_id"], "deleted")
    ]
    left = [
        path
        for path in ready.paths.root.rglob("*")
        if path.is_file() and body[:400] in path.read_bytes()
    ]
    assert left == []


def test_posts_that_a_search_no_longer_finds_are_not_called_expunged(
    tmp_path: Path, board: SandboxBoard
) -> None:
    after = SandboxBoard(posts=600, day=2)
    with served(board) as site:
        project = make_project(
            tmp_path / "found", site, harvest={"source": "api", "query": "rating:s"}
        )
        prepare(project)
        run(project)
        ports = {
            "port": urlsplit(site.base_url).port,
            "static_port": urlsplit(site.static_url).port,
        }
    with served(after, **ports):
        refresh.run(project.params, project.paths)
        prepare(project)
        run(project)
    now = {post.id: post for post in after.posts}
    seen = set()
    for post_id, reason in takedowns(project).select("post_id", "reason").iter_rows():
        post = now.get(post_id)
        gone = post is None or post.is_deleted or post.rating != "s"
        seen.add(reason)
        assert reason == "not_listed" if gone else reason in {"replaced", "opted_out"}
    assert "not_listed" in seen
    assert "expunged" not in seen


@pytest.mark.parametrize(
    ("limit", "outcome"),
    [
        pytest.param({"max_bytes": 30_000}, "too_large", id="bytes"),
        pytest.param({"max_pixels": 200_000}, "decompression_bomb", id="pixels"),
    ],
)
def test_lowered_limit_holds_for_pictures_that_are_here(
    ready: Project, limit: dict[str, int], outcome: str
) -> None:
    changed = {**limit, "max_rejected": 1.0}
    params = ready.params.download.model_copy(update=changed)
    download.run(params, ready.paths, site=ready.params.site)
    kept = [
        picture
        for path in packs.pack_files(ready.paths.images)
        for picture in packs.read_images(path)
    ]
    assert kept
    for picture in kept:
        assert len(picture.bytes) <= params.max_bytes
        assert picture.width * picture.height <= params.max_pixels
    assert (outcomes(ready)["outcome"] == outcome).sum() > 0
