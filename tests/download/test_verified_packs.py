"""A start trusts packs that are as they were when verified, and reads all others."""

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from pipeline import download, packs, parquet
from pipeline.download import inventory, verified_packs
from pipeline.errors import PolicyViolation
from pipeline.schemas.snapshot import POSTS
from tests.builders.downloads import requested_images, run
from tests.builders.project import Project, damage, hashes, run_command


def read_in_full(project: Project) -> set[str]:
    """Names of the packs that a start reads in full and finds sound."""
    found = inventory.scan(project.paths)
    return {pack.path.name for pack in found.unrecorded}


def names(project: Project) -> set[str]:
    return {path.name for path in packs.pack_files(project.paths.images)}


def damage_unnoticed(path: Path) -> None:
    """Damages a pack as a bad sector does: its time stays as it was."""
    before = path.stat()
    damage(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_packs_just_written_are_not_read_again(sampled: Project) -> None:
    run(sampled)
    assert len(names(sampled)) > 1
    assert read_in_full(sampled) == set()


def test_trusted_packs_give_the_inventory_of_a_full_read(sampled: Project) -> None:
    run(sampled)
    trusted = inventory.scan(sampled.paths)
    shutil.rmtree(verified_packs.folder(sampled.paths))
    full = inventory.scan(sampled.paths)
    assert len(full.unrecorded) == len(names(sampled))
    assert trusted.images == full.images
    assert sum(one.size for one in full.images) > 0


def test_packs_of_a_checkout_are_read_in_full_once(sampled: Project) -> None:
    run(sampled)
    for path in packs.pack_files(sampled.paths.images):
        shutil.copyfile(path, path.with_suffix(".copy"))
        path.with_suffix(".copy").replace(path)
    assert read_in_full(sampled) == names(sampled)
    asked = len(sampled.site.requests)
    run(sampled)
    assert read_in_full(sampled) == set()
    assert not requested_images(sampled.site, asked)


@pytest.mark.parametrize("part", ["size", "changed", "footer"])
def test_a_pack_that_differs_in_one_thing_is_read_in_full(
    sampled: Project, part: str
) -> None:
    run(sampled)
    path = packs.pack_files(sampled.paths.images)[0]
    before = path.stat().st_mtime_ns
    content = path.read_bytes()
    if part == "size":
        path.write_bytes(content[:4] + b"x" + content[4:])
    elif part == "footer":
        path.write_bytes(content.replace(b"schema_version", b"schema_versiom"))
    if part != "changed":
        os.utime(path, ns=(before, before))
    else:
        os.utime(path, ns=(before, before + 1))
    state = verified_packs.file_state(path)
    assert verified_packs.recorded_images(sampled.paths, path, state) is None


def test_damage_that_changes_no_time_is_left_to_packs_verify(
    sampled: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    run(sampled)
    before = hashes(sampled.paths.images)
    path = packs.pack_files(sampled.paths.images)[0]
    damage_unnoticed(path)
    run(sampled)
    assert "is damaged" not in capfd.readouterr().err
    verified = run_command(sampled.paths.root, "packs", "verify")
    assert verified.returncode == 1
    assert path.name in verified.stdout
    assert f"rm data/images/{path.name}" in verified.stderr
    path.unlink()  # as that line says
    run(sampled)
    assert hashes(sampled.paths.images) == before


def test_a_damaged_pack_is_never_recorded_as_verified(sampled: Project) -> None:
    run(sampled)
    path = packs.pack_files(sampled.paths.images)[0]
    damage(path)
    shutil.rmtree(verified_packs.folder(sampled.paths))
    found = inventory.scan(sampled.paths)
    assert set(found.damaged) == {path}
    assert {pack.path for pack in found.unrecorded} == {
        other for other in packs.pack_files(sampled.paths.images) if other != path
    }


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": {}}', '{"images": []}'])
def test_a_damaged_record_costs_only_a_full_read(
    sampled: Project, content: str
) -> None:
    run(sampled)
    name = min(names(sampled))
    (verified_packs.folder(sampled.paths) / f"{name}.json").write_text(content)
    assert read_in_full(sampled) == {name}


def test_a_pack_rewritten_for_a_takedown_is_recorded_without_the_image(
    sampled: Project,
) -> None:
    run(sampled)
    gone = packs.index(sampled.paths.images)["md5"][0]
    path = sampled.paths.snapshot / "posts.parquet"
    posts = pl.read_parquet(path)
    is_deleted = pl.col("is_deleted") | (pl.col("md5") == gone)
    parquet.write(path, posts.with_columns(is_deleted), POSTS)
    with pytest.raises(PolicyViolation):
        run(sampled)
    assert read_in_full(sampled) == set()
    for record in verified_packs.folder(sampled.paths).iterdir():
        assert gone not in record.read_text()


def test_records_of_packs_that_are_gone_are_removed(sampled: Project) -> None:
    run(sampled)
    shutil.rmtree(sampled.paths.images)
    sampled.paths.ledger.unlink()
    stale = verified_packs.folder(sampled.paths) / "pack-0000.parquet.json"
    stale.write_text(json.dumps({}))
    run(sampled)
    assert not stale.exists()
    records = {path.stem for path in verified_packs.folder(sampled.paths).iterdir()}
    assert records == names(sampled)


def test_dry_run_records_nothing(sampled: Project) -> None:
    run(sampled)
    shutil.rmtree(verified_packs.folder(sampled.paths))
    site = sampled.params.site
    download.run(sampled.params.download, sampled.paths, site=site, dry_run=True)
    assert not verified_packs.folder(sampled.paths).exists()
